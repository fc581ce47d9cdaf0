"""Witnesses: what they cosign, what they refuse, and that they do not forget."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.canonical_json import canonical_json
from feddiff_crypto.errors import DecodeError, FileRefusedError, LimitError
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom, VectorRandom
from feddiff_crypto.tlog import witness as witness_module
from feddiff_crypto.tlog.checkpoint import Checkpoint
from feddiff_crypto.tlog.cosignature import verify_cosignature
from feddiff_crypto.tlog.errors import (
    CheckpointRefusedError,
    ForkError,
    LogSignatureError,
    RollbackError,
    UnknownOriginError,
)
from feddiff_crypto.tlog.log import Log
from feddiff_crypto.tlog.merkle import EMPTY_ROOT
from feddiff_crypto.tlog.note import Note
from feddiff_crypto.tlog.witness import (
    Witness,
    WitnessState,
    WitnessStore,
    parse_witness_state,
)
from feddiff_crypto.tlog.witness_file import WitnessFile

RANDOM = SecureRandom()
LOG_KEY, ANN, EVE = (IdentityKey.generate(RANDOM) for _ in range(3))
ORIGIN, OTHER = "log.example/run", "log.example/other"
NOW = 1_750_000_000


class MemoryStore:
    """A store that can be made to fail before or after it keeps the new bytes."""

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self.fail = ""

    def read(self) -> bytes | None:
        return self.data

    def update(self, change: Callable[[bytes | None], bytes]) -> None:
        new = change(self.data)
        if self.fail == "before":
            raise FileRefusedError("disk full")
        self.data = new
        if self.fail == "after":
            raise FileRefusedError("power lost")


def ann(store: WitnessStore) -> Witness:
    return Witness("ann", ANN, {ORIGIN: LOG_KEY.public, OTHER: LOG_KEY.public}, store)


def grown(count: int, prefix: str = "leaf") -> Log:
    log = Log()
    for i in range(count):
        log.append({prefix: i})
    return log


LOG = grown(20)


def signed(log: Log, size: int, origin: str = ORIGIN, key: IdentityKey = LOG_KEY) -> Note:
    return log.checkpoint(origin, size).sign(key)


def test_a_witness_follows_a_growing_log() -> None:
    witness, old = ann(MemoryStore()), 0
    for size in (0, 1, 1, 3, 8, 8, 20):
        assert witness.last(ORIGIN).size == old
        note = signed(LOG, size)
        line = witness.cosign(note, LOG.consistency_proof(old, size), NOW + size)
        checkpoint = LOG.checkpoint(ORIGIN, size)
        assert verify_cosignature(checkpoint, line, ANN.public) == NOW + size
        assert line.name == "ann"
        assert witness.last(ORIGIN) == checkpoint
        old = size


def test_a_log_never_seen_is_taken_as_it_is() -> None:
    witness = ann(MemoryStore())
    assert witness.last(ORIGIN) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    witness.cosign(signed(LOG, 13), [], NOW)
    assert witness.last(ORIGIN).size == 13


def at(size: int) -> tuple[Witness, MemoryStore]:
    store = MemoryStore()
    witness = ann(store)
    witness.cosign(signed(LOG, size), [], NOW)
    return witness, store


def refuse(error: type[Exception], witness: Witness, store: MemoryStore, *call: object) -> None:
    """The call is refused and nothing is remembered of it."""
    before = store.data
    with pytest.raises(error):
        witness.cosign(*call, NOW)  # type: ignore[arg-type]  # the arguments of a hostile caller
    assert store.data == before


def test_a_rollback_is_refused() -> None:
    witness, store = at(8)
    for size in (0, 1, 4, 7):
        refuse(RollbackError, witness, store, signed(LOG, size), LOG.consistency_proof(size, 8))
        refuse(RollbackError, witness, store, signed(LOG, size), [])


def test_another_tree_of_the_same_size_is_refused() -> None:
    witness, store = at(8)
    refuse(ForkError, witness, store, signed(grown(8, "fork"), 8), [])
    refuse(ForkError, witness, store, signed(LOG, 8), LOG.consistency_proof(4, 8))


def forked_log() -> Log:
    """Twelve leaves of which the sixth is another one."""
    fork = Log()
    for i in range(12):
        fork.append({"leaf": i if i != 5 else 500})
    return fork


def test_a_fork_is_refused_whatever_proof_comes_with_it() -> None:
    witness, store = at(8)
    fork = forked_log()
    for proof in (fork.consistency_proof(8), LOG.consistency_proof(8, 12), [], [EMPTY_ROOT] * 64):
        refuse(ForkError, witness, store, signed(fork, 12), proof)


def test_growth_without_the_right_proof_is_refused() -> None:
    witness, store = at(8)
    note, right = signed(LOG, 12), LOG.consistency_proof(8, 12)
    for proof in ((), right[:-1], (*right, right[0]), right[::-1], (right[0][:-1], *right[1:])):
        if proof != right:
            refuse(ForkError, witness, store, note, proof)
    refuse(ForkError, witness, store, note, LOG.consistency_proof(7, 12))
    witness.cosign(note, right, NOW)


def test_other_origins_and_keys_are_refused() -> None:
    witness, store = at(8)
    right = LOG.consistency_proof(8, 12)
    refuse(UnknownOriginError, witness, store, signed(LOG, 12, origin="log.example"), right)
    refuse(LogSignatureError, witness, store, signed(LOG, 12, key=EVE), right)
    forged = Note(signed(LOG, 12).text, signed(LOG, 8).signatures)
    refuse(LogSignatureError, witness, store, forged, right)
    moved = Note(signed(LOG, 12).text, signed(LOG, 12, origin=OTHER).signatures)
    refuse(LogSignatureError, witness, store, moved, right)
    refuse(DecodeError, witness, store, Note("no checkpoint\n", forged.signatures), right)
    with pytest.raises(UnknownOriginError, match=r"ann.*nowhere"):
        witness.last("nowhere")


def test_each_log_has_its_own_history() -> None:
    witness, _ = at(8)
    other = grown(3, "other")
    witness.cosign(signed(other, 3, OTHER), [], NOW)
    assert (witness.last(ORIGIN).size, witness.last(OTHER).size) == (8, 3)
    with pytest.raises(ForkError):  # one log's history under the other's name
        witness.cosign(signed(LOG, 8, OTHER), LOG.consistency_proof(3, 8), NOW)


@pytest.mark.parametrize("time", [-1, 2**63])
def test_an_impossible_time_is_refused_before_anything_is_remembered(time: int) -> None:
    witness, store = at(8)
    before = store.data
    with pytest.raises(ValueError, match="time"):
        witness.cosign(signed(LOG, 12), LOG.consistency_proof(8, 12), time)
    assert store.data == before


def test_nothing_is_cosigned_that_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store fails, and no signature has been made; afterwards the state still rules."""
    made: list[str] = []
    real = witness_module.cosign
    monkeypatch.setattr(witness_module, "cosign", lambda *rest: made.append("line") or real(*rest))
    witness, store = at(8)
    made.clear()
    for fail, remembered in (("before", 8), ("after", 12)):
        store.fail = fail
        with pytest.raises(FileRefusedError):
            witness.cosign(signed(LOG, 12), LOG.consistency_proof(8, 12), NOW)
        assert not made
        assert witness.last(ORIGIN).size == remembered
    store.fail = ""
    refuse(ForkError, witness, store, signed(forked_log(), 12), forked_log().consistency_proof(8))
    witness.cosign(signed(LOG, 12), [], NOW)  # the lost cosignature is made again
    assert made


