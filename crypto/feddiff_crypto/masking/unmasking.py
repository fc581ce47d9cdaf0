"""From the sum of masked vectors to the sum of vectors, given what the owners revealed.

A pure function of public data, so that a verifier can repeat it. What is revealed is checked
against what its owner signed before anyone could know the outcome: the commitment to the self-mask
secret and the public mask key, both in the advert. With hybrid key agreement the contributions that
were sealed to a dropped owner are public data too; whoever did not get them from their senders
checks their signatures first (`contributions.check_contributions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from feddiff_crypto.errors import ShareError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.contributions import Contributions
from feddiff_crypto.masking.mask_keys import MaskKey, check_mask_key
from feddiff_crypto.masking.pairs import pairwise_seeds
from feddiff_crypto.masking.seeds import commit_secret, self_seed
from feddiff_crypto.prg import MaskSeed, add_masks


@dataclass(frozen=True, slots=True)
class Revealed:
    """The secrets of a round that its unmask phase opened. Public from then on."""

    self_secrets: Mapping[str, bytes] = field(repr=False)  # survivor → 32 bytes
    mask_keys: Mapping[str, MaskKey] = field(repr=False)  # dropped after sharing → key

    def check(self, roster: Roster) -> None:
        """Return if every secret is the one its owner committed to.

        Raises:
            ShareError: one is not; names the party.
        """
        adverts = roster.by_party()
        for party, secret in self.self_secrets.items():
            commitment = commit_secret(secret, party, roster.context)
            if party not in adverts or commitment != adverts[party].secret_commitment:
                raise ShareError(
                    "the opened self-mask secret is not the committed one", party=party
                )
        for party, key in self.mask_keys.items():
            if party not in adverts:
                raise ShareError("an opened mask key of no member of the roster", party=party)
            check_mask_key(key, adverts[party])


def remove_masks(
    total: RingArray,
    roster: Roster,
    context: bytes,
    revealed: Revealed,
    contributions: Contributions | None = None,
) -> None:
    """Subtract from `total`, in place, every mask that did not cancel.

    These are the self masks of the survivors and, for each owner that dropped out after sharing,
    the pairwise masks that the survivors share with it. (Pairs of survivors cancel; an owner that
    never shared is in no mask.)

    Args:
        total: sum of the survivors' masked vectors; one-dimensional uint32 or uint64.
        roster: the roster of the attempt.
        context: digest of its context, with the roster.
        revealed: the secrets of exactly the survivors and those who dropped out after sharing.
        contributions: with hybrid key agreement, what survivors contributed to the masks with each
            of the latter; checked before.

    Raises:
        ShareError: a secret is not the one committed to, or a contribution is missing or broken.
        KeyInvalidError: a survivor's mask key is a point of low order.
    """
    revealed.check(roster)
    plus: list[MaskSeed] = []
    minus = [self_seed(secret, p, context) for p, secret in revealed.self_secrets.items()]
    for dropped, key in revealed.mask_keys.items():
        received = (contributions or {}).get(dropped, {})
        seeds = pairwise_seeds(
            key,
            dropped,
            peers=revealed.self_secrets,
            roster=roster,
            context=context,
            received=received,
        )
        for survivor, seed in seeds.items():
            # The survivor u added the mask if the dropped v > u and subtracted it if v < u.
            (minus if dropped > survivor else plus).append(seed)
    add_masks(total, plus, minus)
