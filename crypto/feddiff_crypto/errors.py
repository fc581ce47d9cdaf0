"""Every error this package raises on purpose.

Two kinds are kept apart. A caller's bug (a wrong type, an array of the wrong dtype, a negative
count) raises the built-in `TypeError` or `ValueError`, as each docstring says. Everything that
another party can cause by sending bytes raises a subclass of `CryptoError`; a built-in error that
escapes on hostile input is a bug of this package.
"""

from __future__ import annotations


class CryptoError(Exception):
    """Root of the errors that hostile, broken or refused input can cause."""


class DecodeError(CryptoError):
    """Bytes or fields that are not the one canonical form of a message."""


class LimitError(CryptoError):
    """A message, field or array beyond its stated limit; the message names value and limit."""


class PolicyError(CryptoError, ValueError):
    """Numbers of owners, dropouts and colluders for which no claim can be made."""


class OverflowRefusedError(CryptoError, ValueError):
    """Values or public bounds that do not fit the ring or the grid."""


class FileRefusedError(CryptoError):
    """A file that is missing, too open, too large, not its user's, or already there."""


class PassphraseError(CryptoError):
    """A passphrase that is wrong, missing, not wanted, or of a length that is not allowed."""


class RegistryRefusedError(CryptoError):
    """A change to the pinned registry that its rules do not allow, or a party it does not pin."""


class HybridUnavailableError(CryptoError):
    """This machine has no ML-KEM-768; the message says what is missing."""


class RevokedKeyError(RegistryRefusedError):
    """An identity key that was revoked."""


class ProtocolError(CryptoError):
    """The round must be aborted.

    Args:
        message: what was wrong, with the value and the bound it broke.
        party: the party whose message caused the abort, if one can be named.
    """

    def __init__(self, message: str, *, party: str | None = None) -> None:
        super().__init__(message if party is None else f"{party}: {message}")
        self.party = party


class OutOfOrderError(ProtocolError):
    """A state of the protocol was used a second time."""


class AlreadyAnsweredError(OutOfOrderError):
    """An unmask request was already answered or refused; a second reply could reveal more."""


class SignatureInvalidError(ProtocolError):
    """A signature does not verify under the pinned identity key."""


class ContextMismatchError(ProtocolError):
    """A message of another session, round, attempt, model, configuration or roster."""


class RosterError(ProtocolError):
    """A roster with unknown, missing, repeated or altered members."""


class ThresholdError(ProtocolError):
    """Fewer parties than the threshold remain."""


class KeyInvalidError(ProtocolError):
    """A public key that no honest party produces, such as a point of low order."""


class ShareError(ProtocolError):
    """A secret share that cannot be opened, is out of range, or leads to a wrong secret."""


class SurvivorSetError(ProtocolError):
    """A survivor set that is not the one agreed on, or that an owner must not accept."""
