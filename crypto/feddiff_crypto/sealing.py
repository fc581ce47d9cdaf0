"""Shares sealed from one owner to another, through a coordinator that must not read them.

The key is X25519 of the two sealing keys of the round, through HKDF bound to the round, the sender
and the recipient; the cipher is AES-256-GCM with the same three as associated data. The nonce is
twelve zero bytes, which is safe because each key seals one message: the key pairs are fresh each
attempt, and the derivation names the direction, so u → v and v → u have different keys.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.errors import ShareError
from feddiff_crypto.keys import SHARE_SEALING_LABEL, AgreementKey, AgreementPublic

TAG_BYTES: Final = 16  # what sealing adds to the length
_NONCE: Final = bytes(12)


def seal(
    plaintext: bytes,
    *,
    key: AgreementKey,
    peer: AgreementPublic,
    context: bytes,
    sender: str,
    recipient: str,
) -> bytes:
    """Seal `plaintext` from `sender` (who holds `key`) to `recipient` (whose key is `peer`).

    Call it once for each recipient and key: a second message under one key would reveal the
    exclusive or of the two.

    Raises:
        KeyInvalidError: `peer` is a point of low order.
    """
    header = _header(context, sender, recipient)
    shared = key.agree(peer, SHARE_SEALING_LABEL, header)
    return AESGCM(shared).encrypt(_NONCE, plaintext, header)


def unseal(
    ciphertext: bytes,
    *,
    key: AgreementKey,
    peer: AgreementPublic,
    context: bytes,
    sender: str,
    recipient: str,
) -> bytes:
    """Open what `seal` made, as `recipient` (who holds `key`) from `sender` (whose key is `peer`).

    Raises:
        ShareError: not sealed by `sender` for `recipient` in this context; names the sender.
        KeyInvalidError: `peer` is a point of low order.
    """
    header = _header(context, sender, recipient)
    shared = key.agree(peer, SHARE_SEALING_LABEL, header)
    if len(ciphertext) < TAG_BYTES:
        raise ShareError(f"sealed share of {len(ciphertext)} bytes has no tag", party=sender)
    try:
        return AESGCM(shared).decrypt(_NONCE, ciphertext, header)
    except InvalidTag:
        raise ShareError(f"sealed share for {recipient} does not open", party=sender) from None


def _header(context: bytes, sender: str, recipient: str) -> bytes:
    return canonical_digest({"context": context, "sender": sender, "recipient": recipient})
