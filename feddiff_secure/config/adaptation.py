"""`prior dp` in the configuration: what the private adaptation of a branch does not go with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from feddiff_secure.errors import UsageError

DP = "dp"
"""The prior that is adapted to the owners' tiles inside the budget of the run."""

_REFUSED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("profile", "paper"): "FedDiff as published trains its branches without a guarantee",
        ("aggregation", "encrypted"): "the owners would hold the adapter, and it is not shared",
        ("topology", "split"): "one ground tile would be released by two owners in that phase",
        ("engine", "flare"): "a job's nodes compute features before its rounds, and only then",
    }
)


def check_adaptation(values: Mapping[str, Any]) -> None:
    """Refuse what `prior dp` does not go with.

    Args:
        values: all fields of a configuration.

    Raises:
        UsageError: naming the first field with such a value.
    """
    if values["prior"] != DP:
        return
    for (name, value), reason in _REFUSED.items():
        if values[name] == value:
            raise UsageError(
                f"prior dp with {name} {value}: {reason}",
                f"leave out --prior dp, or --{name} {value}",
            )
