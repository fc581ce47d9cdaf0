"""How the mask seeds of a round follow from its keys and secrets.

Owners, the coordinator that removes masks and a verifier that recomputes the sum derive them here.
`context` is the digest of the round's context: with the roster for masks, before it for the
commitment, which the advert carries. The commitment and the self mask are two outputs of HKDF under
one uniform secret, so the published one tells nothing about the other.
"""

from __future__ import annotations

from typing import Final

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.hybrid import combine_secrets
from feddiff_crypto.keys import (
    PAIRWISE_MASK_LABEL,
    SELF_COMMITMENT_LABEL,
    SELF_MASK_LABEL,
    AgreementKey,
    AgreementPublic,
    derive,
)
from feddiff_crypto.prg import MaskSeed

HYBRID_PAIRWISE_LABEL: Final = b"feddiff-secure v1 hybrid pairwise mask"


def pairwise_seed(
    key: AgreementKey, party: str, peer_key: AgreementPublic, peer: str, context: bytes
) -> MaskSeed:
    """The seed that `party` (who holds `key`) and `peer` share; the same from both sides.

    Raises:
        KeyInvalidError: `peer_key` is a point of low order.
    """
    return MaskSeed(key.agree(peer_key, PAIRWISE_MASK_LABEL, _pair(party, peer, context)))


def hybrid_pairwise_seed(
    contribution: bytes,
    *,
    key: AgreementKey,
    party: str,
    peer_key: AgreementPublic,
    peer: str,
    context: bytes,
) -> MaskSeed:
    """The same with hybrid key agreement: it takes X25519 and what travelled under ML-KEM-768.

    The context binds the roster, and by that every public key of both.

    Args:
        contribution: k of the lower of the two, 32 bytes.
        key: the X25519 mask key of `party`.
        party: one of the two.
        peer_key: the other's X25519 mask key.
        peer: the other.
        context: digest of the round's context, with the roster.

    Raises:
        KeyInvalidError: `peer_key` is a point of low order.
    """
    shared, info = key.exchange(peer_key), _pair(party, peer, context)
    return MaskSeed(combine_secrets(contribution, shared, HYBRID_PAIRWISE_LABEL, info))


def self_seed(secret: bytes, party: str, context: bytes) -> MaskSeed:
    """The seed of the self mask of `party`, from its 32-byte secret."""
    info = canonical_digest({"context": context, "party": party})
    return MaskSeed(derive(secret, SELF_MASK_LABEL, info))


def commit_secret(secret: bytes, party: str, context: bytes) -> bytes:
    """The 32-byte commitment to the self-mask secret of `party`."""
    info = canonical_digest({"context": context, "party": party})
    return derive(secret, SELF_COMMITMENT_LABEL, info)


def _pair(party: str, peer: str, context: bytes) -> bytes:
    first, second = sorted((party, peer))
    return canonical_digest({"context": context, "first": first, "second": second})
