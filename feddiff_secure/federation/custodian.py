"""The custodian's node: holds no data, decrypts one aggregate an attempt that owners signed.

It accepts one plan, as an owner does, and answers each attempt once. It never sees what takes the
masks off the sum it decrypts; what leaves it is that sum, sealed to each owner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feddiff_crypto.he.custodian import CustodianReady, CustodianStart
from feddiff_crypto.he.custodian_messages import CustodyRequest
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.messages import Roster
from feddiff_crypto.randomness import SecureRandom
from feddiff_secure.federation.context import attempt_context
from feddiff_secure.federation.node import RefusalError, accepted_plan, answered, take
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transport.exchange import Message


@dataclass(frozen=True, slots=True)
class CustodianIdentity:
    """Who a custodian is.

    Attributes:
        party: its name, no owner's.
        identity: its signing key.
        owners: the pinned identities of the owners.
    """

    party: str
    identity: IdentityKey
    owners: Registry


class CustodianNode:
    """A custodian, as the coordinator's messages see it.

    Args:
        who: its identity and the owners it knows.
        random: secure randomness for keys.
    """

    def __init__(self, who: CustodianIdentity, random: SecureRandom) -> None:
        self._who = who
        self._random = random
        self._plan: Plan | None = None
        self._state: CustodianStart | CustodianReady | None = None
        self._done: set[tuple[str, int, int]] = set()
        self.decrypted: list[bytes] = []
        """Digests of the aggregates decrypted in this process."""
        self._steps: dict[str, Callable[[Message], Message]] = {
            "plan": self._accept_plan,
            "custodian_attempt": self._attempt,
            "custodian_key": self._key,
            "custodian_sum": self._sum,
        }

    def handle(self, phase: str, message: Message) -> Message:
        """Answer one message of the run; refusals are fixed codes."""
        return answered(self._steps, phase, message, self._forget)

    def _forget(self) -> None:
        self._state = None

    def _accept_plan(self, message: Message) -> Message:
        if self._plan is not None:
            raise RefusalError("plan_already_accepted")
        plan = accepted_plan(message, self._who.owners)
        if plan.custodian != self._who.party:
            raise RefusalError("roster_refused")
        self._plan = plan
        return {"accepted": plan.digest()}

    def _attempt(self, message: Message) -> Message:
        plan = self._plan
        if plan is None:
            raise RefusalError("no_plan")
        phase = take(message, "phase", str)
        index = (take(message, "round", int), take(message, "attempt", int))
        model = take(message, "model", bytes)
        if (phase, *index) in self._done or not plan.allows(phase, *index):
            raise RefusalError("attempt_refused")
        if len(model) != HASH_BYTES:
            raise RefusalError("message_refused")
        self._done.add((phase, *index))
        self._state = CustodianStart(
            party=self._who.party,
            identity=self._who.identity,
            registry=self._who.owners,
            policy=plan.policy,
            context=attempt_context(plan, phase, *index, model),
            dimension=plan.grid(phase).dimension,
            random=self._random,
            agreement=plan.agreement,
        )
        return {"ready": True}

    def _key(self, message: Message) -> Message:
        if not isinstance(self._state, CustodianStart):
            raise RefusalError("out_of_order")
        self._state, key = self._state.key(Roster.from_message(message))
        return key.to_message()

    def _sum(self, message: Message) -> Message:
        state, self._state = self._state, None
        if not isinstance(state, CustodianReady):
            raise RefusalError("out_of_order")
        # The key lives in memory only and serves this one call, so a custodian that restarts
        # cannot decrypt again; the fact needs no disk of its own.
        _, sums = state.decrypt(CustodyRequest.from_message(message), self.decrypted.append)
        return sums.to_message()
