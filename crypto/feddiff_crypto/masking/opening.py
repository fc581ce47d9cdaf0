"""From the shares that owners revealed to the secrets that they open."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from feddiff_crypto.errors import ShareError
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.mask_keys import open_mask_key
from feddiff_crypto.masking.messages import UnmaskReply
from feddiff_crypto.masking.unmasking import Revealed
from feddiff_crypto.shamir import Share, combine


def open_secrets(
    replies: Mapping[str, UnmaskReply],
    roster: Roster,
    survivors: Collection[str],
    dropped: Collection[str],
    threshold: int,
) -> Revealed:
    """The self-mask secrets of the survivors and the mask keys of the dropped, checked.

    Args:
        replies: by party, at least `threshold`, each about exactly these owners.
        roster: of the attempt.
        survivors: whose vectors are in the sum.
        dropped: who shared and is not among them.
        threshold: τ.

    Raises:
        ShareError: a share out of range, or shares that open no secret or not the one committed to.
    """
    xs = {party: x for x, party in enumerate(roster.parties, start=1)}
    openers = {party: xs[party] for party in sorted(replies)[:threshold]}
    adverts = roster.by_party()
    self_secrets = {
        party: _open(party, {x: (o, replies[o].self_shares[party]) for o, x in openers.items()})
        for party in sorted(survivors)
    }
    mask_secrets = {
        party: _open(party, {x: (o, replies[o].key_shares[party]) for o, x in openers.items()})
        for party in sorted(dropped)
    }
    mask_keys = {party: open_mask_key(raw, adverts[party]) for party, raw in mask_secrets.items()}
    revealed = Revealed(self_secrets, mask_keys)
    revealed.check(roster)
    return revealed


def _open(party: str, values: Mapping[int, tuple[str, bytes]]) -> bytes:
    """The secret of `party` that the shares {x: (holder, value)} open, one for each of τ holders.

    A share out of range names its holder; shares that open no secret cannot say whose is wrong.
    """
    shares = []
    for x, (holder, value) in values.items():
        try:
            shares.append(Share.from_bytes(x, value))
        except ShareError as error:
            raise ShareError(str(error), party=holder) from None
    try:
        return combine(shares, len(shares))
    except ShareError as error:
        raise ShareError(str(error), party=party) from None
