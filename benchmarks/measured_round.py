"""One round among honest parties with stopwatches on three owners and on the coordinator.

Only the measured owners mask a vector of the full length. The other owners mask one element, and
the coordinator is given vectors of the full length in their place: what it computes does not depend
on what is in them, and n vectors of 10⁷ elements would not fit the memory of a small machine. The
sum is therefore not a sum of anything; that sums are exact is for the tests to show.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numpy as np

from feddiff_crypto.encoding import encode
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.messages import MaskedInput
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.randomness import SecureRandom

T = TypeVar("T")
MEASURED = 3  # owners, of which the least cost counts
CONTEXT = RoundContext("benchmark", 0, 0, bytes(32), bytes(32))


@dataclass
class Stopwatch:
    """CPU seconds of one party, over the calls it made."""

    seconds: float = field(default=0.0)

    def time(self, call: Callable[[], T]) -> T:
        """Make one call."""
        began = time.process_time()
        result = call()
        self.seconds += time.process_time() - began
        return result


@dataclass(frozen=True)
class RoundCost:
    """CPU seconds of a whole round."""

    owner: float
    coordinator: float
    setup_bytes: int  # what the lowest owner sends in the first two phases, the longest of all


@lru_cache(maxsize=32)  # the owner's row and the coordinator's come from one round
def least_cost(
    owners: int, dimension: int, agreement: KeyAgreement = KeyAgreement.X25519
) -> RoundCost:
    """The least of a few rounds; of one where setting up takes longer than what is measured."""
    costs = [_measure(owners, dimension, agreement) for _ in range(1 if owners > 32 else 3)]
    return RoundCost(
        min(c.owner for c in costs), min(c.coordinator for c in costs), costs[0].setup_bytes
    )


def _measure(owners: int, dimension: int, agreement: KeyAgreement) -> RoundCost:
    """Five phases; a tenth of the owners drops out between sharing and masked input."""
    random = SecureRandom()
    names = [f"owner-{i:03d}" for i in range(owners)]
    identities = {name: IdentityKey.generate(random) for name in names}
    registry = Registry({name: key.public for name, key in identities.items()})
    policy = Policy(owners, dropouts=owners // 10)
    centre = Stopwatch()
    watches = {name: Stopwatch() for name in names}
    measured = names[:MEASURED]
    survivors = names[: owners - owners // 10]
    element, vector = np.zeros(1, np.uint32), np.ones(dimension, np.uint32)

    start = CoordinatorStart(
        registry=registry,
        policy=policy,
        context=CONTEXT,
        dimension=dimension,
        agreement=agreement,
    )
    advertised = {
        name: watches[name].time(
            OwnerStart(
                party=name,
                identity=identities[name],
                registry=registry,
                policy=policy,
                context=CONTEXT,
                random=random,
                agreement=agreement,
            ).advertise
        )
        for name in names
    }
    adverts = {name: advert for name, (_, advert) in advertised.items()}
    sharing, rosters = centre.time(lambda: start.roster(adverts))
    shared = {
        name: watches[name].time(lambda s=state, n=name: s.share(rosters[n]))  # type: ignore[misc]
        for name, (state, _) in advertised.items()
    }
    shares = {name: message for name, (_, message) in shared.items()}
    masking, delivered = centre.time(lambda: sharing.deliver(shares))
    masked = {}
    for name in survivors:
        state, plain = shared[name][0], vector if name in measured else element
        masked[name], message = watches[name].time(
            lambda s=state, n=name, p=plain: s.mask(delivered[n], p)  # type: ignore[misc]
        )
        sent = MaskedInput(message.context, name, vector)
        centre.time(lambda n=name, m=sent: masking.add(n, m))  # type: ignore[misc]
    consistency, sets = centre.time(masking.close)
    signed = {
        name: watches[name].time(lambda s=state, n=name: s.sign(sets[n]))  # type: ignore[misc]
        for name, state in masked.items()
    }
    signatures = {name: message for name, (_, message) in signed.items()}
    unmasking, requests = centre.time(lambda: consistency.request(signatures))
    replies = {
        name: watches[name].time(
            lambda s=state, n=name: s.reveal(requests[n], lambda _: None)[1]  # type: ignore[misc]
        )
        for name, (state, _) in signed.items()
    }
    centre.time(lambda: unmasking.finish(replies))
    setup = (adverts[names[0]].to_message(), shares[names[0]].to_message())
    return RoundCost(
        min(watches[name].seconds for name in measured),
        centre.seconds,
        sum(len(encode(message)) for message in setup),
    )
