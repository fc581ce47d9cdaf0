"""The digests and signed words of a transcript, made in one place for all who compare them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from feddiff_crypto.encoding import Limits, Value, canonical_digest, encode

RUN_LABEL: Final = b"feddiff-secure v1 run roster"
END_LABEL: Final = b"feddiff-secure v1 end of run"
# A message of 2²⁴ elements as both polynomials of its ciphertexts, the largest there is.
_LIMITS: Final = Limits(max_message_bytes=2**29 + 2**20)


def message_bytes(message: Mapping[str, Value]) -> bytes:
    """A message of the protocol as its bytes on the wire."""
    return encode(message, _LIMITS)


def message_digest(message: Mapping[str, Value]) -> bytes:
    """SHA-256 of `message_bytes`: 32 bytes."""
    return hashlib.sha256(message_bytes(message)).digest()


def end_digest(session: str, owner: str, entries: int, head: bytes, model: bytes | None) -> bytes:
    """What an owner signs when a run is over.

    Args:
        session: of the run.
        owner: who signs.
        entries: number of entries of its ledger. head: SHA-256 of the last one.
        model: SHA-256 of the trained weights it holds; None where it holds none.
    """
    return canonical_digest(
        {
            "kind": "end of run",
            "session": session,
            "owner": owner,
            "entries": entries,
            "head": head,
            "model": model or b"",
        }
    )
