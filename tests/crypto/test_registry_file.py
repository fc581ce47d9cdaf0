"""The pinned registry: one key a party, changes only as its rules say, revoked keys stay out."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import (
    DecodeError,
    FileRefusedError,
    RegistryRefusedError,
    RevokedKeyError,
    SignatureInvalidError,
)
from feddiff_crypto.keys import ADVERTISE_LABEL, IdentityKey, IdentityPublic
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import (
    RegistryFile,
    parse_registry,
    read_registry,
    write_registry,
)
from feddiff_crypto.rotation import Rotation, parse_rotation

RANDOM = SecureRandom()
ANN, BOB, NEW, EVE = (IdentityKey.generate(RANDOM) for _ in range(4))
BOTH = RegistryFile({}).put("bob", BOB.public).put("ann", ANN.public)


def test_a_registry_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    registry = BOTH.revoke("bob", "left")
    for each in (BOTH, registry):
        write_registry(path, each)
        assert read_registry(path) == each
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["registry.json"]


def test_a_registry_is_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_registry(tmp_path / "registry.json", BOTH)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "registry.json").stat().st_mode) == 0o644


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_registry_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "registry.json"
    write_registry(path, BOTH)
    path.chmod(mode)
    with pytest.raises(FileRefusedError, match=f"{mode:04o}"):
        read_registry(path)


def test_fingerprints_are_those_of_the_keys_and_are_what_people_compare() -> None:
    entries = json.loads(BOTH.to_bytes())["parties"]
    assert [entry["name"] for entry in entries] == ["ann", "bob"]
    assert [entry["fingerprint"] for entry in entries] == [
        ANN.public.fingerprint,
        BOB.public.fingerprint,
    ]


def test_the_same_parties_in_any_order_have_the_same_digest() -> None:
    other = RegistryFile({}).put("ann", ANN.public).put("bob", BOB.public)
    assert other.digest() == BOTH.digest()
    assert BOTH.revoke("bob", "left").digest() != BOTH.digest()


def test_a_pinned_name_is_not_replaced_by_accident() -> None:
    with pytest.raises(RegistryRefusedError, match="ann is already pinned"):
        BOTH.put("ann", NEW.public)


def test_one_key_does_not_speak_for_two_parties() -> None:
    with pytest.raises(RegistryRefusedError, match="already that of ann"):
        BOTH.put("eve", ANN.public)


def test_the_keeper_may_replace_a_key_and_the_old_one_is_out_for_good() -> None:
    registry = BOTH.put("ann", NEW.public, replace=True)
    assert registry.pinned().identity("ann") == NEW.public
    for back in ("ann", "eve"):
        with pytest.raises(RevokedKeyError, match="of ann is revoked"):
            registry.put(back, ANN.public, replace=True)


def test_a_key_that_signed_for_its_successor_is_replaced_by_it() -> None:
    registry = BOTH.rotate(Rotation.sign("ann", ANN, NEW))
    assert registry.pinned().identity("ann") == NEW.public
    assert [key.public for key in registry.revoked] == [ANN.public.raw]


def test_a_rotation_is_worth_nothing_a_second_time() -> None:
    rotation = Rotation.sign("ann", ANN, NEW)
    with pytest.raises(RevokedKeyError):
        BOTH.rotate(rotation).rotate(rotation)


def test_a_rotation_back_to_an_old_key_is_refused() -> None:
    registry = BOTH.rotate(Rotation.sign("ann", ANN, NEW))
    with pytest.raises(RevokedKeyError, match="rotated"):
        registry.rotate(Rotation.sign("ann", NEW, ANN))


def test_a_rotation_by_a_key_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(RegistryRefusedError, match="not pinned to"):
        BOTH.rotate(Rotation.sign("ann", EVE, NEW))
    with pytest.raises(RegistryRefusedError, match="not pinned to"):
        BOTH.rotate(Rotation.sign("bob", ANN, NEW))  # ann may not rotate bob


def test_a_rotation_onto_another_partys_key_is_refused() -> None:
    with pytest.raises(RegistryRefusedError, match="already that of bob"):
        BOTH.rotate(Rotation.sign("ann", ANN, BOB))


def test_a_rotation_needs_the_signatures_of_both_keys() -> None:
    right = Rotation.sign("ann", ANN, NEW)
    foreign = Rotation.sign("ann", ANN, EVE)
    for forged in (
        dataclasses.replace(right, old_signature=bytes(64)),
        dataclasses.replace(right, new_signature=bytes(64)),
        dataclasses.replace(right, old_signature=foreign.old_signature),
        dataclasses.replace(right, new=EVE.public),  # eve's key, pinned without her consent
        dataclasses.replace(right, old_signature=ANN.sign(ADVERTISE_LABEL, bytes(32))),
    ):
        with pytest.raises(SignatureInvalidError):
            BOTH.rotate(forged)


def test_a_rotation_comes_back_from_its_bytes() -> None:
    rotation = Rotation.sign("ann", ANN, NEW)
    assert parse_rotation(rotation.to_bytes()) == rotation


def test_a_rotation_to_the_same_key_is_the_callers_bug() -> None:
    with pytest.raises(ValueError, match="new key is the old one"):
        Rotation.sign("ann", ANN, ANN)


def test_a_revoked_key_is_refused_by_name_and_reason() -> None:
    registry = BOTH.revoke("ann", "laptop lost")
    with pytest.raises(RevokedKeyError, match="of ann is revoked: laptop lost"):
        registry.pinned(["ann", "bob"])
    with pytest.raises(RevokedKeyError, match="of ann is revoked: laptop lost"):
        registry.put("ann", ANN.public)
    assert registry.pinned().parties == ("bob",)
    with pytest.raises(RegistryRefusedError, match="'ann' is not pinned"):
        registry.revoke("ann", "again")


def test_a_party_whose_key_was_revoked_may_get_a_new_one() -> None:
    registry = BOTH.revoke("ann", "laptop lost").put("ann", NEW.public)
    assert registry.pinned(["ann"]).identity("ann") == NEW.public


def test_a_party_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(RegistryRefusedError, match="'eve' is not one of 2"):
        BOTH.pinned(["ann", "eve"])
    with pytest.raises(RegistryRefusedError, match="no party"):
        RegistryFile({}).pinned()


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * 201, "é"])
def test_a_reason_that_would_break_a_line_is_refused(reason: str) -> None:
    with pytest.raises(RegistryRefusedError, match="reason"):
        BOTH.revoke("ann", reason)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "é", "x" * 65])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(RegistryRefusedError, match="party name"):
        BOTH.put(name, NEW.public)


def test_other_forms_of_the_same_content_are_refused() -> None:
    data = BOTH.to_bytes()
    content = json.loads(data)
    swapped = {**content, "parties": content["parties"][::-1]}
    for other in (
        json.dumps(content).encode(),
        data[:-1],
        data + b" ",
        data.replace(b"ann", b"\\u0061nn"),
        (json.dumps(swapped, indent=1, sort_keys=True) + "\n").encode(),
        data.replace(b'"version": 1', b'"version": 1.0'),
        data.replace(b'"version": 1', b'"version": true'),
        data.replace(b'"version": 1', b'"version": 2'),
        data.replace(b"registry", b"rosterry"),
        b"",
        b"null\n",
        b"[]\n",
    ):
        with pytest.raises(DecodeError):
            parse_registry(other)


operations = st.lists(
    st.tuples(
        st.sampled_from(["put", "replace", "revoke", "rotate"]),
        st.sampled_from(["ann", "bob", "cy"]),
        st.integers(0, 4),
        st.integers(0, 4),
    ),
    max_size=12,
)
KEYS = [IdentityKey.generate(RANDOM) for _ in range(5)]


@given(operations)
@settings(max_examples=60)
def test_whatever_is_done_a_revoked_key_stays_out_and_a_key_has_one_party(
    steps: list[tuple[str, str, int, int]],
) -> None:
    registry, out = RegistryFile({}), set[bytes]()
    for step, name, first, second in steps:
        before = registry
        try:
            match step:
                case "put" | "replace":
                    key = KEYS[first].public
                    registry = registry.put(name, key, replace=step == "replace")
                case "revoke":
                    registry = registry.revoke(name, "test")
                case _ if first != second:
                    registry = registry.rotate(Rotation.sign(name, KEYS[first], KEYS[second]))
        except RegistryRefusedError:
            assert registry is before
        out |= {key.public for key in registry.revoked}
        held = [key.raw for key in registry.parties.values()]
        assert len(set(held)) == len(held)
        assert not out & set(held)
        assert out == {key.public for key in registry.revoked}
        assert parse_registry(registry.to_bytes()) == registry


def test_the_fingerprint_in_a_file_is_checked_against_its_key() -> None:
    data = BOTH.to_bytes()
    false = IdentityPublic(b"\x02" * 32).fingerprint.encode()
    with pytest.raises(DecodeError, match="fingerprint of bob"):
        parse_registry(data.replace(BOB.public.fingerprint.encode(), false))
