"""An owner refuses a log that forks, rolls back, or says of its vector what it did not send."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from feddiff_crypto.jcs import jcs
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.checkpoint import parse_checkpoint
from feddiff_crypto.tlog.log import Log
from feddiff_crypto.tlog.note import parse_note
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.transport.exchange import Message
from tests.support.memoised import memoise_accounting
from tests.support.transcripts import Parties, begin, parties, rounds_of, small_config

VICTIM = "owner-002"
CONFIG = small_config(owners=4, dropouts=1, colluders=1, nominal_tiles=120)
Lie = Callable[[Parties, Transcription, Message], Message]


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


def shown(message: Message, **changes: Any) -> Message:
    return {**message, **changes}


def rewritten(people: Parties, transcript: Transcription, change: Callable[[Any], None]) -> Log:
    """The log with its newest leaf changed."""
    leaves = [json.loads(leaf) for leaf in transcript._store.log.leaves]
    change(leaves)
    log = Log()
    for leaf in leaves:
        log.append(leaf)
    return log


def message_of(people: Parties, log: Log, proof: bytes, origin: str) -> dict[str, Any]:
    last = log.size - 1
    return {
        "checkpoint": log.checkpoint(origin).sign(people.coordinator).to_bytes(),
        "proof": proof,
        "leaf": log.leaves[last],
        "path": b"".join(log.inclusion_proof(last)),
    }


def _origin(message: Message) -> str:
    note = message["checkpoint"]
    assert isinstance(note, bytes)
    return parse_checkpoint(parse_note(note).text).origin


def fork(people: Parties, transcript: Transcription, message: Message) -> Message:
    """Another history, whose own proofs and signature are all in order."""

    def change(leaves: Any) -> None:
        leaves[1]["support"] = "neighbourhood"

    log = rewritten(people, transcript, change)
    proof = b"".join(log.consistency_proof(log.size - 1))
    return message_of(people, log, proof, _origin(message))


def rollback(people: Parties, transcript: Transcription, message: Message) -> Message:
    """The log as it was before this owner's last cosignature."""
    short = Log()
    for leaf in transcript._store.log.leaves[:1]:
        short.append(json.loads(leaf))
    return message_of(people, short, b"", _origin(message))


def another_vector(people: Parties, transcript: Transcription, message: Message) -> Message:
    """The leaf names another vector than this owner sent; the log itself is consistent."""

    def change(leaves: Any) -> None:
        leaves[-1]["inputs"][VICTIM] = "0" * 64

    log = rewritten(people, transcript, change)
    proof = b"".join(log.consistency_proof(log.size - 1))
    return message_of(people, log, proof, _origin(message))


def another_leaf(people: Parties, transcript: Transcription, message: Message) -> Message:
    """The checkpoint is right; the leaf beside it is not the newest."""
    return shown(message, leaf=transcript._store.log.leaves[0])


def another_key(people: Parties, transcript: Transcription, message: Message) -> Message:
    log = transcript._store.log
    note = log.checkpoint(_origin(message)).sign(IdentityKey.generate(SecureRandom()))
    return shown(message, checkpoint=note.to_bytes())


def another_log(people: Parties, transcript: Transcription, message: Message) -> Message:
    origin = "feddiff-secure.invalid/run/elsewhere"
    return message_of(people, transcript._store.log, message["proof"], origin)  # type: ignore[arg-type]


