"""The ledger's file: damage is named and never repaired, locks hold, appends are on disk."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.events import NoisedSum
from feddiff_privacy.ledger import chain, chain_file
from feddiff_privacy.ledger.chain_file import read_file
from feddiff_privacy.ledger.entries import LineError, from_line
from feddiff_privacy.ledger.errors import LedgerBusyError, LedgerError
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_privacy.ledger.reading import read_ledger
from tests.support.ledgers import open_ledger

EVENTS = (
    NoisedSum("count", 1, 1.0, "full_batch", 1.0, 6.5, 1),
    NoisedSum("train", 5, 0.5, "poisson", 812.25, 4000.0, 7680),
)


def written(folder: Path) -> Path:
    """A ledger with every kind of entry, closed."""
    path = folder / "ann.plots.jsonl"
    with open_ledger(path, lifetime=8.0) as ledger:
        reservation = ledger.reserve(bytes(32), EVENTS, 3)
        for phase in ("count", "train", "train"):
            ledger.spend(reservation, phase)
    return path


def test_every_line_is_canonical_json_chained_to_the_one_before(tmp_path: Path) -> None:
    lines = written(tmp_path).read_bytes().split(b"\n")
    assert lines.pop() == b""
    kinds = []
    for seq, line in enumerate(lines):
        fields = json.loads(line)
        assert rfc8785.dumps(fields) == line
        assert fields["seq"] == seq
        if seq:
            assert fields["prev"] == hashlib.sha256(lines[seq - 1]).hexdigest()
        kinds.append(fields["kind"])
    assert kinds == ["header", "reserve", "spend", "spend", "spend", "close"]
    header = json.loads(lines[0])
    assert header["lifetime_epsilon"] == 8
    assert (tmp_path / "ann.plots.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = written(tmp_path)
    with open_ledger(path) as ledger:
        held = ledger.balance.reservations[1]
        assert held.reserve.events == EVENTS
        assert held.spent == {"count": 1, "train": 2}
        assert not held.is_open
        heads = [hashlib.sha256(line).hexdigest() for line in path.read_bytes().splitlines()]
        assert [ledger.head_at(k + 1) for k in range(6)] == heads
        assert ledger.head == heads[-1]
        assert ledger.head_at(0) is ledger.head_at(7) is None


def torn(path: Path, keep: int) -> None:
    """Cut the last line so that `keep` of its bytes, and no newline, are left."""
    data = path.read_bytes()
    start = data[:-1].rfind(b"\n") + 1
    assert keep < len(data) - start
    path.write_bytes(data[: start + keep])


def test_a_last_line_torn_at_any_byte_is_cut_off_and_nothing_else_is_lost(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1  # of the close entry
    for keep in range(len(whole) - start):
        torn(path, keep)
        assert read_ledger(path).attempts == 3  # reading tolerates it and changes nothing
        assert len(path.read_bytes()) == start + keep
        with open_ledger(path) as ledger:  # opening cuts it off and closes again
            assert ledger.balance.reservations[1].spent.total() == 3
            assert not ledger.balance.reservations[1].is_open
        assert path.read_bytes() == whole


def test_a_torn_spend_was_never_reported_so_it_is_not_counted(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for keep in range(0, len(lines[4]), 7):
        path.write_bytes(b"".join(lines[:4]) + lines[4][:keep])
        assert open_and_close(path).balance.reservations[1].spent.total() == 2


def open_and_close(path: Path) -> Ledger:
    with open_ledger(path) as ledger:
        return ledger


def changed(line: bytes, **fields: Any) -> bytes:
    return rfc8785.dumps({**json.loads(line), **fields})


Damage = Callable[[list[bytes]], None]


def at(index: int, change: Callable[[bytes], bytes]) -> Damage:
    def apply(lines: list[bytes]) -> None:
        lines[index] = change(lines[index])

    return apply


DAMAGE: dict[str, tuple[int, Damage]] = {
    "an empty file": (1, lambda lines: lines.clear()),
    "no header": (1, lambda lines: lines.__delitem__(0)),
    "a line taken out": (3, lambda lines: lines.__delitem__(2)),
    "two lines exchanged": (4, lambda lines: lines.__setitem__(slice(3, 5), lines[4:2:-1])),
    "a line repeated": (4, lambda lines: lines.insert(3, lines[2])),
    "an empty line": (3, lambda lines: lines.insert(2, b"")),
    "another sequence number": (4, at(3, lambda line: changed(line, seq=7))),
    "a seq that is no integer": (4, at(3, lambda line: line.replace(b'"seq":3', b'"seq":true'))),
    "another predecessor": (4, at(3, lambda line: changed(line, prev="0" * 64))),
    "an earlier line changed": (3, at(1, lambda line: changed(line, shares=4))),
    "spaces": (4, at(3, lambda line: line.replace(b":", b": "))),
    "a repeated key": (4, at(3, lambda line: line[:-1] + b',"seq":3}')),
    "an unknown kind": (4, at(3, lambda line: changed(line, kind="refund"))),
    "an unknown field": (4, at(3, lambda line: changed(line, note="paid"))),
    "not JSON": (4, at(3, lambda line: line[:-1])),
    "not UTF-8": (4, at(3, lambda _line: b'{"kind":"\xff"}')),
    "deep nesting": (4, at(3, lambda _line: b"[" * 16_000)),
    "a huge number": (4, at(3, lambda line: line.replace(b":1,", b":" + b"9" * 5000 + b","))),
    "a list": (4, at(3, lambda _line: b"[]")),
    "an attempt out of turn": (4, at(3, lambda line: changed(line, attempt=2))),
    "an unknown phase": (4, at(3, lambda line: changed(line, phase="tune"))),
    "a spend without reservation": (4, at(3, lambda line: changed(line, reservation=2))),
    "a negative reservation": (4, at(3, lambda line: changed(line, reservation=-1))),
    "an infinite share": (2, at(1, lambda line: line.replace(b'"shares":3', b'"shares":1e999'))),
    "too many shares": (2, at(1, lambda line: changed(line, shares=10**6))),
    "another rule": (2, at(1, lambda line: changed(line, rule="trust"))),
    "a rule of a ledger without limit": (2, at(1, lambda line: changed(line, rule="unlimited"))),
    "no events": (2, at(1, lambda line: changed(line, events=[]))),
    "an unknown event": (2, at(1, lambda line: changed(line, events=[{"kind": "gift/1"}]))),
    "an event of no attempts": (2, at(1, lambda line: line.replace(b":5,", b":0,"))),
    "two events of one phase": (2, at(1, lambda line: line.replace(b'"count"', b'"train"'))),
    "a second header": (2, at(1, lambda line: line)),
    "another version": (1, at(0, lambda line: changed(line, version=2))),
    "another format": (1, at(0, lambda line: changed(line, format="notes"))),
    "a raised lifetime": (2, at(0, lambda line: changed(line, lifetime_epsilon=100))),
    "a lifetime of 0": (1, at(0, lambda line: changed(line, lifetime_epsilon=0))),
    "a delta of 1": (1, at(0, lambda line: changed(line, delta=1))),
    "an order of 1": (1, at(0, lambda line: changed(line, order=1))),
    "an owner that is a path": (1, at(0, lambda line: changed(line, owner="../bob"))),
    "a line too long": (4, at(3, lambda _line: b" " * 20_000)),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_an_error_that_names_the_line_and_is_not_repaired(
    tmp_path: Path, case: str
) -> None:
    path = written(tmp_path)
    number, damage = DAMAGE[case]
    lines = path.read_bytes().splitlines()
    if case == "a second header":
        head = hashlib.sha256(lines[0]).hexdigest()
        lines[1] = changed(lines[0], seq=1, prev=head)
    damage(lines)
    spoilt = b"".join(line + b"\n" for line in lines)
    path.write_bytes(spoilt)
    for read in (open_ledger, read_ledger):
        with pytest.raises(LedgerError, match=rf"ann\.plots\.jsonl: line {number}: ") as error:
            read(path)  # type: ignore[operator]  # two functions of one argument
        assert error.value.hint
    assert path.read_bytes() == spoilt


@given(st.data())
@settings(max_examples=60)
def test_any_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("ledger"))
    content = bytearray(path.read_bytes())
    last_line = content[:-1].rfind(b"\n") + 1
    position = data.draw(st.integers(0, last_line - 1))  # all that later lines commit to
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    with pytest.raises(LedgerError):
        read_file(path)


@given(st.binary(max_size=400))
def test_hostile_lines_raise_the_named_error_only(line: bytes) -> None:
    with pytest.raises(LineError):
        from_line(line, 0, None)


def test_a_file_too_large_is_refused_unparsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    for module in (chain, chain_file):
        monkeypatch.setattr(module, "MOST_FILE_BYTES", 1000)
    with pytest.raises(LedgerError, match="1001 bytes > limit 1000"):
        read_file(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LedgerError, match="no regular file"):
        read_file(path)


def test_a_link_or_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.chmod(0o666)
    with pytest.raises(LedgerError, match="others may write"):
        open_ledger(path)
    path.chmod(0o600)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with pytest.raises(LedgerError, match=r"link\.jsonl: cannot be opened"):
        open_ledger(link)


def test_a_ledger_is_open_once_at_a_time_also_across_processes(tmp_path: Path) -> None:
    path = written(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tests.support.ledgers import open_ledger\n"
        "from feddiff_privacy.ledger.errors import LedgerBusyError\n"
        "try: open_ledger(Path(sys.argv[1]))\n"
        "except LedgerBusyError: sys.exit(42)\n"
    )

    def other_process() -> int:
        paths = os.pathsep.join(sys.path)
        env = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run([sys.executable, "-c", code, path], check=False, env=env).returncode

    with open_ledger(path) as ledger:
        with pytest.raises(LedgerBusyError):
            open_ledger(path)
        assert other_process() == 42
        assert read_ledger(path).attempts == 3  # looking needs no lock
        ledger.reserve(bytes(32), EVENTS, 3)
    assert other_process() == 0


def test_an_entry_is_written_and_synced_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    calls: list[tuple[str, int]] = []
    real_write, real_sync = os.write, os.fsync

    def write(descriptor: int, data: bytes) -> int:
        calls.append(("write", descriptor))
        return real_write(descriptor, data)

    def sync(descriptor: int) -> None:
        calls.append(("sync", descriptor))
        real_sync(descriptor)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", sync)
    with open_ledger(path) as ledger:
        reservation = ledger.reserve(bytes(32), EVENTS, 3)
        calls.clear()
        ledger.spend(reservation, "train")
        assert [name for name, _ in calls] == ["write", "sync"]
        assert calls[0][1] == calls[1][1]


def test_a_new_ledger_and_its_name_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    open_and_close(tmp_path / "ann.plots.jsonl")
    assert len(synced) == 2
    assert Path(synced[0]).name.startswith(".ann.plots.jsonl")
    assert synced[1] == str(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["ann.plots.jsonl"]


@pytest.mark.parametrize("failing", ["write", "short write", "fsync"])
def test_after_a_disk_error_nothing_more_is_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = written(tmp_path)
    real = os.write
    ledger = open_ledger(path)
    reservation = ledger.reserve(bytes(32), EVENTS, 3)

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        if failing == "short write":
            patched.setattr(os, "write", lambda fd, data: real(fd, data[:20]))
        else:
            patched.setattr(os, failing, full)
        with pytest.raises(LedgerError, match=r"No space|wrote 20"):
            ledger.spend(reservation, "train")
    with pytest.raises(LedgerError, match="failed before"):
        ledger.spend(reservation, "train")
    ledger.__exit__(None, None, None)  # does not raise, and does not write
    with open_ledger(path) as again:  # an fsync that failed may have left the line: it counts
        spent = again.balance.reservations[reservation].spent.total()
        assert spent == (1 if failing == "fsync" else 0)
        assert not again.balance.open_reservations
