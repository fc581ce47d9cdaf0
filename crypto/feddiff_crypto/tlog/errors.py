"""What only the transparency log can raise."""

from __future__ import annotations

from feddiff_crypto.errors import CryptoError


class LogProofError(CryptoError):
    """An inclusion or consistency proof that does not lead to the root it is checked against."""


class CheckpointRefusedError(CryptoError):
    """A checkpoint that must not be believed or cosigned."""


class UnknownOriginError(CheckpointRefusedError):
    """A checkpoint of a log that this witness or verifier does not follow."""


class LogSignatureError(CheckpointRefusedError):
    """A checkpoint without the valid signature of its log's key, or with an invalid cosignature."""


class RollbackError(CheckpointRefusedError):
    """A checkpoint of fewer leaves than the last one that this witness cosigned."""


class ForkError(CheckpointRefusedError):
    """A checkpoint of which nothing shows that it continues the last one this witness cosigned."""


class QuorumError(CheckpointRefusedError):
    """A checkpoint with fewer cosignatures than rule out a second history."""
