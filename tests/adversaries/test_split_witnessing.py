"""What the log of a split run gives away: by the messages of witnesses, and to its reader.

The claims are rows of docs/topologies.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from feddiff_crypto.encoding import decode
from feddiff_crypto.he.messages import sum_digest
from feddiff_crypto.tlog.checkpoint import parse_checkpoint
from feddiff_crypto.tlog.cosignature import cosign
from feddiff_crypto.tlog.log import parse_leaf
from feddiff_crypto.tlog.note import parse_note
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.encrypted_training import train_encrypted
from feddiff_secure.federation.local_model import LocalModel
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.training import train
from feddiff_secure.transcript.digests import END_LABEL, RUN_LABEL, end_digest
from feddiff_secure.transcript.leaves import AttemptKey, RoundLeaf, RunLeaf, read_leaf
from feddiff_secure.transcript.opened import OpenedMessage
from feddiff_secure.transcript.vectors import VectorsReader
from tests.support.federations import Federation
from tests.support.topologies import CLASSES, HSI, WIDTH, holder_examples, topology_plan
from tests.support.uniformity import is_uniform

TILES = 24


def split(aggregation: str, nominal: int | None = 48, rounds: int = 2) -> tuple[Plan, Federation]:
    config = RunConfig(
        topology="split",
        epsilon=8.0,
        nominal_tiles=nominal,
        rounds=rounds,
        aggregation=aggregation,  # type: ignore[arg-type]  # one of the literals
    )
    plan = topology_plan(config, 2)
    held = [holder_examples(kind, seed, tiles=TILES) for seed, kind in ((1, "hsi"), (2, "lidar"))]
    return plan, Federation.of(plan, held)


def play(plan: Plan, parties: Federation, directory: Path) -> list[NDArray[np.int64]]:
    """All rounds; the sums that a masked coordinator has."""
    log = parties.transcription(directory)
    totals: list[NDArray[np.int64]] = []
    if plan.aggregation == "encrypted":
        train_encrypted(
            parties.exchange,
            parties.registry,
            plan,
            log=lambda _line: None,
            progress=Silent(),
            transcript=log,
        )
        return totals
    train(
        parties.exchange,
        parties.registry,
        plan,
        check_count=lambda _tiles: None,
        log=lambda _line: None,
        progress=Silent(),
        on_sum=lambda _attempt, total: totals.append(total),
        transcript=log,
    )
    return totals


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
def test_a_witness_says_what_follows_from_what_it_was_shown_its_clock_and_its_ledgers_head(
    tmp_path: Path, aggregation: str
) -> None:
    """Each reply is made again without any of the owner's data: there is no room for it."""
    plan, parties = split(aggregation)
    play(plan, parties, tmp_path)
    exchange, ledgers = parties.exchange, {}
    for sent in exchange.replies("roster"):
        data = sent.request["leaf"]
        assert isinstance(data, bytes)
        leaf = RunLeaf.from_json(parse_leaf(data, "leaf"))
        assert sent.reply == {
            "signature": parties.keys[sent.party].sign(RUN_LABEL, leaf.signed_digest())
        }
    shown = exchange.replies("witness")
    assert len(shown) == 2 * (1 + plan.rounds)  # the manifest is not written here
    for sent in shown:
        note, signature = sent.request["checkpoint"], sent.reply["signature"]
        assert isinstance(note, bytes)
        assert isinstance(signature, bytes)
        clock = int.from_bytes(signature[:8], "big")
        checkpoint = parse_checkpoint(parse_note(note).text)
        line = cosign(checkpoint, sent.party, parties.keys[sent.party], clock)
        assert sent.reply == {"key_id": line.key_id, "signature": line.signature}
        assert checkpoint.size >= 2
    for sent in exchange.replies("end"):
        ledgers[sent.party] = ledger = parties.owners[sent.party]._ledger
        head, model = bytes.fromhex(ledger.head), parties.owners[sent.party]._local
        held = None if model is None else model.digest()
        digest = end_digest(plan.session, sent.party, ledger.size, head, held)
        assert sent.reply == {
            "entries": ledger.size,
            "head": head,
            "model": held or b"",
            "signature": parties.keys[sent.party].sign(END_LABEL, digest),
        }
        # In a ledger of its own: a header, the plan, an entry an attempt, the end.
        assert ledger.size == 1 + 1 + plan.rounds + 1
    assert len(ledgers) == 2


def test_the_reader_of_a_transcript_has_what_the_coordinator_has(tmp_path: Path) -> None:
    """Every sum, so both noised updates side by side; of one vector what the wire had of it."""
    plan, parties = split("masked")
    totals = play(plan, parties, tmp_path)
    wire = parties.exchange.replies("mask")
    stored = []
    with VectorsReader(tmp_path / "transcript" / "vectors.h5") as reader:
        for number, total in enumerate(totals):
            key = AttemptKey("train", number, 0)
            vectors = reader.vectors(key, plan.owners, CLASSES * WIDTH, 32)
            for sent in wire[2 * number : 2 * number + 2]:
                assert np.array_equal(vectors[sent.party], sent.reply["vector"])
            opened = OpenedMessage.read(decode(reader.opened(key)))
            assert set(opened.self_secrets) == set(plan.owners)
            assert not opened.mask_keys
            stored += [vector.astype(np.uint32) for vector in vectors.values()]
            columns = total.reshape(CLASSES, WIDTH)
            assert columns[:, :HSI].any()
            assert columns[:, HSI:].any()
    assert is_uniform(stored)


def test_the_digest_of_an_encrypted_count_gives_the_noised_number_of_tiles_away(
    tmp_path: Path,
) -> None:
    """It is one integer: the coordinator, and who reads the log, tries them all."""
    plan, parties = split("encrypted", nominal=None, rounds=1)
    play(plan, parties, tmp_path)
    lines = (tmp_path / "transcript" / "leaves.jsonl").read_bytes().splitlines()
    leaves = [read_leaf(parse_leaf(line, "leaf")) for line in lines]
    count, first = (leaf for leaf in leaves if isinstance(leaf, RoundLeaf))
    assert count.key.phase == "count"
    assert count.context is not None
    ring = plan.grid("count").ring
    found = [
        number
        for number in range(-1000, 2000)
        if sum_digest(ring.to_ring(np.array([number])), count.context) == count.aggregate
    ]
    model = parties.owners["owner-001"]._local
    assert isinstance(model, LocalModel)
    assert [max(2, number) for number in found] == [model.tiles]
    # A sum of a training round has noise in hundreds of coordinates, and no such search.
    assert plan.grid(first.key.phase).dimension == CLASSES * WIDTH
