"""How the mask seeds of a round follow from its keys and secrets.

Owners, the coordinator that removes masks and a verifier that recomputes the sum derive them here.
`context` is the digest of the round's context: with the roster for masks, before it for the
commitment, which the advert carries. The commitment and the self mask are two outputs of HKDF under
one uniform secret, so the published one tells nothing about the other.
"""

from __future__ import annotations

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.keys import (
    PAIRWISE_MASK_LABEL,
    SELF_COMMITMENT_LABEL,
    SELF_MASK_LABEL,
    AgreementKey,
    AgreementPublic,
    derive,
)
from feddiff_crypto.prg import MaskSeed


def pairwise_seed(
    key: AgreementKey, party: str, peer_key: AgreementPublic, peer: str, context: bytes
) -> MaskSeed:
    """The seed that `party` (who holds `key`) and `peer` share; the same from both sides.

    Raises:
        KeyInvalidError: `peer_key` is a point of low order.
    """
    first, second = sorted((party, peer))
    info = canonical_digest({"context": context, "first": first, "second": second})
    return MaskSeed(key.agree(peer_key, PAIRWISE_MASK_LABEL, info))


def self_seed(secret: bytes, party: str, context: bytes) -> MaskSeed:
    """The seed of the self mask of `party`, from its 32-byte secret."""
    info = canonical_digest({"context": context, "party": party})
    return MaskSeed(derive(secret, SELF_MASK_LABEL, info))


def commit_secret(secret: bytes, party: str, context: bytes) -> bytes:
    """The 32-byte commitment to the self-mask secret of `party`."""
    info = canonical_digest({"context": context, "party": party})
    return derive(secret, SELF_COMMITMENT_LABEL, info)
