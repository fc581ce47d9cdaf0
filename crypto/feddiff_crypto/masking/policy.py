"""How many owners must survive, and how many may collude: the numbers an owner enforces.

n owners are on the signed roster, d of them may drop out, c of them may share all they know with
the coordinator. An owner accepts no survivor set smaller than

    τ = max(⌊2n/3⌋ + 1, n − d),

and τ is the threshold of the secret sharing too. Why c ≤ 2τ − n − 1 is required: to learn more than
one sum, the coordinator needs two different survivor sets each signed by τ owners, or for one owner
both kinds of share, τ of each. Colluders take part in both; an honest owner signs one set and gives
one kind. So two disjoint sets of τ − c honest owners would be needed, and there are only n − c:
2(τ − c) ≤ n − c, that is c ≥ 2τ − n. With c ≤ 2τ − n − 1 it is impossible (Bonawitz et al., CCS
2017, section 6.2, states it for c and τ as proportions of n).

h = τ − c is the least number of honest owners in any accepted sum: the number that a noise share
is sized for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from feddiff_crypto.errors import PolicyError, ThresholdError

MAX_OWNERS: Final = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """Owners n, tolerated dropouts d and colluders c of one plan.

    Args:
        owners: n, in 2..100.
        dropouts: d, in 0..n − 1. Owners drop out without an abort while τ remain, so no more than
            `tolerated_dropouts` of them, which is less than d where ⌊2n/3⌋ + 1 decides τ.
        colluders: c ≥ 0, with h ≥ 1 and c ≤ 2τ − n − 1.

    Raises:
        PolicyError: a number outside these; the message names it and its bound.
    """

    owners: int
    dropouts: int = 0
    colluders: int = 0

    def __post_init__(self) -> None:
        n, d, c = self.owners, self.dropouts, self.colluders
        if not 2 <= n <= MAX_OWNERS:
            raise PolicyError(f"owners: {n} is not in 2..{MAX_OWNERS}")
        if not 0 <= d < n:
            raise PolicyError(f"dropouts: {d} is not in 0..{n - 1}")
        if c < 0:
            raise PolicyError(f"colluders: {c} < 0")
        if self.honest_shares < 1:
            raise PolicyError(f"colluders: {c} leave no honest owner among {self.threshold}")
        most = 2 * self.threshold - n - 1
        if c > most:
            raise PolicyError(
                f"colluders: {c} > {most} = 2·{self.threshold} − {n} − 1: two different sums "
                f"could each gather {self.threshold} owners"
            )

    @property
    def threshold(self) -> int:
        """τ, the smallest survivor set and the number of shares that open a secret."""
        return max(2 * self.owners // 3 + 1, self.owners - self.dropouts)

    @property
    def honest_shares(self) -> int:
        """h = τ − c, the least number of honest noise shares in an accepted sum."""
        return self.threshold - self.colluders

    @property
    def tolerated_dropouts(self) -> int:
        """n − τ, the dropouts after which a round still ends with a sum."""
        return self.owners - self.threshold

    def require(self, what: str, count: int) -> None:
        """Return if `count` reaches τ, abort otherwise.

        Raises:
            ThresholdError: `count` < τ; the message names `what`.
        """
        if count < self.threshold:
            raise ThresholdError(f"{what}: {count} < threshold {self.threshold}")
