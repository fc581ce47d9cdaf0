"""What a round is: the facts that every signature, key and sealed share of it binds.

An owner computes the context from what it was shown (the model it trained on, the configuration it
agreed to). A coordinator that shows two owners different models gets two contexts: their keys
differ, their masks do not cancel, and it gets noise.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.keys import is_party_name

HASH_BYTES: Final = 32
_MAX_INDEX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RoundContext:
    """One attempt of one round of one session.

    Args:
        session: identifies the run: 1 to 64 ASCII letters, digits, `.`, `_`, `-`.
        round_index: 0..2³¹ − 1.
        attempt: 0..2³¹ − 1; a retry of a round is another attempt with new keys.
        model_hash: SHA-256 of the global model that the owner trained on.
        config_hash: SHA-256 of the resolved configuration.
        roster_hash: digest of the roster, empty until the roster is known.

    Raises:
        ValueError: a field outside these.
    """

    session: str
    round_index: int
    attempt: int
    model_hash: bytes
    config_hash: bytes
    roster_hash: bytes = b""

    def __post_init__(self) -> None:
        if not is_party_name(self.session):
            raise ValueError(f"session: {self.session!r} is not 1 to 64 letters, digits, '._-'")
        for name, index in (("round_index", self.round_index), ("attempt", self.attempt)):
            if not 0 <= index <= _MAX_INDEX:
                raise ValueError(f"{name}: {index} is not in 0..{_MAX_INDEX}")
        for name, value in (("model_hash", self.model_hash), ("config_hash", self.config_hash)):
            if len(value) != HASH_BYTES:
                raise ValueError(f"{name}: {len(value)} bytes, expected {HASH_BYTES}")
        if len(self.roster_hash) not in (0, HASH_BYTES):
            raise ValueError(f"roster_hash: {len(self.roster_hash)} bytes, expected {HASH_BYTES}")

    def with_roster(self, roster_hash: bytes) -> RoundContext:
        """The same attempt once its roster is known.

        Raises:
            ValueError: `roster_hash` is not 32 bytes, or a roster is already set.
        """
        if self.roster_hash or not roster_hash:
            raise ValueError("a context gets its roster once, as a 32-byte hash")
        return dataclasses.replace(self, roster_hash=roster_hash)

    def digest(self) -> bytes:
        """32 bytes that name this context."""
        return canonical_digest(
            {
                "kind": "round context",
                "session": self.session,
                "round_index": self.round_index,
                "attempt": self.attempt,
                "model_hash": self.model_hash,
                "config_hash": self.config_hash,
                "roster_hash": self.roster_hash,
            }
        )
