"""Contributions to pairwise masks: how ML-KEM-768 enters a mask that a third party can recover.

The seed of the mask between u < v follows from X25519 of the two mask keys and from a contribution
k_{u→v}, which u derives from its mask secret S_u and sends to v under v's ML-KEM mask key. Opening
S_u derives it again; opening S_v decapsulates it. Both are needed, since either may drop out. (The
secret of the encapsulation itself would not do: it does not follow from S_u.)

    sealed contribution = ML-KEM-768 ciphertext ‖ AES-256-GCM(k) ‖ signature of u     1200 bytes

The signature is not an ornament. Without it, a coordinator could hand v a contribution of its own
making, have v mask with it, and open that mask on the day that X25519 falls; and once S_v is open,
anyone could make another ciphertext that leads whoever recomputes the sum to another result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.errors import ShareError
from feddiff_crypto.keys import SIGNATURE_BYTES, IdentityKey, Registry, derive
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.mask_keys import HybridMaskKey
from feddiff_crypto.masking.share_messages import CONTRIBUTION_BYTES
from feddiff_crypto.mlkem import KEM_CIPHERTEXT_BYTES, KemKey, KemPublic

CONTRIBUTION_LABEL: Final = b"feddiff-secure v1 hybrid contribution"
WRAPPING_LABEL: Final = b"feddiff-secure v1 hybrid contribution wrapping"
SIGNING_LABEL: Final = b"feddiff-secure v1 hybrid contribution signature"
_NONCE: Final = bytes(12)  # each encapsulation makes a new key, which wraps one contribution
_BODY: Final = CONTRIBUTION_BYTES - SIGNATURE_BYTES

Contributions = Mapping[str, Mapping[str, bytes]]
"""Recipient → sender below it → sealed contribution."""


def contribution(secret: bytes, sender: str, recipient: str, context: bytes) -> bytes:
    """k_{sender→recipient}, 32 bytes, from the sender's mask secret.

    Args:
        secret: S of the sender.
        sender: u. recipient: v.
        context: digest of the round's context, with the roster.
    """
    return derive(secret, CONTRIBUTION_LABEL, _header(context, sender, recipient))


def seal_contributions(
    key: HybridMaskKey, identity: IdentityKey, sender: str, roster: Roster, context: bytes
) -> dict[str, bytes]:
    """The sender's contribution for each member above it, sealed and signed.

    Raises:
        KeyInvalidError: a member's ML-KEM-768 key is none.
    """
    return {
        advert.party: seal_contribution(
            contribution(key.raw, sender, advert.party, context),
            peer=KemPublic(advert.kem_mask_key),
            identity=identity,
            sender=sender,
            recipient=advert.party,
            context=context,
        )
        for advert in roster.adverts
        if advert.party > sender
    }


def seal_contribution(
    plain: bytes,
    *,
    peer: KemPublic,
    identity: IdentityKey,
    sender: str,
    recipient: str,
    context: bytes,
) -> bytes:
    """One contribution under the recipient's ML-KEM mask key, signed by the sender: 1200 bytes."""
    secret, ciphertext = peer.encapsulate()
    header = _header(context, sender, recipient)
    wrapping = _wrapping_key(secret, ciphertext, peer, header)
    body = ciphertext + AESGCM(wrapping).encrypt(_NONCE, plain, header)
    return body + identity.sign(SIGNING_LABEL, _signed_digest(body, header))


def open_contribution(
    sealed: bytes, *, key: KemKey, sender: str, recipient: str, context: bytes
) -> bytes:
    """k_{sender→recipient} from what was sealed to `recipient`, whose ML-KEM mask key is `key`.

    Its signature is for `check_contributions`.

    Raises:
        ShareError: of another length, or it does not open; names the sender.
    """
    if len(sealed) != CONTRIBUTION_BYTES:
        raise ShareError(
            f"contribution of {len(sealed)} bytes, expected {CONTRIBUTION_BYTES}", party=sender
        )
    ciphertext, wrapped = sealed[:KEM_CIPHERTEXT_BYTES], sealed[KEM_CIPHERTEXT_BYTES:_BODY]
    header = _header(context, sender, recipient)
    wrapping = _wrapping_key(key.decapsulate(ciphertext), ciphertext, key.public, header)
    try:
        return AESGCM(wrapping).decrypt(_NONCE, wrapped, header)
    except InvalidTag:
        raise ShareError(f"contribution for {recipient} does not open", party=sender) from None


def check_contributions(
    sealed: Mapping[str, bytes], recipient: str, registry: Registry, context: bytes
) -> None:
    """Return if each sender of {sender: contribution} signed its own for `recipient`.

    Raises:
        ShareError: one of another length.
        RosterError: a sender is not pinned.
        SignatureInvalidError: one that its sender did not sign for this recipient and round.
    """
    for sender, row in sealed.items():
        if len(row) != CONTRIBUTION_BYTES:
            raise ShareError(f"contribution of {len(row)} bytes", party=sender)
        digest = _signed_digest(row[:_BODY], _header(context, sender, recipient))
        registry.verify(sender, row[_BODY:], SIGNING_LABEL, digest)


def require_contributions(
    got: Mapping[str, bytes] | None, wanted: Iterable[str], *, is_hybrid: bool, party: str | None
) -> Mapping[str, bytes]:
    """Return the contributions of a message if they are what the key agreement asks for.

    Args:
        got: the message's; None where it has no such field.
        wanted: for or from exactly whom, with hybrid key agreement.
        is_hybrid: whether the plan's key agreement is hybrid.
        party: whom to name.

    Raises:
        ShareError: missing, for others, or present where the key agreement knows none.
    """
    if (got is not None) != is_hybrid:
        raise ShareError("a message of another key agreement than the plan's", party=party)
    if got is None:
        return {}
    if got.keys() != set(wanted):
        raise ShareError("contributions are not of exactly the pairs of this round", party=party)
    return got


def _wrapping_key(secret: bytes, ciphertext: bytes, peer: KemPublic, header: bytes) -> bytes:
    info = canonical_digest({"header": header, "ciphertext": ciphertext, "key": peer.raw})
    return derive(secret, WRAPPING_LABEL, info)


def _signed_digest(body: bytes, header: bytes) -> bytes:
    return canonical_digest({"header": header, "body": body})


def _header(context: bytes, sender: str, recipient: str) -> bytes:
    return canonical_digest({"context": context, "sender": sender, "recipient": recipient})
