"""One owner: holds labelled tiles, answers the phases of a run, lets nothing private out.

The rules of the machine:

* A plan is accepted once a process, and only after `check_plan`: the owner recomputes ε from the
  plan's own events and refuses noise that is sized for more honest shares than remain.
* An attempt names (phase, round, attempt). The owner answers each at most once, in order.
* A plan's budget is reserved in the owner's ledger when the plan is accepted; a plan that does not
  fit is refused. A plan that the ledger holds open goes on from what it spent (`account`).
* The vector that is masked is rounded, bounded and noised first; the attempt is charged, in the
  ledger and on disk, before the masked vector leaves, whatever happens afterwards.
* What leaves: adverts, sealed shares, one masked vector, one signature and one kind of share a
  peer. Refusals are fixed codes. Nothing else: no counts, no loss, no accuracy, no error text.
* In encrypted mode the owner holds the model: it is sent no weights, says only their hash, and
  takes in the sum it has decrypted itself. What leaves then is a ciphertext of the masked vector, a
  second signature, and the signed digest of the sum.
* Where it follows the run's log, it signs the first leaf, cosigns checkpoints that continue the
  last one and name its own vectors as it sent them, and at the end signs the head of its ledger.
  A checkpoint that it refuses ends its part in the run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.errors import CryptoError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.owner import Custodian, EncryptedStart
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.ledger import AttemptLedger
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.account import Account
from feddiff_secure.federation.context import model_hash, round_context
from feddiff_secure.federation.local_model import LocalModel
from feddiff_secure.federation.log_view import LogView, last_word
from feddiff_secure.federation.node import (
    RefusalError,
    accepted_plan,
    answered,
    query_of,
    take,
)
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prior_phase import AdaptableTiles
from feddiff_secure.federation.private_values import PrivateValues
from feddiff_secure.federation.protocol_walk import ProtocolWalk
from feddiff_secure.transcript.leaves import AttemptKey
from feddiff_secure.transcript.sent_file import SentStore
from feddiff_secure.transcript.witness import OwnerWitness
from feddiff_secure.transport.exchange import Message

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Attempt:
    """The owner's memory of the attempt under way; replaced by the next, never written to disk."""

    phase: str
    index: tuple[int, int]
    vector: RingArray
    context: RoundContext
    walk: ProtocolWalk | None = None


