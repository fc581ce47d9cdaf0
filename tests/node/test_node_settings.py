"""A node's settings: strict keys, types, bounds and permissions; every error names file and key."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from feddiff_crypto.identity_file import write_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import RegistryFile, write_registry
from feddiff_privacy.ledger.reading import read_ledger
from feddiff_secure.errors import UsageError
from feddiff_secure.node.opening import ledger_path, open_keys, open_ledger
from feddiff_secure.node.policy import NodePolicy
from feddiff_secure.node.settings import NodeSettings, Part
from feddiff_secure.node.settings_fields import NODE_FIELDS, POLICY_FIELDS
from feddiff_secure.node.settings_text import settings_text

TEXT = """\
version = 1
data = "plots.h5"
holding = "plots-2024"
ledger = "ledger"
identity = "ann.key"
registry = "registry.json"

[policy]
largest_epsilon = 4
lifetime_epsilon = 8
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's folder: settings, key and registry."""
    key = IdentityKey.generate(SecureRandom())
    write_identity(tmp_path / "ann.key", "ann", key, None, SecureRandom())
    coordinator = IdentityKey.generate(SecureRandom()).public
    pinned = RegistryFile({}).put("ann", key.public).put("coordinator", coordinator)
    write_registry(tmp_path / "registry.json", pinned)
    return tmp_path


def load(folder: Path, text: str = TEXT) -> NodeSettings:
    path = folder / "node.toml"
    path.write_text(text)
    path.chmod(0o600)
    return NodeSettings.load(path)


def refused(folder: Path, text: str) -> UsageError:
    with pytest.raises(UsageError) as error:
        load(folder, text)
    assert str(folder / "node.toml") in str(error.value)
    return error.value


def test_paths_are_relative_to_the_file_and_defaults_are_the_careful_ones(folder: Path) -> None:
    settings = load(folder)
    assert settings.data == folder / "plots.h5"
    assert settings.ledger == folder / "ledger"
    assert settings.pending == folder / "pending"
    assert (settings.review, settings.part, settings.custodians) == (False, None, None)
    policy = settings.policy
    assert (policy.largest_epsilon, policy.lifetime_epsilon) == (4.0, 8.0)
    assert (policy.smallest_owners, policy.least_colluders, policy.show_bounds) == (3, 1, False)
    assert "plain" not in policy.aggregations


