"""The coordinator's side of a fused prediction: one secure sum a batch of pixels.

It sees adverts, sealed shares, masked vectors and, in masked mode, a sum that is uniform to it: the
recipient's pad is on it. In encrypted mode it sees ciphertexts and the digest of such a sum.
"""

from __future__ import annotations

from feddiff_crypto.he.coordinator import EncryptedRound
from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.keys import Registry
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.encrypted_round import encrypted_total
from feddiff_secure.federation.phases import PHASE_TIMEOUT, aborted, ask, ask_one
from feddiff_secure.federation.prediction_plan import PredictionPlan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.round import masked_total
from feddiff_secure.transport.exchange import REFUSED, Exchange, Message


def predict_together(
    exchange: Exchange, registry: Registry, plan: PredictionPlan, progress: Progress
) -> None:
    """Run the plan; afterwards the recipient holds the fused scores.

    Args:
        exchange: the transport to the owners and the recipient.
        registry: their pinned identities.
        plan: the plan.
        progress: receives one step a sum.

    Raises:
        ProtocolAbortedError: a party refused the plan, or a sum could not be completed.
    """
    _agree(exchange, plan)
    for number in range(plan.batches):
        with aborted("prediction", number, 0):
            _sum(exchange, registry, plan, number)
        progress.advance()


def _sum(exchange: Exchange, registry: Registry, plan: PredictionPlan, number: int) -> None:
    asked: dict[str, Message] = {party: {"number": number} for party in plan.parties}
    ready = ask(exchange, "scores", asked, _ready)
    start = CoordinatorStart(
        registry=registry,
        policy=plan.policy,
        context=plan.context(number),
        dimension=plan.dimension(number),
        agreement=plan.agreement,
    )
    if plan.aggregation == "encrypted":
        numbers = EncryptedPlan(len(plan.parties), plan.dimension(number))
        known = EncryptedRound(registry, plan.policy, numbers)
        encrypted_total(exchange, known, start, ready, None)
        return
    total = masked_total(exchange, start, ready)
    ask_one(exchange, "fused", plan.recipient, {"vector": total}, _received)


def _agree(exchange: Exchange, plan: PredictionPlan) -> None:
    message: Message = {"plan": plan.to_json()}
    replies = exchange.exchange("prediction", dict.fromkeys(plan.parties, message), PHASE_TIMEOUT)
    for party in plan.parties:
        reply = replies.get(party, {REFUSED: "no_answer"})
        if reply.get("accepted") != plan.digest():
            raise ProtocolAbortedError(
                f"{party} did not accept the prediction: {reply.get(REFUSED)!s}",
                "no score was released; docs/protocol.md lists the codes",
            )


def _ready(message: Message) -> None:
    if message != {"ready": True}:
        raise ProtocolAbortedError("a reply to scores is not ready", "ask that owner")


def _received(message: Message) -> None:
    if message != {"received": True}:
        raise ProtocolAbortedError("the recipient did not take the sum", "ask the recipient")