class Owner:
    """One organisation's node, as the coordinator's messages see it.

    Args:
        name: its name in the registry.
        examples: its labelled tiles.
        identity: its signing key.
        registry: the pinned identities of all owners.
        random: secure randomness for keys, noise and sampling.
        ledger: where its holding's budget is reserved and spent.
        custodians: the pinned identities of custodians, for plans that name one.
        witness: what it signs the run's log with; None where it follows none.
        gate: asked before a checked plan is reserved; raises `RefusalError` for one that its people
            do not want. None asks nobody.
        sent: where it remembers what it sent last, for a process after this one.
        adaptable: all its tiles, for plans that adapt a branch; None refuses such plans.
    """

    def __init__(
        self,
        name: str,
        examples: TileExamples,
        identity: IdentityKey,
        registry: Registry,
        random: SecureRandom,
        *,
        ledger: AttemptLedger,
        custodians: Registry | None = None,
        witness: OwnerWitness | None = None,
        gate: Callable[[Plan], None] | None = None,
        sent: SentStore | None = None,
        adaptable: AdaptableTiles | None = None,
    ) -> None:
        self.name = name
        self.saturated = 0.0
        """Fraction of coordinates of the last vector that hit the public bound. Private."""
        self._values = PrivateValues(examples, adaptable)
        self._identity = identity
        self._registry = registry
        self._random = random
        self._custodians = custodians
        self._gate = gate
        self._log_view = LogView(witness, sent)
        self._ledger = ledger
        self._account = Account(ledger)
        self._is_over = False
        self._plan: Plan | None = None
        self._local: LocalModel | None = None
        self._attempt: _Attempt | None = None
        self._done: set[tuple[str, int, int]] = set()
        self._steps: dict[str, Callable[[Message], Message]] = {
            "plan": self._accept_plan,
            "ready": self._present,
            "follow": self._follow,
            "train": self._train,
            "advertise": self._advertise,
            "share": self._share,
            "mask": self._mask,
            "consistency": self._sign,
            "unmask": self._unmask,
            "decrypt": self._decrypt,
            "plain": self._plain,
            "roster": self._sign_run,
            "witness": self._cosign,
            "end": self._last_word,
        }

    def handle(self, phase: str, message: Message) -> Message:
        """Answer one message of the run; refusals are fixed codes."""
        return answered(self._steps, phase, message, self._forget)

    def model(self) -> NDArray[np.float64]:
        """The weights (K, D) that an encrypted run left with this owner.

        Raises:
            RuntimeError: not an encrypted run, or its last round has not come.
        """
        if self._local is None:
            raise RuntimeError("owners hold the model in encrypted mode only")
        return self._local.model()

    @property
    def tiles(self) -> int | None:
        """The public number of tiles of an encrypted run, once it is known."""
        return None if self._local is None else self._local.tiles

    def _forget(self) -> None:
        self._attempt = None

    def _accept_plan(self, message: Message) -> Message:
        plan = self._offered(message)
        self._values.check(plan, self.name)
        if plan.custodian is not None and (
            self._custodians is None or plan.custodian not in self._custodians.identities
        ):
            raise RefusalError("custodian_refused")
        if self._gate is not None:
            self._gate(plan)
        goes_on = self._account.open(plan, plan.events())
        if plan.aggregation == "encrypted":
            self._local = LocalModel(plan)
        self._plan = plan
        accepted: Message = {"accepted": plan.digest()}
        if not goes_on:
            return accepted
        # What a coordinator that lost its memory has to know, and could count itself.
        spent = {phase: self.charged[phase] for phase in plan.phases}
        return {**accepted, "cosigned": self._log_view.cosigned(plan), **spent}

    def _follow(self, message: Message) -> Message:
        """Take up a plan whose releases are all made, to sign what is left of its log."""
        plan = self._offered(message)
        self._account.follow(plan)
        self._plan, self._is_over = plan, True
        return {"accepted": plan.digest(), "cosigned": self._log_view.cosigned(plan)}

    def _offered(self, message: Message) -> Plan:
        if self._plan is not None:
            raise RefusalError("plan_already_accepted")
        return accepted_plan(message, self._registry)

    def _present(self, message: Message) -> Message:  # noqa: ARG002  # every step takes one
        """Say that this owner is there; nothing is computed and nothing changes."""
        self._agreed()
        return {"ready": True}

    def _train(self, message: Message) -> Message:
        """Compute, round and noise this attempt's vector; it stays here until it is masked."""
        plan = self._agreed()
        if self._is_over:
            raise RefusalError("plan_closed")
        phase = take(message, "phase", str)
        index = (take(message, "round", int), take(message, "attempt", int))
        if (phase, *index) in self._done or not plan.allows(phase, *index):
            raise RefusalError("attempt_refused")
        if self.charged[phase] >= plan.most_attempts(phase):
            raise RefusalError("budget_refused")
        if self._local is not None and not self._local.in_step(phase, index[0]):
            return {"ready": False, "model": model_hash(self._local.query)}
        query = query_of(message, plan, phase) if self._local is None else self._local.query
        self._done.add((phase, *index))
        made = contribution(
            self._values.value(plan, (phase, index[0]), query, self._random),
            plan.grid(phase),
            coordinate_bound=plan.coordinate_bound(phase),
            share_std=plan.owner_noise(self.name, phase),
            mechanism=plan.mechanism,
            source=self._random,
            rounding=plan.rounding,
        )
        self._note_saturation(made.saturated, phase, index[0])
        self._attempt = _Attempt(
            phase, index, made.vector, round_context(plan, phase, index, query)
        )
        return (
            {"ready": True}
            if self._local is None
            else {
                "ready": True,
                "model": model_hash(query),
            }
        )

    def _note_saturation(self, fraction: float, phase: str, round_index: int) -> None:
        """Tell the owner, on its own machine, that its vector was cut by the public bound."""
        self.saturated = fraction
        if fraction > 0:
            _log.warning(
                "%s: %.2g of the coordinates of %s round %d hit the public bound and were cut "
                "(known to this owner only)",
                self.name,
                fraction,
                phase,
                round_index,
            )

    def _advertise(self, message: Message) -> Message:  # noqa: ARG002  # every step takes one
        plan, attempt = self._agreed(), self._begun()
        start = OwnerStart(
            party=self.name,
            identity=self._identity,
            registry=self._registry,
            policy=plan.policy,
            context=attempt.context,
            random=self._random,
            agreement=plan.agreement,
        )
        if plan.aggregation == "encrypted":
            dimension = plan.grid(attempt.phase).dimension
            encrypted = EncryptedStart(start, dimension=dimension, custodian=self._custodian(plan))
            custody = plan.custodian is not None
            attempt.walk = ProtocolWalk(encrypted, attempt.vector, custody=custody)
        else:
            attempt.walk = ProtocolWalk(start, attempt.vector)
        return attempt.walk.advertise()

    def _custodian(self, plan: Plan) -> Custodian | None:
        if plan.custodian is None or self._custodians is None:
            return None
        return Custodian(plan.custodian, self._custodians)

    def _share(self, message: Message) -> Message:
        return self._walking()[1].share(message)

    def _mask(self, message: Message) -> Message:
        attempt, walk = self._walking()
        reply = walk.mask(message)
        self._charge(attempt)
        return self._sending(attempt, reply)

    def _sign(self, message: Message) -> Message:
        return self._walking()[1].sign(message)

    def _unmask(self, message: Message) -> Message:
        reply = self._walking()[1].reveal(message)
        if self._local is None:
            self._attempt = None
        return reply

    def _decrypt(self, message: Message) -> Message:
        """Open the sum, take it into the model this owner holds, and sign its digest."""
        plan = self._agreed()
        attempt, walk = self._walking()
        total, signature = walk.decrypt(message)
        self._attempt = None
        assert self._local is not None  # an encrypted state comes of an encrypted plan
        try:
            self._local.apply(plan.grid(attempt.phase).ring.from_ring(total), attempt.phase)
        except UsageError as error:
            raise RefusalError("count_refused") from error
        return signature

    def _plain(self, message: Message) -> Message:  # noqa: ARG002  # every step takes one
        """Baseline without secure aggregation: the noised vector as it is."""
        attempt = self._begun()
        if self._agreed().aggregation != "plain" or self._agreed().noise == "distributed":
            raise RefusalError("plain_refused")
        self._attempt = None
        self._charge(attempt)
        return self._sending(attempt, {"vector": attempt.vector})

    def _sending(self, attempt: _Attempt, reply: Message) -> Message:
        self._log_view.note_sent(self._agreed(), AttemptKey(attempt.phase, *attempt.index), reply)
        return reply

    def _sign_run(self, message: Message) -> Message:
        """Sign the log's first leaf: it names the identities and the plan that this owner knows."""
        return self._log_view.sign_run(self._agreed(), message)

    def _cosign(self, message: Message) -> Message:
        """Cosign a checkpoint that continues the last one; any other ends this owner's part."""
        plan = self._agreed()
        try:
            return self._log_view.cosign(plan, message)
        except CryptoError:
            self.end()
            raise

    def _last_word(self, message: Message) -> Message:  # noqa: ARG002  # every step takes one
        """End the run, and sign the head of the ledger and, where it is held here, the model."""
        plan = self._agreed()
        self.end()
        model = None if self._local is None else self._local.digest()
        return last_word(plan, self.name, self._identity, self._ledger, model)

    def end(self) -> None:
        """End the run on the owner's own word: what the plan did not spend is released."""
        self._attempt = None
        self._account.end()

    @property
    def charged(self) -> Counter[str]:
        """Attempts of the plan charged so far, by phase."""
        return self._account.charged

    def _charge(self, attempt: _Attempt) -> None:
        """Book the attempt durably. What it made leaves after this returns, or not at all."""
        try:
            self._account.charge(attempt.phase)
        except RefusalError:
            self._attempt = None
            raise

    def _agreed(self) -> Plan:
        if self._plan is None:
            raise RefusalError("no_plan")
        return self._plan

    def _begun(self) -> _Attempt:
        """The attempt under way, if none of its messages has left yet."""
        if self._attempt is None or self._attempt.walk is not None:
            raise RefusalError("out_of_order")
        return self._attempt

    def _walking(self) -> tuple[_Attempt, ProtocolWalk]:
        """The attempt under way and its states."""
        attempt = self._attempt
        if attempt is None or attempt.walk is None:
            raise RefusalError("out_of_order")
        return attempt, attempt.walk
