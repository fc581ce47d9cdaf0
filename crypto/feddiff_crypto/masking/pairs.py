"""The pairwise mask seeds of one owner: from its own keys, or from its opened mask key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from feddiff_crypto.errors import ShareError
from feddiff_crypto.keys import AgreementKey, AgreementPublic
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.contributions import contribution, open_contribution
from feddiff_crypto.masking.mask_keys import HybridMaskKey, MaskKey
from feddiff_crypto.masking.seeds import hybrid_pairwise_seed, pairwise_seed
from feddiff_crypto.prg import MaskSeed


def pairwise_seeds(
    key: MaskKey,
    party: str,
    *,
    peers: Iterable[str],
    roster: Roster,
    context: bytes,
    received: Mapping[str, bytes],
) -> dict[str, MaskSeed]:
    """The seed that `party` shares with each peer, the same from both sides.

    Args:
        key: the mask key of `party`.
        party: whose seeds.
        peers: other members of the roster.
        roster: of the attempt.
        context: digest of its context, with the roster.
        received: peer below `party` → what it contributed; empty without hybrid key agreement.

    Raises:
        ShareError: a contribution is missing or does not open; names the peer.
        KeyInvalidError: a peer's mask key is a point of low order.
    """
    adverts = roster.by_party()

    def seed(peer: str) -> MaskSeed:
        public = AgreementPublic(adverts[peer].mask_key)
        if isinstance(key, AgreementKey):
            return pairwise_seed(key, party, public, peer, context)
        shared = _contribution(key, party, peer, context, received)
        return hybrid_pairwise_seed(
            shared,
            key=key.agreement,
            party=party,
            peer_key=public,
            peer=peer,
            context=context,
        )

    return {peer: seed(peer) for peer in peers}


def _contribution(
    key: HybridMaskKey, party: str, peer: str, context: bytes, received: Mapping[str, bytes]
) -> bytes:
    """k from the lower to the higher of the two: derived by the lower, opened by the higher."""
    if party < peer:
        return contribution(key.raw, party, peer, context)
    if peer not in received:
        raise ShareError(f"no contribution to the mask with {party}", party=peer)
    return open_contribution(
        received[peer], key=key.kem, sender=peer, recipient=party, context=context
    )