@pytest.mark.parametrize(
    ("old", "new", "words", "hint"),
    [
        ("holding", "holdng", "unknown key holdng", "did you mean holding"),
        ("largest_epsilon", "largest_epsilom", "policy.largest_epsilom", "largest_epsilon"),
        ("largest_epsilon = 4", "", "no key policy.largest_epsilon", "docs/deploy.md"),
        ("= 4", "= nan", "policy.largest_epsilon is nan", "0.01 to 100"),
        ("= 4", "= 101", "policy.largest_epsilon is 101", "0.01 to 100"),
        ("= 4", '= "4"', "policy.largest_epsilon is '4'", "a number"),
        ("= 4", "= true", "policy.largest_epsilon is True", "a number"),
        ("= 8", "= 2000", "policy.lifetime_epsilon is 2000", "0.01 to 1000"),
        ("= 8", "= 8\nsmallest_owners = 1", "smallest_owners is 1", "from 2 to 100"),
        ("= 8", '= 8\naggregations = ["clear"]', "aggregations is ['clear']", "masked"),
        ("= 8", "= 8\naggregations = []", "aggregations is []", "masked"),
        ("= 8", '= 8\nallowed_configs = ["12"]', "allowed_configs", "64 lower-case hex"),
        ("= 8", "= 8\nleast_colluders = 3\nmost_colluders = 2", "least_colluders is 3", "both"),
        ('"plots-2024"', '"a.b"', "holding is 'a.b'", "letters"),
        ("version = 1", "version = 2", "version is 2", "version = 1"),
        ('data = "plots.h5"\n', "", "no key data", "name the file"),
        ('data = "plots.h5"', 'part = "5 of 4"', "part is '5 of 4'", "2 of 4"),
        ('"plots.h5"', '""', "data is ''", "a path"),
        ("[policy]", "review = 1\n[policy]", "review is 1", "true or false"),
        ("[policy]", "review_timeout_s = 0\n[policy]", "review_timeout_s is 0", "1 to 604800"),
        ("[policy]", "[[policy]]", "no table [policy]", "node init"),
        ("[policy]", "[policy", "not TOML", "docs/deploy.md"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_bound(
    folder: Path, old: str, new: str, words: str, hint: str
) -> None:
    assert old in TEXT
    error = refused(folder, TEXT.replace(old, new))
    assert words in str(error)
    assert hint in error.hint


def test_settings_that_others_can_write_are_refused(folder: Path) -> None:
    load(folder)
    (folder / "node.toml").chmod(0o620)
    with pytest.raises(UsageError, match="mode 0620"):
        NodeSettings.load(folder / "node.toml")


def test_infinite_bounds_are_possible_and_have_to_be_written(folder: Path) -> None:
    text = TEXT.replace("= 4", "= inf").replace("= 8", "= inf")
    policy = load(folder, text).policy
    assert (policy.largest_epsilon, policy.lifetime_epsilon) == (math.inf, None)


def test_a_part_of_a_dealing_is_read(folder: Path) -> None:
    assert load(folder, TEXT.replace('data = "plots.h5"', 'part = "2 of 4"')).part == Part(1, 4)


def test_keys_are_opened_and_the_coordinator_is_pinned_beside_the_owners(folder: Path) -> None:
    keys = open_keys(load(folder))
    assert keys.name == "ann"
    assert keys.owners(["ann"]).parties == ("ann",)
    assert keys.coordinator() == keys.known.parties["coordinator"]
    with pytest.raises(UsageError, match="'ben' is not one of"):
        keys.owners(["ann", "ben"])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_refused(folder: Path, mode: int) -> None:
    settings = load(folder)
    settings.identity.chmod(mode)
    with pytest.raises(UsageError, match=r"node\.toml: identity: .*ann\.key: mode"):
        open_keys(settings)


def test_a_registry_that_others_can_write_is_refused(folder: Path) -> None:
    settings = load(folder)
    settings.registry.chmod(0o664)
    with pytest.raises(UsageError, match=r"node\.toml: registry: .*registry\.json: mode"):
        open_keys(settings)


def test_a_registry_that_pins_another_key_for_this_node_is_refused(folder: Path) -> None:
    settings = load(folder)
    other = IdentityKey.generate(SecureRandom()).public
    write_registry(settings.registry, RegistryFile({}).put("ann", other))
    with pytest.raises(UsageError, match="does not pin ann"):
        open_keys(settings)


def test_a_sealed_key_needs_its_passphrase_file(folder: Path) -> None:
    settings = load(folder, TEXT.replace("[policy]", 'passphrase_file = "words"\n[policy]'))
    with pytest.raises(UsageError, match="is not sealed"):
        open_keys(settings)
    stored = open_keys(load(folder)).identity
    settings.identity.unlink()
    write_identity(settings.identity, "ann", stored, b"four random words", SecureRandom())
    (folder / "words").write_bytes(b"four random words\n")
    (folder / "words").chmod(0o640)
    with pytest.raises(UsageError, match=r"passphrase_file: .*mode 0640"):
        open_keys(settings)
    (folder / "words").chmod(0o600)
    assert open_keys(settings).identity.public == stored.public
    with pytest.raises(UsageError, match="needs a passphrase"):
        open_keys(load(folder))


def test_the_ledger_has_the_lifetime_and_delta_of_the_policy(folder: Path) -> None:
    settings = load(folder)
    with open_ledger(settings, "ann", bytes(32)):
        reading = read_ledger(ledger_path(settings, "ann"))
    assert (reading.lifetime_epsilon, reading.delta, reading.holding) == (8.0, 1e-5, "plots-2024")
    settings.ledger.chmod(0o777)
    with pytest.raises(UsageError, match="lets others write"):
        open_ledger(settings, "ann", bytes(32))


def test_the_commented_settings_that_are_written_can_be_read(folder: Path) -> None:
    text = settings_text("ann.key")
    settings = load(folder, text)
    assert settings.identity == folder / "ann.key"
    assert settings.review
    known = {*NODE_FIELDS, *POLICY_FIELDS} - {"part"}  # a part is of no real node
    assert known == {key for key in known if f"\n{key} = " in text or f"\n# {key} = " in text}


def test_every_default_in_the_commented_settings_is_the_default(folder: Path) -> None:
    text = settings_text("ann.key").replace("\n# ", "\n")
    lines = [line for line in text.splitlines() if " = " in line or line == "[policy]"]
    policy = load(folder, "\n".join(line for line in lines if '_file = "' not in line)).policy
    assert policy == NodePolicy(largest_epsilon=8.0, lifetime_epsilon=16.0)
