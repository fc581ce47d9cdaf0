"""The list of an owner's messages against the wire: what is listed passed, and nothing else did."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.audit.history import read_history
from feddiff_secure.audit.owner_messages import owner_messages
from feddiff_secure.audit.passed import Direction, Evidence, Passed
from feddiff_secure.audit.pruned import prune
from feddiff_secure.audit.roster import first_leaf, read_run
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transcript.digests import message_bytes
from feddiff_secure.transport.exchange import Message
from tests.support.memoised import memoise_accounting
from tests.support.transcripts import ScriptedExchange, finished_run, small_config

Wire = dict[str, list[tuple[str, str, bytes]]]
"""Owner → (direction, phase, message) in order."""


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


def recorded_run(
    monkeypatch: pytest.MonkeyPatch,
    directory: Path,
    lost: Iterable[tuple[str, str, int]] = (),
    **options: Any,
) -> tuple[Plan, Wire]:
    """A finished run, and every byte that passed between its parties."""
    wire: Wire = {}
    exchange = ScriptedExchange.exchange

    def heard(
        self: ScriptedExchange, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        asked = {party: message_bytes(message) for party, message in messages.items()}
        gone, self.lost = self.lost, set()
        replies = exchange(self, phase, messages, timeout)
        self.lost = gone
        for party, reply in list(replies.items()):
            if phase == "ready":  # whether an owner is there; not in a log, and not listed
                continue
            wire.setdefault(party, []).append(("received", phase, asked[party]))
            wire[party].append(("sent", phase, message_bytes(reply)))
            if (phase, party, self.counts[phase, party] - 1) in self.lost:
                del replies[party]
        return replies

    monkeypatch.setattr(ScriptedExchange, "exchange", heard)
    people = finished_run(directory, small_config(**options), lost=lost)
    return people.plan, wire


def listed(directory: Path, owner: str) -> list[Passed]:
    run = read_run(first_leaf(directory), None)
    return owner_messages(directory, run, read_history(directory, run), owner)


BARE: dict[str, Any] = {"epsilon": math.inf, "noise": "none", "rounds": 2}  # nothing to calibrate
MODES: list[tuple[dict[str, Any], str]] = [
    ({}, "masked, noised"),
    ({**BARE, "key_agreement": "hybrid"}, "masked, NOT noised"),
    ({**BARE, "aggregation": "encrypted"}, "masked and encrypted, NOT noised"),
    (
        {**BARE, "aggregation": "encrypted", "custodian": True, "key_agreement": "hybrid"},
        "masked and encrypted, NOT noised",
    ),
    (
        {**BARE, "aggregation": "encrypted", "key_agreement": "hybrid"},
        "masked and encrypted, NOT noised",
    ),
    ({**BARE, "aggregation": "plain"}, "NOT masked, NOT noised"),
    ({**BARE, "nominal_tiles": 90, "ring_bits": 64}, "masked, NOT noised"),
    ({**BARE, "centring": True}, "masked, NOT noised"),
    ({**BARE, "aggregation": "encrypted", "centring": True}, "masked and encrypted, NOT noised"),
]


@pytest.mark.parametrize(
    ("options", "protection"),
    MODES,
    ids=lambda o: "-".join(map(str, o.values())) or "masked" if isinstance(o, dict) else "",
)
def test_every_message_is_listed_in_its_order_with_its_size_and_its_hash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, Any], protection: str
) -> None:
    plan, wire = recorded_run(monkeypatch, tmp_path / "run", **options)
    for owner in plan.owners:
        found = listed(tmp_path / "run", owner)
        assert [(m.direction.value, m.phase) for m in found] == [m[:2] for m in wire[owner]]
        for message, (_, phase, data) in zip(found, wire[owner], strict=True):
            assert message.size == len(data), phase
            assert message.sha256 in {None, hashlib.sha256(data).digest()}, phase
            assert (message.sha256 is None) == (message.evidence is Evidence.FORM), phase
        vectors = [m for m in found if m.is_vector]
        assert {m.protection for m in vectors} == {protection}
        assert {m.phase for m in vectors} <= {"mask", "plain"}
        assert len(vectors) == sum(plan.phases.values())
        assert all(m.sha256 is not None for m in vectors)


DROPPED = ("train", "advertise", "share", "mask", "consistency", "unmask")


@pytest.mark.parametrize(
    ("aggregation", "phase", "agreement"),
    [
        *(("masked", phase, "x25519") for phase in DROPPED),
        ("masked", "mask", "hybrid"),
        ("encrypted", "share", "x25519"),
        ("encrypted", "mask", "x25519"),
    ],
)
def test_of_an_owner_that_drops_out_nothing_is_listed_that_the_log_does_not_show(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, phase: str, aggregation: str, agreement: str
) -> None:
    """The reply of owner-003 to one phase of the second release is lost."""
    directory = tmp_path / "run"
    _, wire = recorded_run(
        monkeypatch,
        directory,
        lost=[(phase, "owner-003", 1)],
        owners=4,
        dropouts=1,
        aggregation=aggregation,
        key_agreement=agreement,
        **{**BARE, "rounds": 3},
    )
    for owner in ("owner-001", "owner-003", "owner-004"):
        found = listed(directory, owner)
        known = [m for m in found if m.evidence is not Evidence.UNKNOWN]
        sizes = Counter((d, p, len(data)) for d, p, data in wire[owner])
        for message in known:
            if message.size is not None:
                key = (message.direction.value, message.phase, message.size)
                assert sizes[key] > 0, key
                sizes[key] -= 1
        left = {p for (d, p, _), count in sizes.items() if count and d == "sent"}
        if aggregation == "masked":  # the opened secrets say who had shared
            assert all(m.size is not None for m in known)
        # What is left over is of the owner that dropped out, and of messages listed without size.
        sizeless = {m.phase for m in found if m.direction is Direction.SENT and m.size is None}
        assert left <= sizeless | set(DROPPED[DROPPED.index(phase) :])
        if owner != "owner-003":
            assert left <= sizeless
    gone = listed(directory, "owner-003")
    unknown = [m.phase for m in gone if m.evidence is Evidence.UNKNOWN and m.size is None]
    assert unknown or phase == "unmask"
    vectors = [m for m in gone if m.is_vector and m.evidence is Evidence.RECORDED]
    # An owner of an encrypted run that misses one sum is out of step for the rest of the run.
    rest = 2 if aggregation == "masked" else 0
    assert len(vectors) == 1 + rest + (phase in DROPPED[4:])


def test_a_pruned_run_lists_the_same_messages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    recorded_run(monkeypatch, directory, **BARE)
    before = listed(directory, "owner-002")
    run = read_run(first_leaf(directory), None)
    assert prune(directory, read_history(directory, run).manifest)
    assert listed(directory, "owner-002") == before
