"""Configurations as files: what is written is what is read, for every configuration there is."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.bounds import BOUNDS, Bounds
from feddiff_secure.config.commented import allowed, commented_config, key_meanings
from feddiff_secure.config.load import config_digest, dump_config, kind_of, load_config
from feddiff_secure.config.schema import CHOICES, RING_BITS, RunConfig
from feddiff_secure.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]
FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}


def in_bounds(name: str) -> st.SearchStrategy[Any]:
    bounds = BOUNDS[name]
    if kind_of(name) == "an integer":
        return st.integers(int(bounds.low), int(bounds.high))
    numbers = st.floats(
        bounds.low, bounds.high, exclude_min=bounds.open_ended, exclude_max=bounds.open_ended
    )
    return numbers | st.just(math.inf) if bounds.or_infinite else numbers


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Values that a key admits; combinations may still be refused."""
    if name in BOUNDS:
        found = in_bounds(name)
    elif name in CHOICES or name == "ring_bits":
        choices = {**CHOICES, "ring_bits": RING_BITS}[name]
        found = st.sampled_from(choices)
    elif kind_of(name) == "true or false":
        found = st.booleans()
    elif name == "holding":
        found = st.from_regex(r"[a-z0-9][a-zA-Z0-9_-]{0,20}", fullmatch=True)
    elif name == "partition":
        found = st.sampled_from(["iid", "dirichlet:0.5", "region", "site"])
    else:
        found = st.text(min_size=1, max_size=20)
    return found | st.just(FIELDS[name].default)


@st.composite
def configurations(draw: st.DrawFn) -> RunConfig:
    """A configuration with some keys changed from their defaults, as far as it stays valid."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=8))
    given_values: dict[str, Any] = {}
    for name in names:
        attempt = {**given_values, name: draw(values_of(name))}
        try:
            RunConfig(**attempt)
        except UsageError:
            continue  # refused in this combination
        given_values = attempt
    return RunConfig(**given_values)


@given(config=configurations())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_with_the_same_digest(
    config: RunConfig, tmp_path: Path
) -> None:
    for text in (dump_config(config), commented_config(config)):
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        read = load_config(path, {})
        assert read == config
        assert config_digest(read) == config_digest(config)


@given(first=configurations(), second=configurations())
@settings(max_examples=40)
def test_two_configurations_have_one_digest_only_if_they_are_equal(
    first: RunConfig, second: RunConfig
) -> None:
    assert (config_digest(first) == config_digest(second)) == (first == second)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_number_that_differs_a_little_has_another_digest(name: str) -> None:
    low = BOUNDS[name].low + 1e-9 if BOUNDS[name].open_ended else BOUNDS[name].low
    near = low + 1 if kind_of(name) == "an integer" else low * 1.001
    digests = {config_digest(RunConfig(**{name: value})) for value in (low, near)}
    assert len(digests) == 2


def test_the_page_of_the_configuration_names_every_key() -> None:
    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert {name for name in FIELDS if f"`{name}`" not in page} == set()


def test_init_writes_the_defaults_and_explains_every_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "feddiff.toml"
    assert run_cli(["init", "--out", str(out)]) == 0
    assert load_config(out, {}) == RunConfig()
    text = out.read_text(encoding="utf-8")
    meanings = key_meanings()
    assert set(meanings) == set(FIELDS)
    folded = " ".join(text.replace("\n# ", " ").split())
    for name in FIELDS:
        assert meanings[name] in folded
        assert f"\n{name} = " in text or f"\n# {name} =\n" in text
        assert f"[{allowed(name)}]" in folded
    assert set(tomllib.loads(text)) == {k for k, f in FIELDS.items() if f.default is not None}
    capsys.readouterr()
    assert run_cli(["init", "--out", str(out)]) == 2  # it exists
    assert run_cli(["init", "--out", str(tmp_path / "no" / "folder.toml")]) == 2
    assert out.read_text(encoding="utf-8") == text
    assert capsys.readouterr().err.count("error: ") == 2


def test_every_number_of_the_configuration_has_its_bounds() -> None:
    numbers = {name for name in FIELDS if kind_of(name) in {"a number", "an integer"}}
    assert numbers - {"ring_bits"} == set(BOUNDS)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_the_bounds_that_init_shows_are_those_that_are_enforced(name: str) -> None:
    bounds = BOUNDS[name]
    step = 1 if kind_of(name) == "an integer" else 1e-6
    wrong: list[Any] = [bounds.low - step, bounds.high + step, math.nan, -math.inf]
    for value in wrong:
        with pytest.raises(UsageError) as caught:
            RunConfig(**{name: value})
        assert str(caught.value).startswith(f"{name} is ")
        assert str(bounds) in caught.value.hint
    if not bounds.or_infinite:
        with pytest.raises(UsageError):
            RunConfig(**{name: math.inf})


def test_bounds_read_as_a_person_would_write_them() -> None:
    assert str(Bounds(0.01, 100, or_infinite=True)) == "0.01 to 100, or inf"
    assert str(Bounds(0, 1, open_ended=True)) == "above 0 and below 1"
    assert str(Bounds(1, 10**8)) == "1 to 100000000"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rounds = " + "9" * 400, "rounds is 999999999999…"),
        ("rounds = " + "9" * 5000, "not TOML"),
        ("epsilon = 8\nepsilon = 1", "not TOML"),
        ("x = " + "[" * 100_000, "not TOML"),
        ("\ufeffepsilon = 8", "not TOML"),
        ("epsilon = 2020-01-01", "epsilon"),
        ("[epsilon]\nvalue = 8", "a number"),
        ("epsilno = 8", "did you mean epsilon"),
        ("Epsilon = 8", "did you mean epsilon"),
        ("'sampling-rate' = 1", "did you mean sampling_rate"),
    ],
)
def test_a_hostile_configuration_file_is_a_usage_error(
    text: str, word: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_config(path, {})
    assert word in f"{caught.value} {caught.value.hint}"
    assert len(str(caught.value)) < 400