def test_the_state_outlives_the_witness() -> None:
    _, store = at(8)
    again = ann(MemoryStore(store.data))
    assert again.last(ORIGIN) == LOG.checkpoint(ORIGIN, 8)
    with pytest.raises(RollbackError):
        again.cosign(signed(LOG, 4), [], NOW)


def test_a_damaged_or_foreign_state_stops_the_witness() -> None:
    _, store = at(8)
    assert store.data is not None
    for data in (b"", store.data[:-1], store.data.replace(b'"ann"', b'"bob"')):
        broken = MemoryStore(data)
        for call in (
            lambda witness: witness.last(ORIGIN),
            lambda witness: witness.cosign(signed(LOG, 12), [], NOW),
        ):
            with pytest.raises(DecodeError, match="witness"):
                call(ann(broken))
        assert broken.data == data


def test_a_full_state_takes_no_new_log(monkeypatch: pytest.MonkeyPatch) -> None:
    witness, store = at(8)
    monkeypatch.setattr(witness_module, "MAX_LOGS", 1)
    refuse(LimitError, witness, store, signed(LOG, 3, OTHER), [])
    witness.cosign(signed(LOG, 12), LOG.consistency_proof(8, 12), NOW)


def test_a_name_that_no_line_could_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="key name"):
        Witness("ann and bob", ANN, {}, MemoryStore())


STATE = WitnessState(
    "ann", {o: LOG.checkpoint(o, n) for o, n in ((ORIGIN, 8), (OTHER, 3), ("empty", 0))}
)
ROWS = [
    {"origin": c.origin, "root": c.root.hex(), "size": c.size}
    for _, c in sorted(STATE.last.items())
]


def state(**changes: object) -> bytes:
    content = {"format": "feddiff-secure witness", "version": 1, "witness": "ann", "logs": ROWS}
    return canonical_json({**content, **changes})


def test_a_state_comes_back_from_its_file() -> None:
    assert STATE.to_bytes() == state()
    assert parse_witness_state(state()) == STATE


