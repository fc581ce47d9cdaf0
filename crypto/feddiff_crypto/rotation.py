"""An identity key hands over to its successor: a statement that both keys sign.

The old key's signature says who may follow it; the new key's shows that whoever asks holds it, so
nobody can have a stranger's key pinned as their own. Both sign one digest of party, old key and new
key under a label of its own. As a file it is a JSON object in the one form of `canonical_json`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from feddiff_crypto.canonical_json import canonical_json, parse_canonical
from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.errors import DecodeError
from feddiff_crypto.keys import (
    IDENTITY_ROTATION_LABEL,
    KEY_BYTES,
    SIGNATURE_BYTES,
    IdentityKey,
    IdentityPublic,
    is_party_name,
)

MAX_FILE_BYTES: Final = 2048
FORMAT: Final = "feddiff-secure identity rotation"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Rotation:
    """From now on `new` speaks for `party` in place of `old`.

    Attributes:
        party: the organisation.
        old: the key that is pinned for it.
        new: the key that shall be.
        old_signature: of the statement, by `old`.
        new_signature: of the statement, by `new`.
    """

    party: str
    old: IdentityPublic
    new: IdentityPublic
    old_signature: bytes
    new_signature: bytes

    @classmethod
    def sign(cls, party: str, old: IdentityKey, new: IdentityKey) -> Rotation:
        """Make the statement.

        Raises:
            ValueError: a wrong name, or the same key twice.
        """
        if not is_party_name(party) or old.public == new.public:
            raise ValueError(f"{party!r} is no party name, or the new key is the old one")
        digest = _digest(party, old.public, new.public)
        signatures = (key.sign(IDENTITY_ROTATION_LABEL, digest) for key in (old, new))
        return cls(party, old.public, new.public, *signatures)

    def verify(self) -> None:
        """Return if both signatures verify, raise otherwise.

        Raises:
            SignatureInvalidError: one does not.
        """
        digest = _digest(self.party, self.old, self.new)
        self.old.verify(self.old_signature, IDENTITY_ROTATION_LABEL, digest)
        self.new.verify(self.new_signature, IDENTITY_ROTATION_LABEL, digest)

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        return canonical_json(
            {
                "format": FORMAT,
                "version": VERSION,
                "party": self.party,
                "old": self.old.raw.hex(),
                "new": self.new.raw.hex(),
                "old_signature": self.old_signature.hex(),
                "new_signature": self.new_signature.hex(),
            }
        )


def parse_rotation(data: bytes) -> Rotation:
    """Read the bytes of a rotation; its signatures are not verified here.

    Raises:
        DecodeError: not the one form of a rotation; the message names the field.
        LimitError: larger than a rotation may be.
    """
    names = ("party", "old", "new", "old_signature", "new_signature")
    content = parse_canonical(data, FORMAT, VERSION, names, MAX_FILE_BYTES)
    party = content["party"]
    if not isinstance(party, str) or not is_party_name(party):
        raise DecodeError("rotation.party: not a party name")
    return Rotation(
        party,
        IdentityPublic(read_hex(content, "rotation", "old", KEY_BYTES)),
        IdentityPublic(read_hex(content, "rotation", "new", KEY_BYTES)),
        read_hex(content, "rotation", "old_signature", SIGNATURE_BYTES),
        read_hex(content, "rotation", "new_signature", SIGNATURE_BYTES),
    )


def read_hex(content: dict[str, Any], kind: str, name: str, length: int) -> bytes:
    """The field `name` of `content`: `length` bytes as lower-case hex.

    Raises:
        DecodeError: it is anything else.
    """
    value = content[name]
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * length}}}", value):
        raise DecodeError(f"{kind}.{name}: not {length} bytes as lower-case hex")
    return bytes.fromhex(value)


def _digest(party: str, old: IdentityPublic, new: IdentityPublic) -> bytes:
    return canonical_digest(
        {"kind": "identity rotation", "party": party, "old": old.raw, "new": new.raw}
    )