def no_checkpoint(people: Parties, transcript: Transcription, message: Message) -> Message:
    return shown(message, checkpoint=b"\xff")


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (fork, "ForkError"),
        (rollback, "RollbackError"),
        (another_vector, "ContextMismatchError"),
        (another_leaf, "LogProofError"),
        (another_key, "LogSignatureError"),
        (another_log, "UnknownOriginError"),
        (no_checkpoint, "DecodeError"),
    ],
)
def test_an_owner_refuses_a_hostile_coordinator_and_takes_no_further_part(
    lie: Lie, code: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    held: dict[str, Transcription] = {}

    def tamper(phase: str, party: str, message: Message) -> Message:
        late = phase == "witness" and held["log"]._store.log.size >= 4
        return lie(people, held["log"], message) if late and party == VICTIM else message

    with ExitStack() as stack:
        people = parties(run, stack, CONFIG, tamper=tamper)
        held["log"] = begin(run, people)
        with pytest.raises(ProtocolAbortedError, match=f"{VICTIM} refused .* {code}") as caught:
            rounds_of(people, held["log"])
        assert caught.value.exit_code == 4
        # No vector of its leaves afterwards, whatever it is asked.
        before = people.owners[VICTIM].charged["train"]
        people.exchange.tamper = None
        replies = _another_round(people)
        assert people.owners[VICTIM].charged["train"] == before
        assert replies[VICTIM] == {"refused": "budget_refused"}


def _another_round(people: Parties) -> Mapping[str, Message]:
    """The phases of round 2 up to the masked vectors, as an indifferent coordinator asks."""
    from feddiff_crypto.masking.coordinator import CoordinatorStart  # noqa: PLC0415
    from feddiff_crypto.masking.messages import Advertise, SealedShares  # noqa: PLC0415
    from feddiff_secure.federation.context import round_context  # noqa: PLC0415
    from feddiff_secure.federation.local_model import LocalModel  # noqa: PLC0415
    from feddiff_secure.federation.phases import ask, to_messages  # noqa: PLC0415

    plan, exchange, weights = people.plan, people.exchange, LocalModel(people.plan).query
    asked: Message = {"phase": "train", "round": 2, "attempt": 0, "weights": weights}
    exchange.exchange("train", dict.fromkeys(plan.owners, asked), 1.0)
    start = CoordinatorStart(
        registry=people.registry,
        policy=plan.policy,
        context=round_context(plan, "train", (2, 0), weights),
        dimension=plan.grid("train").dimension,
    )
    nothing: dict[str, Message] = {name: {} for name in plan.owners}
    delivering, rosters = start.roster(ask(exchange, "advertise", nothing, Advertise.from_message))
    sealed = ask(exchange, "share", to_messages(rosters), SealedShares.from_message)
    _, delivered = delivering.deliver(sealed)
    return exchange.exchange("mask", to_messages(delivered), 1.0)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("log_key", None, "RosterError"),
        ("owners", None, "RosterError"),
        ("origin", "feddiff-secure.invalid/run/elsewhere", "ContextMismatchError"),
        ("plan", None, "DecodeError"),
        ("signatures", {"owner-001": "0" * 128}, "DecodeError"),
        ("coordinator", "someone", "DecodeError"),
    ],
)
def test_an_owner_signs_no_first_leaf_of_other_parties_or_another_plan(
    field: str, value: Any, code: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    stranger = IdentityKey.generate(SecureRandom()).public.raw.hex()

    def tamper(phase: str, party: str, message: Message) -> Message:
        if phase != "roster" or party != VICTIM:
            return message
        leaf = json.loads(message["leaf"])  # type: ignore[arg-type]
        if field == "log_key":
            leaf[field] = stranger
        elif field == "owners":
            leaf[field]["owner-001"] = stranger
        elif field == "plan":
            leaf[field]["delta"] = 1e-7  # its digest no longer goes with it
        else:
            leaf[field] = value
        return {"leaf": jcs(leaf)}

    with ExitStack() as stack:
        people = parties(run, stack, CONFIG, tamper=tamper)
        with pytest.raises(ProtocolAbortedError, match=f"{VICTIM} refused .* {code}"):
            rounds_of(people, begin(run, people))
    assert people.owners[VICTIM].charged.total() == 0


def test_an_owner_without_a_witness_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with ExitStack() as stack:
        people = parties(run, stack, CONFIG)
        people.owners[VICTIM]._log_view._witness = None
        with pytest.raises(ProtocolAbortedError, match="no_witness"):
            rounds_of(people, begin(run, people))
