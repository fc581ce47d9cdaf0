"""Shares sealed from one owner to another, through a coordinator that must not read them.

The key is X25519 of the two sealing keys of the round, through HKDF bound to the round, the sender
and the recipient; the cipher is AES-256-GCM with the same three as associated data. The nonce is
twelve zero bytes, which is safe because each key seals one message: the key pairs are fresh each
attempt, and the derivation names the direction, so u → v and v → u have different keys.

To a hybrid key (`feddiff_crypto.hybrid`) an ML-KEM-768 ciphertext goes in front, fresh for each
message, and the key follows from both secrets.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.errors import ShareError
from feddiff_crypto.hybrid import (
    HybridKey,
    SealingKey,
    SealingPublic,
    combine_secrets,
    transcript,
)
from feddiff_crypto.keys import SHARE_SEALING_LABEL, AgreementKey, AgreementPublic
from feddiff_crypto.mlkem import KEM_CIPHERTEXT_BYTES

HYBRID_SEALING_LABEL: Final = b"feddiff-secure v1 hybrid sealing"
TAG_BYTES: Final = 16  # what sealing adds to the length
HYBRID_SEALING_BYTES: Final = KEM_CIPHERTEXT_BYTES + TAG_BYTES  # the same to a hybrid key
_NONCE: Final = bytes(12)


def seal(
    plaintext: bytes,
    *,
    key: SealingKey,
    peer: SealingPublic,
    context: bytes,
    sender: str,
    recipient: str,
) -> bytes:
    """Seal `plaintext` from `sender` (who holds `key`) to `recipient` (whose key is `peer`).

    Whether it is sealed hybrid is decided by the kind of `peer`; of `key` only X25519 takes part.
    Call it once for each recipient and key: a second message under one key would reveal the
    exclusive or of the two.

    Raises:
        KeyInvalidError: `peer` is a point of low order, or no ML-KEM-768 key.
        HybridUnavailableError: a hybrid peer on a machine without ML-KEM-768.
    """
    header = _header(context, sender, recipient)
    own = key.agreement if isinstance(key, HybridKey) else key
    if isinstance(peer, AgreementPublic):
        return AESGCM(own.agree(peer, SHARE_SEALING_LABEL, header)).encrypt(
            _NONCE, plaintext, header
        )
    secret, ciphertext = peer.kem.encapsulate()
    public = key.public.agreement if isinstance(key, HybridKey) else key.public
    info = transcript(header, ciphertext, public, peer)
    shared = combine_secrets(secret, own.exchange(peer.agreement), HYBRID_SEALING_LABEL, info)
    return ciphertext + AESGCM(shared).encrypt(_NONCE, plaintext, header)


def unseal(
    ciphertext: bytes,
    *,
    key: SealingKey,
    peer: AgreementPublic,
    context: bytes,
    sender: str,
    recipient: str,
) -> bytes:
    """Open what `seal` made, as `recipient` (who holds `key`) from `sender` (whose key is `peer`).

    Whether it was sealed hybrid is decided by the kind of `key`, never by what arrived.

    Raises:
        ShareError: not sealed by `sender` for `recipient` in this context; names the sender.
        KeyInvalidError: `peer` is a point of low order.
    """
    header = _header(context, sender, recipient)
    overhead = TAG_BYTES if isinstance(key, AgreementKey) else HYBRID_SEALING_BYTES
    if len(ciphertext) < overhead:
        raise ShareError(f"sealed share of {len(ciphertext)} bytes has no tag", party=sender)
    if isinstance(key, AgreementKey):
        shared, body = key.agree(peer, SHARE_SEALING_LABEL, header), ciphertext
    else:
        encapsulated, body = ciphertext[:KEM_CIPHERTEXT_BYTES], ciphertext[KEM_CIPHERTEXT_BYTES:]
        info = transcript(header, encapsulated, peer, key.public)
        secret = key.kem.decapsulate(encapsulated)
        shared = combine_secrets(secret, key.agreement.exchange(peer), HYBRID_SEALING_LABEL, info)
    try:
        return AESGCM(shared).decrypt(_NONCE, body, header)
    except InvalidTag:
        raise ShareError(f"sealed share for {recipient} does not open", party=sender) from None


def _header(context: bytes, sender: str, recipient: str) -> bytes:
    return canonical_digest({"context": context, "sender": sender, "recipient": recipient})
