"""What an owner sent last, on its own disk: a digest, for a restarted owner to find in the log.

An owner cosigns a release only if the log names the message that this owner sent. If its process
ends between sending and cosigning, the next one has to know that message's digest. It says nothing
that the message did not say to the coordinator.

The file is JSON in the one form of `canonical_json`, mode 0600, replaced as a whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from feddiff_crypto import protected_file
from feddiff_crypto.canonical_json import canonical_json, parse_canonical
from feddiff_crypto.errors import DecodeError
from feddiff_crypto.rotation import read_hex
from feddiff_secure.transcript.leaf_fields import LeafFields
from feddiff_secure.transcript.leaves import HASH_BYTES, AttemptKey

FORMAT: Final = "feddiff-secure sent"
VERSION: Final = 1
MAX_BYTES: Final = 4096
SESSION_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class SentVector:
    """The last message with a vector.

    Attributes:
        session: of the run, 32 hex digits.
        key: of which attempt.
        digest: SHA-256 of the message.
    """

    session: str
    key: AttemptKey
    digest: bytes

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        key = {"kind": FORMAT, **self.key.to_json()}
        fields = {"session": self.session, "key": key, "digest": self.digest.hex()}
        return canonical_json({"format": FORMAT, "version": VERSION, **fields})


def parse_sent(data: bytes) -> SentVector:
    """Read the file.

    Raises:
        DecodeError, LimitError: not such a file.
    """
    fields = ("session", "key", "digest")
    content = parse_canonical(data, FORMAT, VERSION, fields, MAX_BYTES)
    if not isinstance(content["key"], dict):
        raise DecodeError("sent.key: not an object")
    key = AttemptKey.from_fields(LeafFields(content["key"], FORMAT, ("phase", "round", "attempt")))
    session = read_hex(content, "sent", "session", SESSION_BYTES).hex()
    return SentVector(session, key, read_hex(content, "sent", "digest", HASH_BYTES))


class SentStore(Protocol):
    """Where an owner remembers what it sent last."""

    def get(self) -> SentVector | None:
        """The last one; None before the first."""
        ...

    def put(self, sent: SentVector) -> None:
        """Replace it; returns once that survives a crash."""
        ...


@dataclass(frozen=True, slots=True)
class SentFile:
    """A `SentStore` in one file.

    Args:
        path: the file; its folder must exist.
    """

    path: Path

    def get(self) -> SentVector | None:
        """The stored one, None if there is no file.

        Raises:
            FileRefusedError, DecodeError, LimitError: a file that is not its owner's own, or none
                of this kind.
        """
        if not os.path.lexists(self.path):
            return None
        forbidden = protected_file.WRITABLE_BY_OTHERS
        return parse_sent(
            protected_file.read_protected(self.path, forbidden_mode=forbidden, max_bytes=MAX_BYTES)
        )

    def put(self, sent: SentVector) -> None:
        """Replace the stored one durably.

        Raises:
            FileRefusedError: it cannot be written.
        """
        mode = protected_file.PRIVATE_MODE
        protected_file.replace(self.path, sent.to_bytes(), mode=mode, check=parse_sent)
