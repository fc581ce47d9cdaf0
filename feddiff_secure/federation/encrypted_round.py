"""One encrypted round: the coordinator adds ciphertexts and ends with a digest of the sum.

The whole story of a round is `encrypted_sum`. It differs from `round.secure_sum` in what the
coordinator sees: it is not shown the model, it has no key, and the sum is decrypted, freed of its
masks and applied to the model by each owner for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from feddiff_crypto.errors import ThresholdError
from feddiff_crypto.he.coordinator import (
    EncryptedOpened,
    EncryptedRound,
    EncryptedSum,
    deliver_custodian,
    deliver_keyed,
)
from feddiff_crypto.he.custodian_messages import CustodianKey, SealedSums
from feddiff_crypto.he.messages import EncryptedInput, SumSignature
from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.he.round_messages import EncryptedConsistency, KeyedShares
from feddiff_crypto.keys import Registry
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.messages import Advertise, UnmaskReply
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.context import attempt_context
from feddiff_secure.federation.gathering import present
from feddiff_secure.federation.phases import TRAIN_TIMEOUT, aborted, ask, ask_one, to_messages
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.transcription import Transcription, recorded
from feddiff_secure.transcript.record import AttemptRecord
from feddiff_secure.transport.exchange import Exchange, Message


@dataclass(frozen=True, slots=True)
class EncryptedAttempt:
    """Which release is asked for. The model is not named: the owners hold it.

    Attributes:
        phase: `count`, `mean` or `train`.
        round_index: from 0 within the phase.
        attempt: from 0.
    """

    phase: str
    round_index: int
    attempt: int


def encrypted_sum(
    exchange: Exchange,
    registry: Registry,
    plan: Plan,
    attempt: EncryptedAttempt,
    transcript: Transcription | None = None,
) -> EncryptedSum:
    """Run one attempt. Afterwards each owner that took part to the end has the sum.

    Args:
        exchange: the transport, to the custodian too where the plan names one.
        registry: pinned identities of the owners.
        plan: the agreed plan, of aggregation `encrypted`.
        attempt: which release.
        transcript: the run's log; None where none is kept.

    Returns:
        The digest of the sum, which at least τ owners signed, with all that a verifier needs.

    Raises:
        ProtocolAbortedError: a party refused, or fewer than τ answered a phase.
    """
    there = present(exchange, plan.policy.threshold)
    index = (attempt.phase, attempt.round_index, attempt.attempt)
    with recorded(transcript, index, None) as record, aborted(*index):
        return _play(exchange, registry, plan, attempt, there, record=record)


def _play(
    exchange: Exchange,
    registry: Registry,
    plan: Plan,
    attempt: EncryptedAttempt,
    there: tuple[str, ...],
    *,
    record: AttemptRecord | None,
) -> EncryptedSum:
    dimension = plan.grid(attempt.phase).dimension
    known = EncryptedRound(registry, plan.policy, EncryptedPlan(len(plan.owners), dimension))
    # 0. train: owners compute their vectors on the model they hold, and name it by its hash.
    ready, model = _in_step(exchange, attempt, there)
    if record is not None:
        record.on_model(model)
    if plan.custodian is not None:
        opening = {**_attempt_fields(attempt), "model": model}
        ask_one(exchange, "custodian_attempt", plan.custodian, opening, _custodian_ready)
    start = CoordinatorStart(
        registry=registry,
        policy=plan.policy,
        context=attempt_context(plan, attempt.phase, attempt.round_index, attempt.attempt, model),
        dimension=dimension,
        agreement=plan.agreement,
    )
    return encrypted_total(exchange, known, start, ready, plan.custodian, record=record)


def encrypted_total(
    exchange: Exchange,
    known: EncryptedRound,
    start: CoordinatorStart,
    ready: Iterable[str],
    custodian: str | None,
    *,
    record: AttemptRecord | None = None,
) -> EncryptedSum:
    """The protocol itself, whatever is summed: from adverts to a sum that the owners hold.

    Args:
        exchange: the transport.
        known: what all parties of the round know.
        start: the coordinator's first state.
        ready: the parties that hold a vector for this attempt.
        custodian: who decrypts; None where the owners do.
        record: takes down what a verifier needs; None where no log is kept.

    Raises:
        ProtocolAbortedError: a party refused.
        CryptoError: fewer than τ answered, or a message broke the protocol.
    """
    # 1. advertise: fresh keys, signed by pinned identities → the roster of this attempt.
    adverts = ask(exchange, "advertise", {key: {} for key in ready}, Advertise.from_message)
    sharing, rosters = start.roster(adverts)
    # 2. share: as in masked mode; the CKKS key is sealed beside the shares, or a custodian's.
    shares = ask(exchange, "share", to_messages(rosters), KeyedShares.from_message)
    if custodian is None:
        gathering, keyed = deliver_keyed(sharing, known, shares)
        delivered = to_messages(keyed)
    else:
        # All members are shown the same roster; the custodian answers with its key for it.
        roster = next(iter(rosters.values())).to_message()
        key = ask_one(exchange, "custodian_key", custodian, roster, CustodianKey.from_message)
        gathering, keyless = deliver_custodian(sharing, known, shares, key)
        delivered = to_messages(keyless)
    # 3. mask: masked vectors, encrypted. Owners are charged here. Ciphertexts are added.
    inputs = ask(exchange, "mask", delivered, EncryptedInput.from_message)
    if record is not None:
        record.on_inputs(inputs)
    agreement, aggregates = gathering.collect(inputs)
    # 4. consistency: owners sign the survivor set and the one aggregate they will decrypt.
    signed = ask(
        exchange, "consistency", to_messages(aggregates), EncryptedConsistency.from_message
    )
    unmasking, requests = agreement.request(signed)
    # 5. unmask: one kind of share for each peer, once. The secrets of the masks open; the sum
    #    stays inside the ciphertexts.
    opened = unmasking.open(
        ask(exchange, "unmask", to_messages(requests), UnmaskReply.from_message)
    )
    # 6. decrypt: owners decrypt, take the masks off, sign the sum's digest, update the model.
    to_owners = _requests(exchange, custodian, opened)
    done = opened.finish(ask(exchange, "decrypt", to_owners, SumSignature.from_message))
    if record is not None:
        record.on_encrypted_sum(done)
    return done


def _in_step(
    exchange: Exchange, attempt: EncryptedAttempt, there: tuple[str, ...]
) -> tuple[tuple[str, ...], bytes]:
    """Who is ready with the model that most hold, and that model's hash."""
    replies = ask(
        exchange,
        "train",
        dict.fromkeys(there, _attempt_fields(attempt)),
        _model_hash,
        timeout=TRAIN_TIMEOUT,
    )
    hashes = {party: held for party, held in replies.items() if held is not None}
    if not hashes:
        raise ThresholdError("no owner is in step with this round")
    chosen, _ = Counter(hashes.values()).most_common(1)[0]
    ready = tuple(p for p in there if hashes.get(p) == chosen)
    return ready, chosen


def _model_hash(message: Message) -> bytes | None:
    model = message.get("model")
    if set(message) != {"ready", "model"} or not isinstance(model, bytes):
        raise ProtocolAbortedError("a reply is not a model hash", "ask that owner")
    if len(model) != HASH_BYTES:
        raise ProtocolAbortedError(f"a model hash of {len(model)} bytes", "ask that owner")
    return model if message["ready"] is True else None


def _requests(
    exchange: Exchange, custodian: str | None, opened: EncryptedOpened
) -> dict[str, Message]:
    """What owners need to decrypt; from a custodian, the sum sealed to each."""
    if custodian is None:
        return to_messages(opened.requests())
    custody = opened.custody().to_message()
    sums = ask_one(exchange, "custodian_sum", custodian, custody, SealedSums.from_message)
    return to_messages(opened.receive(custodian, sums))


def _attempt_fields(attempt: EncryptedAttempt) -> Message:
    return {
        "phase": attempt.phase,
        "round": attempt.round_index,
        "attempt": attempt.attempt,
    }


def _custodian_ready(message: Message) -> None:
    if message != {"ready": True}:
        raise ProtocolAbortedError("the custodian is not ready", "ask the custodian")
