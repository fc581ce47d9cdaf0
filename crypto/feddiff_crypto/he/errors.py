"""What only the encrypted mode can raise."""

from __future__ import annotations

from feddiff_crypto.errors import CryptoError, OutOfOrderError, ProtocolError


class EncryptionUnavailableError(CryptoError):
    """This machine cannot run the encrypted mode; the message says what is missing."""


class KeyMismatchError(ProtocolError):
    """A message made under another CKKS key than this round's."""


class DecryptionRefusedError(ProtocolError):
    """A decryption that is no sum of honest ciphertexts; nothing of it is shown.

    The message is the same whatever was found: a text that depends on a decryption error tells
    something about the key.
    """


class AlreadyDecryptedError(OutOfOrderError):
    """An aggregate of this round was already decrypted or refused."""
