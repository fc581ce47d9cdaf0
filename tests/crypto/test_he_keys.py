"""CKKS keys: whom they reach, what seals them, and that none touches a disk."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from feddiff_crypto.errors import (
    ContextMismatchError,
    CryptoError,
    DecodeError,
    ShareError,
    SignatureInvalidError,
)
from feddiff_crypto.he.custodian_messages import CustodianKey
from feddiff_crypto.he.encrypt import encrypt_symmetric
from feddiff_crypto.he.errors import EncryptionUnavailableError
from feddiff_crypto.he.keys import (
    CkksPublicKey,
    CkksSecretKey,
    generate_pair,
    key_maker,
    open_secret_key,
    seal_secret_key,
)
from feddiff_crypto.he.memory_file import MemoryFile
from feddiff_crypto.he.seal import load_seal
from feddiff_crypto.keys import AgreementKey, AgreementPublic, IdentityKey, Registry
from feddiff_crypto.masking.messages import Advertise, Roster
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.sealing import TAG_BYTES, seal

RANDOM = SecureRandom()
NAMES = ("ann", "bob", "cy")
CONTEXT = b"c" * 32
SEALING = {name: AgreementKey.generate(RANDOM) for name in NAMES}
ROSTER = Roster(
    b"r" * 32,
    tuple(
        Advertise(b"r" * 32, name, bytes(32), SEALING[name].public.raw, bytes(32), bytes(64))
        for name in NAMES
    ),
)
KEY = CkksSecretKey.generate()
SEALED = seal_secret_key(KEY, key=SEALING["ann"], sender="ann", roster=ROSTER, context=CONTEXT)


def open_as(
    recipient: str, sealed: bytes, *, sender: str = "ann", context: bytes = CONTEXT
) -> CkksSecretKey:
    return open_secret_key(
        sealed,
        key=SEALING[recipient],
        sender=sender,
        recipient=recipient,
        roster=ROSTER,
        context=context,
    )


def test_the_first_member_makes_the_key_and_every_other_opens_it() -> None:
    assert key_maker(ROSTER) == "ann"
    assert SEALED.keys() == {"bob", "cy"}
    for name, sealed in SEALED.items():
        assert open_as(name, sealed).key_id(CONTEXT) == KEY.key_id(CONTEXT)
        assert len(sealed) == 65536 + TAG_BYTES


def test_another_member_makes_no_key() -> None:
    with pytest.raises(ShareError, match="ann makes the key"):
        seal_secret_key(KEY, key=SEALING["bob"], sender="bob", roster=ROSTER, context=CONTEXT)
    with pytest.raises(ShareError, match="ann makes the key"):
        open_as("cy", SEALED["cy"], sender="bob")


@pytest.mark.parametrize(
    ("sealed", "recipient", "context"),
    [
        (SEALED["bob"], "cy", CONTEXT),
        (SEALED["bob"], "bob", b"x" * 32),
        (SEALED["bob"][:-1], "bob", CONTEXT),
        (b"\x00" + SEALED["bob"][1:], "bob", CONTEXT),
        (b"", "bob", CONTEXT),
    ],
)
def test_a_damaged_or_misdirected_seal_does_not_open(
    sealed: bytes, recipient: str, context: bytes
) -> None:
    with pytest.raises(ShareError):
        open_as(recipient, sealed, context=context)


def test_a_key_is_sealed_under_another_key_than_the_shares_of_the_round() -> None:
    share = seal(
        KEY.to_bytes(),
        key=SEALING["ann"],
        peer=AgreementPublic(SEALING["bob"].public.raw),
        context=CONTEXT,
        sender="ann",
        recipient="bob",
    )
    assert share != SEALED["bob"]  # one keystream for both would show their exclusive or
    with pytest.raises(ShareError):
        open_as("bob", share)


def test_keys_are_fresh_and_named_per_round() -> None:
    other = CkksSecretKey.generate()
    assert other.to_bytes() != KEY.to_bytes()
    assert other.key_id(CONTEXT) != KEY.key_id(CONTEXT) != KEY.key_id(b"x" * 32)
    again = CkksSecretKey.from_bytes(KEY.to_bytes())
    assert again.key_id(CONTEXT) == KEY.key_id(CONTEXT)
    assert str(KEY.residues[0, 0]) not in repr(KEY)


def test_owners_take_a_public_key_only_from_the_custodian() -> None:
    carl = IdentityKey.generate(RANDOM)
    registry = Registry({"carl": carl.public})
    _, public = generate_pair()
    _, other = generate_pair()

    def made(by: IdentityKey, key: CkksPublicKey = public) -> CustodianKey:
        return CustodianKey.make(key, bytes(32), party="carl", identity=by, context=CONTEXT)

    good = CustodianKey.from_message(made(carl).to_message())
    good.verify("carl", registry, CONTEXT)
    for bad in (
        dataclasses.replace(good, public_key=other.to_bytes()),
        dataclasses.replace(good, agreement=b"a" * 32),
        made(IdentityKey.generate(RANDOM)),
    ):
        with pytest.raises(SignatureInvalidError):
            bad.verify("carl", registry, CONTEXT)
    for party, context in (("carl", b"x" * 32), ("eve", CONTEXT)):
        with pytest.raises(ContextMismatchError):
            good.verify(party, registry, context)


def files_open_on_disk() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target, mode = str(link.readlink()), link.stat().st_mode
        except OSError:  # the listing's own descriptor, closed by now
            continue
        if stat.S_ISREG(mode) and not target.startswith("/memfd:"):
            found.add(target)
    return found


def test_keys_never_touch_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = files_open_on_disk()
    during: list[set[str]] = []
    real = MemoryFile.write

    def watched(self: MemoryFile, data: bytes) -> None:
        real(self, data)
        assert str(Path(self.path).readlink()).startswith("/memfd:")
        during.append(files_open_on_disk())

    monkeypatch.setattr(MemoryFile, "write", watched)
    secret, _ = generate_pair()
    encrypt_symmetric(np.arange(5, dtype=np.uint32), secret)
    assert during
    assert all(found <= before for found in during)
    assert files_open_on_disk() <= before
    assert not list(tmp_path.rglob("*"))


def test_a_memory_file_holds_what_was_written_last_and_is_closed() -> None:
    with MemoryFile() as file:
        file.write(b"a longer text")
        file.write(b"short")
        assert file.read() == b"short"
        path = Path(file.path)
        assert path.exists()
    assert not path.exists()


def test_a_platform_without_memory_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(EncryptionUnavailableError, match="memory files"):
        encrypt_symmetric(np.ones(1, np.uint32), KEY)


def test_a_machine_without_tenseal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenseal.sealapi", None)
    load_seal.cache_clear()
    try:
        with pytest.raises(EncryptionUnavailableError, match="TenSEAL"):
            CkksSecretKey.generate()
    finally:
        load_seal.cache_clear()


def test_another_seal_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feddiff_crypto.he.seal.version_of", lambda _: (9, 9))
    load_seal.cache_clear()
    try:
        with pytest.raises(EncryptionUnavailableError, match="stores ciphertexts otherwise"):
            load_seal()
    finally:
        load_seal.cache_clear()


def test_the_errors_are_those_of_the_package() -> None:
    assert issubclass(EncryptionUnavailableError, CryptoError)
    with pytest.raises(DecodeError, match="65536"):
        CkksSecretKey.from_bytes(b"short")
