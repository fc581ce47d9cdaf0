"""A configuration file that explains itself: every key with its meaning, bounds and value.

Everything in it is read off `RunConfig`: the meanings from its docstring, the bounds and choices
from the tables that its checks use. There is no second list of keys.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap

import tomli_w

from feddiff_secure.config.bounds import BOUNDS
from feddiff_secure.config.load import kind_of
from feddiff_secure.config.schema import CHOICES, RING_BITS, RunConfig

WIDTH = 96

_HEAD = """\
Configuration of a run: feddiff-secure run --config FILE. Options on the command line win.
A key that is commented out is left out; where its text says None, that is what None means.
Profile paper has defaults of its own: keep only the keys that you set."""


def commented_config(config: RunConfig) -> str:
    """The TOML text of a configuration, every key explained.

    Args:
        config: its values; a field that is None becomes a key that is commented out.

    Returns:
        Text that `load_config` reads back as the same configuration.
    """
    blocks = [_comment(_HEAD)]
    meanings = key_meanings()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        said = _comment(f"{meanings[field.name]} [{allowed(field.name)}]")
        line = f"# {field.name} =\n" if value is None else tomli_w.dumps({field.name: value})
        blocks.append(said + line)
    return "\n".join(blocks)


def key_meanings() -> dict[str, str]:
    """What each key means: the attributes of the docstring of `RunConfig`, one line each."""
    documented = inspect.getdoc(RunConfig) or ""
    attributes = textwrap.dedent(documented.partition("Attributes:\n")[2])
    entries = re.findall(r"^(\w+): (.*(?:\n +.*)*)", attributes, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def allowed(key: str) -> str:
    """The values that a key may have, in words."""
    if key in BOUNDS:
        return f"{kind_of(key)}, {BOUNDS[key]}"
    choices = {**CHOICES, "ring_bits": RING_BITS}.get(key)
    return " | ".join(map(str, choices)) if choices else kind_of(key)


def _comment(text: str) -> str:
    lines = [wrapped for line in text.splitlines() for wrapped in textwrap.wrap(line, WIDTH)]
    return "".join(f"# {line}\n" for line in lines)
