"""What the adversary of the calibrated row sees of a run: every sum, less what it knows itself.

That adversary is the coordinator together with c colluding owners after d dropouts, so that h
noise shares stand between the data and its eyes. With local noise no aggregation is relied on:
every vector but the canaries' own owner's is taken off, and one share is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.messages import MaskedInput
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.events import Event
from feddiff_privacy.ledger.ledger import HeldPlan
from feddiff_secure.attack.canaries import Canaries
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transport.exchange import Message
from feddiff_secure.transport.inprocess import InProcessExchange


class Rehearsal:
    """A ledger that books nothing: what a rerun for an audit computes stays with who runs it."""

    def reserve(self, plan: bytes, events: Sequence[Event], shares: int) -> int:  # noqa: ARG002  # the seam's
        """Any plan fits."""
        return 0

    def held(self, plan: bytes) -> HeldPlan | None:  # noqa: ARG002  # the seam's
        """It knows no plan."""
        return None

    def spend(self, reservation: int, phase: str) -> None:
        """Nothing leaves, so nothing is spent."""

    def close(self, reservation: int) -> None:
        """Nothing was set aside."""

    @property
    def size(self) -> int:
        """It has no entry."""
        return 0

    @property
    def head(self) -> str:
        """So it has no head."""
        return bytes(32).hex()


class OpenOwner(Owner):
    """The real owner, with its last vector readable: what a colluding owner knows of itself."""

    def vector(self, plan: Plan, phase: str) -> NDArray[np.int64]:
        """The noised vector of the last attempt, decoded from the ring."""
        return plan.grid(phase).ring.from_ring(self._last)

    def expected_value(self, plan: Plan, query: NDArray[np.float64]) -> NDArray[np.float64]:
        """What this owner's own code makes of its tiles before rounding and noise, (K, D).

        The expectation over sampling. Taken from the owner and not computed anew, so that a fault
        in the owner's code shows in canaries alone instead of hiding them in a wrong difference.
        """
        whole = self._values.value(
            replace(plan, sampling_rate=1.0), ("train", 0), query, self._random
        )
        return plan.sampling_rate * whole.reshape(plan.classes, plan.features)

    def masked_vector(self, plan: Plan, phase: str) -> NDArray[np.int64]:
        """The masked vector that left in the last attempt, read as if it were no masked one."""
        return plan.grid(phase).ring.from_ring(self._left)

    def _mask(self, message: Message) -> Message:
        reply = super()._mask(message)
        self._left = MaskedInput.from_message(reply).vector
        return reply

    def _train(self, message: Message) -> Message:
        reply = super()._train(message)
        assert self._attempt is not None
        self._last = self._attempt.vector
        return reply


class ExchangeWithDropouts(InProcessExchange):
    """Some owners answer nothing from the masked vector on; the rest have to do without them.

    Args:
        owners: name → owner.
        silent: those that drop out of every round.
    """

    def __init__(self, owners: Mapping[str, Owner], silent: frozenset[str]) -> None:
        super().__init__(owners)
        self._silent = silent

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        """Deliver to all owners but the silent ones."""
        if phase in {"mask", "plain"}:
            messages = {name: m for name, m in messages.items() if name not in self._silent}
        return super().exchange(phase, messages, timeout)


@dataclass(frozen=True, slots=True)
class View:
    """Who is who for the calibrated adversary.

    Attributes:
        target: the owner that holds the canaries.
        colluding: owners whose vectors the adversary takes off every sum.
        dropped: owners that drop out of every round.
        shares: noise shares that are left.
    """

    target: str
    colluding: tuple[str, ...]
    dropped: tuple[str, ...]
    shares: int

    @classmethod
    def calibrated(cls, plan: Plan) -> View:
        """The view of the row that ε is calibrated to: the fewest shares it allows."""
        policy = plan.policy
        present = plan.owners[: policy.threshold]
        dropped = plan.owners[policy.threshold :]
        if plan.noise == "distributed":
            return cls(
                target=present[0],
                colluding=present[len(present) - plan.colluders :],
                dropped=dropped,
                shares=policy.honest_shares,
            )
        return cls(present[0], present[1:], dropped, 0 if plan.noise == "none" else 1)


@dataclass(frozen=True, slots=True, eq=False)
class ObservedFederation:
    """Owners in this process as a run makes them, and what the adversary knows of them.

    Attributes:
        plan: the agreed plan.
        view: who is who.
        owners: name → owner.
        known: the honest owners that are present, with the known tiles only; they take no part.
        registry: their identities, made for this rerun.
        exchange: the transport.
    """

    plan: Plan
    view: View
    owners: Mapping[str, OpenOwner]
    known: tuple[OpenOwner, ...]
    registry: Registry
    exchange: InProcessExchange

    @classmethod
    def of(
        cls, plan: Plan, held: Mapping[str, TileExamples], canaries: Canaries | None = None
    ) -> ObservedFederation:
        """Owners holding these tiles, with fresh keys and noise; canaries join the target's."""
        view = View.calibrated(plan)
        identities = {name: IdentityKey.generate(SecureRandom()) for name in held}
        registry = Registry({name: key.public for name, key in identities.items()})

        def owner(name: str, tiles: TileExamples) -> OpenOwner:
            return OpenOwner(
                name, tiles, identities[name], registry, SecureRandom(), ledger=Rehearsal()
            )

        known = {name: owner(name, tiles) for name, tiles in held.items()}
        owners = dict(known)
        if canaries is not None:
            owners[view.target] = owner(view.target, canaries.joined(held[view.target]))
        honest = [known[n] for n in held if n not in {*view.colluding, *view.dropped}]
        exchange = ExchangeWithDropouts(owners, frozenset(view.dropped))
        return cls(plan, view, owners, tuple(honest), registry, exchange)

    def released(self, total: NDArray[np.int64], query: NDArray[np.float64]) -> NDArray[np.float64]:
        """A training round's sum less all that the adversary knows, in units of the gradient.

        Args:
            total: the decoded sum.
            query: what it was computed on (`LocalModel.query`).

        Returns:
            (K, D): the canaries' part, rounding and the honest owners' noise.
        """
        rest = total.copy()
        for name in self.view.colluding:
            rest -= self.owners[name].vector(self.plan, "train")
        unknown = rest.reshape(self.plan.classes, self.plan.features) / self.plan.scale
        for owner in self.known:
            unknown -= owner.expected_value(self.plan, query)
        return unknown
