"""The coordinator's sorting of the share phase: from each sender to each holder."""

from __future__ import annotations

from collections.abc import Mapping

from feddiff_crypto.errors import ShareError
from feddiff_crypto.keys import Registry
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.contributions import (
    Contributions,
    check_contributions,
    require_contributions,
)
from feddiff_crypto.masking.share_messages import DeliveredShares, SealedShares


def sort_shares(
    shares: Mapping[str, SealedShares], roster: Roster, registry: Registry, context: bytes
) -> tuple[dict[str, DeliveredShares], Contributions]:
    """What each owner that shared gets, and the contributions to masks among them by recipient.

    Args:
        shares: by sender, each a member of the roster, of this context and in its own name.
        roster: of the attempt, checked; it says which key agreement the round is of.
        registry: the pinned identities.
        context: digest of the round's context, with the roster.

    Raises:
        ShareError: not for exactly the other members, or of another key agreement.
        SignatureInvalidError: a contribution that its sender did not sign.
    """
    members = set(roster.parties)
    contributed: dict[str, Mapping[str, bytes]] = {}
    for sender, message in shares.items():
        if message.sealed.keys() != members - {sender}:
            raise ShareError("shares are not for exactly the other members", party=sender)
        above = [member for member in members if member > sender]
        contributed[sender] = require_contributions(
            message.contributions, above, is_hybrid=roster.is_hybrid, party=sender
        )
    sharers = sorted(shares)
    delivered, contributions = {}, {}
    for recipient in sharers:
        rows = {p: contributed[p][recipient] for p in sharers if p < recipient and contributed[p]}
        check_contributions(rows, recipient, registry, context)
        contributions[recipient] = rows
        sealed = {p: shares[p].sealed[recipient] for p in sharers if p != recipient}
        delivered[recipient] = DeliveredShares(
            context, recipient, sealed, rows if roster.is_hybrid else None
        )
    return delivered, contributions
