"""Kill -9 while a process reserves and spends: every spend it reported is still there."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np

from feddiff_privacy.events import NoisedSum
from feddiff_privacy.ledger.chain_file import read_file
from feddiff_privacy.ledger.reading import read_ledger
from tests.support.ledgers import open_ledger

EVENTS = [NoisedSum("train", 7, 1.0, "full_batch", 1.0, 5.0, 3)]
KILLS = 25


def spend_for_ever(path: Path, report: int) -> NoReturn:
    """Reserve, spend and close; report a spend only after it has returned."""
    with open_ledger(path) as ledger:
        while True:
            reservation = ledger.reserve(bytes(32), EVENTS, 1)
            for _ in range(7):
                ledger.spend(reservation, "train")
                os.write(report, b"%d\n" % reservation)
            ledger.close(reservation)


def killed(path: Path, seconds: float) -> Counter[int]:
    """What a process reported, by reservation, that was killed some time after its first report."""
    reading, report = os.pipe()
    child = os.fork()
    if child == 0:  # a real process of its own; nothing of the test runner may run in it
        try:
            spend_for_ever(path, report)
        finally:
            os._exit(1)
    os.close(report)
    with os.fdopen(reading, "rb") as pipe:
        first = pipe.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        rest = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    whole = (first + rest).rsplit(b"\n", 1)[0]
    return Counter(int(line) for line in whole.split(b"\n"))


def test_a_killed_process_loses_no_spend_that_it_reported(tmp_path: Path) -> None:
    path = tmp_path / "ann.plots.jsonl"
    delays = np.random.default_rng(20).uniform(0, 0.01, size=KILLS)
    reported: Counter[int] = Counter()
    for seconds in delays:
        reported += killed(path, float(seconds))
        on_disk = {s: h.spent.total() for s, h in read_file(path).balance.reservations.items()}
        for reservation, count in reported.items():
            assert on_disk[reservation] >= count
        # At most the one spend under way was written and not reported.
        assert sum(on_disk.values()) - reported.total() <= len(delays)
        assert read_ledger(path).open_plans <= 1
        before = read_file(path).heads
        with open_ledger(path) as ledger:  # closes what the crash left open, and only that
            assert not ledger.balance.open_reservations
            assert ledger.head_at(len(before)) == before[-1]
            assert ledger.size - len(before) <= 1
            assert sum(h.spent.total() for h in ledger.balance.spent) == sum(on_disk.values())
    assert reported.total() >= len(delays)
