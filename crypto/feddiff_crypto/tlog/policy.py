"""Whom a verifier believes about a log, and how many witnesses rule out a second history.

A log that shows two histories needs q cosignatures under each. Each of n − c honest witnesses signs
only what continues its last checkpoint, so it stands under one of two histories that contradict
each other; each of c colluding ones may stand under both. Two histories then have at most
(n − c) + 2c = n + c cosignatures together, so with q > (n + c)/2 under each there cannot be two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from feddiff_crypto.errors import PolicyError
from feddiff_crypto.keys import IdentityPublic, Registry
from feddiff_crypto.tlog.checkpoint import Checkpoint, is_origin, verify_checkpoint
from feddiff_crypto.tlog.cosignature import verify_cosignature
from feddiff_crypto.tlog.errors import QuorumError
from feddiff_crypto.tlog.note import Note, NoteSignature, SignatureType, key_id


@dataclass(frozen=True, slots=True)
class CosignedCheckpoint:
    """A checkpoint that a policy was satisfied with.

    Attributes:
        checkpoint: what the log signed.
        times: cosigner → the time of its cosignature, in seconds since 1970.
        unknown: the lines of keys that the policy does not know, which count for nothing. A
            verifier that wants every byte of a note accounted for refuses any.
    """

    checkpoint: Checkpoint
    times: Mapping[str, int]
    unknown: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """What is believed about one log.

    Args:
        origin: the log.
        log_key: its key.
        cosigners: the n witnesses and their keys.
        colluders: c, 0..n − 1: how many of them may sign anything.

    Raises:
        ValueError: no origin, or a cosigner that a note cannot tell from the log.
        PolicyError: c outside 0..n − 1.
    """

    origin: str
    log_key: IdentityPublic
    cosigners: Registry
    colluders: int

    def __post_init__(self) -> None:
        if not is_origin(self.origin):
            raise ValueError(f"{self.origin[:64]!a} is no origin of visible ASCII without '+'")
        count = len(self.cosigners.parties)
        if not 0 <= self.colluders < count:
            raise PolicyError(f"colluders: {self.colluders} is not in 0..{count - 1}")
        if self._log_line in self._keys():
            raise ValueError(f"the log and a cosigner are both {self.origin!r} with one key ID")

    @property
    def quorum(self) -> int:
        """The least whole number above (n + c)/2."""
        return (len(self.cosigners.parties) + self.colluders) // 2 + 1

    def verify(self, note: Note) -> CosignedCheckpoint:
        """What `note` proves under this policy.

        1. Its text is a checkpoint of this log, signed by the log's key.
        2. Every line of a known cosigner is a valid cosignature.
        3. There are `quorum` of them.

        Raises:
            DecodeError: the text is no checkpoint.
            UnknownOriginError: it is one of another log.
            LogSignatureError: the log's signature is missing, or a known key's is not valid.
            QuorumError: too few cosignatures; the message has both numbers.
        """
        checkpoint = verify_checkpoint(note, self.origin, self.log_key)  # 1
        known = self._keys()
        times: dict[str, int] = {}
        unknown = []
        for signature in note.signatures:  # 2
            if signature.key in known:
                key = known[signature.key]
                times[signature.name] = verify_cosignature(checkpoint, signature, key)
            elif signature.key != self._log_line:
                unknown.append(signature)
        if len(times) < self.quorum:  # 3
            raise QuorumError(
                f"{self.origin}: {len(times)} cosignatures, fewer than {self.quorum} of "
                f"{len(self.cosigners.parties)} with {self.colluders} colluding"
            )
        return CosignedCheckpoint(checkpoint, times, tuple(unknown))

    @property
    def _log_line(self) -> tuple[str, bytes]:
        return self.origin, key_id(self.origin, SignatureType.ED25519, self.log_key)

    def _keys(self) -> dict[tuple[str, bytes], IdentityPublic]:
        """Each cosigner's name and key ID, as a note's line has them."""
        return {
            (name, key_id(name, SignatureType.COSIGNATURE_V1, key)): key
            for name, key in self.cosigners.identities.items()
        }
