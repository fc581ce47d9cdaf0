"""A ledger that was reset, restored or rewritten is refused by the peers that saw it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from feddiff_privacy.events import NoisedSum
from feddiff_privacy.ledger.errors import LedgerError, LedgerRolledBackError
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_privacy.ledger.peer_heads import PeerHeads
from tests.support.ledgers import open_ledger

EVENTS = [NoisedSum("train", 2, 1.0, "full_batch", 1.0, 5.0, 3)]


def one_run(path: Path) -> Ledger:
    with open_ledger(path) as ledger:
        ledger.spend(ledger.reserve(bytes(32), EVENTS, 1), "train")
    return ledger


def test_a_ledger_that_grew_is_accepted_and_remembered(tmp_path: Path) -> None:
    store = PeerHeads(tmp_path / "peers.json")
    for _ in range(3):
        ledger = one_run(tmp_path / "ledger.jsonl")
        store.record({"ann.plots": ledger})
        store = PeerHeads(tmp_path / "peers.json")  # read back
        assert store.seen["ann.plots"].size == ledger.size
        assert store.seen["ann.plots"].head == ledger.head


@pytest.mark.parametrize("way", ["deleted", "restored", "made anew and longer"])
def test_a_reset_ledger_is_refused_by_the_peers(tmp_path: Path, way: str) -> None:
    path, copy = tmp_path / "ledger.jsonl", tmp_path / "copy.jsonl"
    one_run(path)
    shutil.copyfile(path, copy)
    seen = one_run(path)
    PeerHeads(tmp_path / "peers.json").record({"ann.plots": seen})
    path.unlink()
    if way == "restored":
        copy.rename(path)
    for _ in range(3 if way.startswith("made") else 0):
        one_run(path)
    with open_ledger(path) as ledger:
        store = PeerHeads(tmp_path / "peers.json")
        expected = "another head" if way.startswith("made") else "it had 7"
        with pytest.raises(LedgerRolledBackError, match=expected):
            store.check("ann.plots", ledger)
        before = store.path.read_bytes()
        with pytest.raises(LedgerRolledBackError):
            store.record({"bob.plots": seen, "ann.plots": ledger})
        assert store.path.read_bytes() == before
        assert "bob.plots" not in store.seen


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[" * 100_000, b"{}\n",
        b'{"format":"feddiff-peer-heads","peers":{},"version":2}\n',
        b'{"format":"feddiff-peer-heads","peers":{},"version":1}',
        b'{"format":"feddiff-peer-heads","peers":[],"version":1}\n',
        b'{"format":"feddiff-peer-heads","peers":{"a":{"head":"00","size":1}},"version":1}\n',
        b'{"format":"feddiff-peer-heads","peers":{"../a":{}},"version":1}\n',
        b" " * (1 << 20) + b"{}",
    ],
)  # fmt: skip
def test_a_damaged_store_is_a_named_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"peers\.json"):
        PeerHeads(path)


def test_sizes_of_0_or_no_integer_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    PeerHeads(path).record({"ann.plots": one_run(tmp_path / "ledger.jsonl")})
    good = json.loads(path.read_text())
    for size in (0, -1, True, 1.5, "4", 10**9):
        good["peers"]["ann.plots"]["size"] = size
        path.write_text(json.dumps(good, separators=(",", ":"), sort_keys=True) + "\n")
        with pytest.raises(LedgerError, match="size"):
            PeerHeads(path)
    with pytest.raises(LedgerError):
        PeerHeads(tmp_path / "other.json").record({"no name!": one_run(tmp_path / "l.jsonl")})
    assert not (tmp_path / "other.json").exists()
