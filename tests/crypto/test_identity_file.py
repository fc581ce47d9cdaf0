"""Identity keys at rest: one form, closed to others, never overwritten, sealed if wished."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from feddiff_crypto.errors import DecodeError, FileRefusedError, PassphraseError
from feddiff_crypto.identity_file import (
    StoredIdentity,
    parse_identity,
    read_identity,
    store_identity,
    write_identity,
)
from feddiff_crypto.keys import IdentityKey, IdentityPublic
from feddiff_crypto.randomness import SecureRandom, VectorRandom

RANDOM = SecureRandom()
KEY = IdentityKey.generate(RANDOM)
PASSPHRASE = b"correct horse battery staple"
PLAIN = store_identity("ann", KEY, None, RANDOM)
SEALED = store_identity("ann", KEY, PASSPHRASE, RANDOM)


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["plain", "sealed"])
def test_a_key_comes_back_from_its_file(tmp_path: Path, passphrase: bytes | None) -> None:
    path = tmp_path / "ann.key"
    write_identity(path, "ann", KEY, passphrase, RANDOM)
    stored = read_identity(path)
    assert stored.party == "ann"
    assert stored.is_sealed == (passphrase is not None)
    assert stored.open(passphrase) == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["ann.key"]


def test_a_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_identity(tmp_path / "ann.key", "ann", KEY, None, RANDOM)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "ann.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o660, 0o601, 0o644])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ann.key"
    write_identity(path, "ann", KEY, None, RANDOM)
    path.chmod(mode)
    with pytest.raises(FileRefusedError, match=f"{mode:04o}"):
        read_identity(path)


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ann.key"
    write_identity(path, "ann", KEY, None, RANDOM)
    before = path.read_bytes()
    with pytest.raises(FileRefusedError, match="exists"):
        write_identity(path, "ann", IdentityKey.generate(RANDOM), None, RANDOM)
    (tmp_path / "link.key").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileRefusedError, match="exists"):
        write_identity(tmp_path / "link.key", "ann", KEY, None, RANDOM)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ann.key", "link.key"]


def test_links_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    write_identity(tmp_path / "ann.key", "ann", KEY, None, RANDOM)
    (tmp_path / "link").symlink_to(tmp_path / "ann.key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "missing", "."):
        with pytest.raises(FileRefusedError):
            read_identity(tmp_path / name)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    path.chmod(0o600)
    with pytest.raises(FileRefusedError, match="1024 bytes"):
        read_identity(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileRefusedError, match="cannot be written"):
        write_identity(tmp_path / "absent" / "ann.key", "ann", KEY, None, RANDOM)


def test_only_the_right_passphrase_opens_a_sealed_key() -> None:
    for wrong in (PASSPHRASE + b"r", b""):
        with pytest.raises(PassphraseError, match="ann"):
            SEALED.open(wrong)
    with pytest.raises(PassphraseError, match="needs a passphrase"):
        SEALED.open()
    with pytest.raises(PassphraseError, match="is not sealed"):
        PLAIN.open(PASSPHRASE)


def test_a_sealed_file_does_not_hold_the_key() -> None:
    assert KEY.raw.hex().encode() in PLAIN.to_bytes()
    assert KEY.raw.hex().encode() not in SEALED.to_bytes()


def test_one_key_sealed_twice_gives_two_files() -> None:
    assert store_identity("ann", KEY, PASSPHRASE, RANDOM).body != SEALED.body


def test_what_stands_above_a_sealed_key_cannot_be_exchanged() -> None:
    assert SEALED.salt is not None
    other = IdentityKey.generate(RANDOM).public
    for forged in (
        StoredIdentity("bob", SEALED.public, SEALED.salt, SEALED.body),
        StoredIdentity("ann", other, SEALED.salt, SEALED.body),
        StoredIdentity("ann", SEALED.public, SEALED.salt, SEALED.body[:-1] + b"\x00"),
    ):
        with pytest.raises(PassphraseError):
            forged.open(PASSPHRASE)


def test_a_public_key_that_is_not_the_private_keys_is_refused() -> None:
    forged = StoredIdentity("ann", IdentityPublic(b"\x02" * 32), None, KEY.raw)
    with pytest.raises(DecodeError, match="public"):
        forged.open()


@pytest.mark.parametrize("passphrase", [b"", b"seven77", b"x" * 1025])
def test_a_passphrase_too_short_or_long_is_refused(passphrase: bytes) -> None:
    with pytest.raises(PassphraseError, match=str(len(passphrase))):
        store_identity("ann", KEY, passphrase, RANDOM)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "../x", "é"])
def test_a_name_that_no_party_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="party name"):
        store_identity(name, KEY, None, RANDOM)


@pytest.mark.parametrize("stored", [PLAIN, SEALED], ids=["plain", "sealed"])
def test_only_the_one_form_is_read(stored: StoredIdentity) -> None:
    data = stored.to_bytes()
    assert parse_identity(data).to_bytes() == data
    for broken in (
        data[:-1],
        data + b"\n",
        b" " + data,
        data.replace(b"v1", b"v2"),
        data.replace(b"\n", b"\r\n"),
        data.replace(b"key ", b"key  "),
        data.replace(b"ann", b"-ann"),
        data.replace(b"ann", "ä".encode()),
        data.replace(KEY.public.raw.hex().encode(), KEY.public.raw.hex().upper().encode()),
        data * 9,
    ):
        with pytest.raises(DecodeError, match="identity file"):
            parse_identity(broken)


def test_the_private_key_is_not_shown() -> None:
    assert KEY.raw.hex() not in repr(PLAIN)
    assert repr(KEY.raw) not in repr(PLAIN)


def test_equal_randomness_gives_equal_files() -> None:
    files = {
        store_identity("ann", KEY, PASSPHRASE, VectorRandom(b"salt")).to_bytes() for _ in range(2)
    }
    assert len(files) == 1
