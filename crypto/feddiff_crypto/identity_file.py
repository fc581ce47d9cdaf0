"""An organisation's identity key at rest: one strict text file, sealed with a passphrase if wished.

    feddiff-secure identity v1
    party ann
    public <64 hex digits>
    protection none
    key <64 hex digits>

or, with a passphrase,

    protection scrypt <32 hex digits of salt>
    key <96 hex digits>

Each line ends with one newline, hex is lower-case, and there is nothing else: `parse_identity`
accepts exactly the bytes that `write_identity` makes. Version 1 fixes scrypt (RFC 7914) at
N = 2¹⁷, r = 8, p = 1 (128 MiB), so a file cannot ask its reader for more. The sealed key is
AES-256-GCM under scrypt's output, with all lines above it as associated data: neither the party's
name nor the public key can be exchanged. The nonce is zero, which is safe because the salt is fresh
each time and so each key seals one message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from feddiff_crypto.errors import DecodeError, PassphraseError
from feddiff_crypto.keys import IdentityKey, IdentityPublic, is_party_name
from feddiff_crypto.protected_file import (
    PRIVATE_MODE,
    READABLE_BY_OTHERS,
    read_protected,
    write_new,
)
from feddiff_crypto.randomness import RandomBytes

MAX_FILE_BYTES: Final = 1024
MIN_PASSPHRASE_BYTES: Final = 8
MAX_PASSPHRASE_BYTES: Final = 1024
_HEADER: Final = "feddiff-secure identity v1"
_SALT_BYTES: Final = 16
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1
_NONCE: Final = bytes(12)
_FILE: Final = re.compile(
    _HEADER + "\n"
    r"party (?P<party>[^\n]{1,64})"
    "\n"
    r"public (?P<public>[0-9a-f]{64})"
    "\n"
    r"protection (?:none|scrypt (?P<salt>[0-9a-f]{32}))"
    "\n"
    r"key (?P<key>[0-9a-f]{64}|[0-9a-f]{96})"
    "\n",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """What an identity file holds, its key still as it is stored.

    Attributes:
        party: the name of the organisation.
        public: the public half, in clear.
        salt: 16 bytes where the key is sealed, None where it is in clear.
        body: the key, or its sealed form; never shown.
    """

    party: str
    public: IdentityPublic
    salt: bytes | None
    body: bytes = field(repr=False)

    @property
    def is_sealed(self) -> bool:
        """Whether a passphrase is needed."""
        return self.salt is not None

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        return self._header() + f"key {self.body.hex()}\n".encode()

    def open(self, passphrase: bytes | None = None) -> IdentityKey:
        """The private key.

        Args:
            passphrase: for a sealed file, and only for one.

        Raises:
            PassphraseError: wrong, missing, or given for a file that has none.
            DecodeError: the private key is not that of the public key.
        """
        if (passphrase is not None) != self.is_sealed:
            need = "needs a passphrase" if self.is_sealed else "is not sealed with a passphrase"
            raise PassphraseError(f"the identity of {self.party} {need}")
        raw = self.body if passphrase is None else self._unseal(passphrase)
        key = IdentityKey(raw)
        if key.public != self.public:
            raise DecodeError(f"identity of {self.party}: public is not the public half of key")
        return key

    def _unseal(self, passphrase: bytes) -> bytes:
        assert self.salt is not None
        try:
            cipher = AESGCM(_stretch(passphrase, self.salt))
            return cipher.decrypt(_NONCE, self.body, self._header())
        except InvalidTag:
            raise PassphraseError(
                f"the passphrase does not open the identity of {self.party}, or the file is altered"
            ) from None

    def _header(self) -> bytes:
        protection = "none" if self.salt is None else f"scrypt {self.salt.hex()}"
        lines = (_HEADER, f"party {self.party}", f"public {self.public.raw.hex()}")
        return "".join(f"{line}\n" for line in (*lines, f"protection {protection}")).encode()


def store_identity(
    party: str, key: IdentityKey, passphrase: bytes | None, random: RandomBytes
) -> StoredIdentity:
    """The stored form of `key`.

    Args:
        party: the organisation's name.
        key: its private key.
        passphrase: 8 to 1024 bytes that seal it, or None to leave protection to permissions.
        random: source of the salt.

    Raises:
        ValueError: a name that no party may have.
        PassphraseError: a passphrase of another length.
    """
    if not is_party_name(party):
        raise ValueError(f"party name {party!r} is not of letters, digits, '.', '_', '-'")
    if passphrase is None:
        return StoredIdentity(party, key.public, None, key.raw)
    if not MIN_PASSPHRASE_BYTES <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise PassphraseError(
            f"passphrase of {len(passphrase)} bytes, not in "
            f"{MIN_PASSPHRASE_BYTES}..{MAX_PASSPHRASE_BYTES}"
        )
    draft = StoredIdentity(party, key.public, random.random_bytes(_SALT_BYTES), b"")
    assert draft.salt is not None
    sealed = AESGCM(_stretch(passphrase, draft.salt)).encrypt(_NONCE, key.raw, draft._header())
    return StoredIdentity(party, key.public, draft.salt, sealed)


def parse_identity(data: bytes) -> StoredIdentity:
    """Read the bytes of an identity file; its key stays as it is stored.

    Raises:
        DecodeError: not the one form of an identity file; the message names the part.
    """
    if len(data) > MAX_FILE_BYTES:
        raise DecodeError(f"identity file: {len(data)} bytes > {MAX_FILE_BYTES}")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise DecodeError(f"identity file: not ASCII at byte {error.start}") from None
    found = _FILE.fullmatch(text)
    if found is None:
        raise DecodeError(f"identity file: not the five lines that {_HEADER!r} has")
    if not is_party_name(found["party"]):
        raise DecodeError(f"identity file: party {found['party']!r} is not a party name")
    salt = None if found["salt"] is None else bytes.fromhex(found["salt"])
    body = bytes.fromhex(found["key"])
    if len(body) != (32 if salt is None else 48):
        raise DecodeError(f"identity file: key of {len(body)} bytes does not suit its protection")
    return StoredIdentity(
        found["party"], IdentityPublic(bytes.fromhex(found["public"])), salt, body
    )


def write_identity(
    path: Path, party: str, key: IdentityKey, passphrase: bytes | None, random: RandomBytes
) -> None:
    """Write a new identity file, mode 0600; it counts as written once it has been read back.

    Raises:
        FileRefusedError: a file of that name exists, or it cannot be written.
        ValueError, PassphraseError: as `store_identity`.
    """
    stored = store_identity(party, key, passphrase, random)
    write_new(
        path,
        stored.to_bytes(),
        mode=PRIVATE_MODE,
        check=lambda back: parse_identity(back).open(passphrase),
    )


def read_identity(path: Path) -> StoredIdentity:
    """Read an identity file that nobody but its owner can read.

    Raises:
        FileRefusedError: missing, a link, another user's, or open to others (any bit of 0077).
        DecodeError: not an identity file.
    """
    data = read_protected(path, forbidden_mode=READABLE_BY_OTHERS, max_bytes=MAX_FILE_BYTES)
    return parse_identity(data)


def _stretch(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt, 32, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P).derive(passphrase)