BAD = {
    "another order": (state(logs=ROWS[::-1]), "canonical"),
    "an origin twice": (state(logs=[ROWS[0], ROWS[0]]), "canonical"),
    "no list": (state(logs={}), "expected list"),
    "a field too many": (state(logs=[{**ROWS[0], "time": 1}]), "entry"),
    "a field too few": (state(logs=[{"origin": "a", "size": 1}]), "entry"),
    "no object": (state(logs=["a"]), "entry"),
    "size true": (state(logs=[{**ROWS[1], "size": True}]), "integer"),
    "size in text": (state(logs=[{**ROWS[1], "size": "3"}]), "integer"),
    "size below zero": (state(logs=[{**ROWS[1], "size": -1}]), "size"),
    "size 2^63": (state(logs=[{**ROWS[1], "size": 2**63}]), "size"),
    "upper-case root": (state(logs=[{**ROWS[1], "root": ROWS[1]["root"].upper()}]), "hex"),
    "a root of no leaves": (state(logs=[{**ROWS[1], "size": 0}]), "no leaves"),
    "no origin": (state(logs=[{**ROWS[1], "origin": "a b"}]), "origin"),
    "no name": (state(witness="a b"), "key name"),
    "a number as name": (state(witness=1), "key name"),
    "another version": (state(version=2), "version"),
    "another file": (state(format="feddiff-secure registry"), "format"),
    "a further field": (state(extra=1), "extra"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_not_a_state_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        parse_witness_state(data)


def test_a_state_of_too_many_logs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_module, "MAX_LOGS", 2)
    with pytest.raises(LimitError, match="3 > limit 2"):
        parse_witness_state(state())


steps = st.lists(
    st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12
)
FORK = Log()
for i in range(20):
    FORK.append({"leaf": i if i < 10 else -i})


@given(steps)
@settings(max_examples=100)
def test_whatever_a_log_tries_its_cosigned_checkpoints_are_one_history(
    tries: list[tuple[bool, int, int]],
) -> None:
    """Two trees that part after ten leaves; any size, any proof."""
    witness = ann(MemoryStore())
    cosigned: list[tuple[Log, int]] = []
    for forked, old, size in tries:
        log = FORK if forked else LOG
        proof = log.consistency_proof(min(old, size), size)
        try:
            witness.cosign(signed(log, size), proof, NOW)
        except CheckpointRefusedError:
            continue
        cosigned.append((log, size))
    for (_, before), (log, size) in itertools.pairwise(cosigned):
        assert before <= size
        assert log.root(before) == log.checkpoint(ORIGIN, before).root
    beyond = {id(log) for log, size in cosigned if size > 10}
    assert len(beyond) <= 1


def test_a_state_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    store = WitnessFile(tmp_path / "witness.json")
    assert store.read() is None
    witness = ann(store)
    witness.cosign(signed(LOG, 8), [], NOW)
    witness.cosign(signed(LOG, 12), LOG.consistency_proof(8, 12), NOW)
    assert ann(store).last(ORIGIN) == LOG.checkpoint(ORIGIN, 12)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"witness.json", "witness.json.lock"}


def test_a_state_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    store = WitnessFile(tmp_path / "witness.json")
    ann(store).cosign(signed(LOG, 8), [], NOW)
    store.path.chmod(0o620)
    for call in (store.read, lambda: ann(store).cosign(signed(LOG, 8), [], NOW)):
        with pytest.raises(FileRefusedError, match="0620"):
            call()


def test_links_in_place_of_the_state_or_its_lock_are_refused(tmp_path: Path) -> None:
    store = WitnessFile(tmp_path / "witness.json")
    store.path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileRefusedError, match=r"witness\.json"):  # not taken for a new witness
        ann(store).cosign(signed(LOG, 8), [], NOW)
    store.path.unlink()
    lock = tmp_path / "witness.json.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileRefusedError, match="lock"):
        ann(store).cosign(signed(LOG, 8), [], NOW)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    store = WitnessFile(tmp_path / "missing" / "witness.json")
    with pytest.raises(FileRefusedError, match="missing"):
        ann(store).cosign(signed(LOG, 8), [], NOW)


def race(path: Path, forked: bool, barrier: object, results: object) -> None:
    """One of two processes that ask the same witness to cosign different histories."""
    log = FORK if forked else LOG
    barrier.wait()  # type: ignore[attr-defined]  # multiprocessing's proxies have no public type
    try:
        ann_again(WitnessFile(path)).cosign(
            log.checkpoint(ORIGIN, 20).sign(RACE_LOG), log.consistency_proof(10), NOW
        )
    except ForkError:
        results.put("refused")  # type: ignore[attr-defined]  # as above
    else:
        results.put("cosigned")  # type: ignore[attr-defined]  # as above


RACE_LOG = IdentityKey.generate(VectorRandom(b"race"))


def ann_again(store: WitnessStore) -> Witness:
    return Witness("ann", ANN, {ORIGIN: RACE_LOG.public}, store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
def test_two_processes_cannot_cosign_two_histories(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        path = tmp_path / f"{attempt}.json"
        ann_again(WitnessFile(path)).cosign(LOG.checkpoint(ORIGIN, 10).sign(RACE_LOG), [], NOW)
        barrier, results = context.Barrier(2), context.Queue()
        children = [
            context.Process(target=race, args=(path, forked, barrier, results))
            for forked in (True, False)
        ]
        for child in children:
            child.start()
        outcome = sorted(results.get(timeout=30) for _ in children)
        for child in children:
            child.join()
        assert outcome == ["cosigned", "refused"]
