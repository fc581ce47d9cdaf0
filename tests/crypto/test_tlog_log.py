"""The log's file: one form, and no change of a leaf that keeps the root."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.tlog import log as log_module
from feddiff_crypto.tlog.log import MAX_LEAF_BYTES, Log, parse_log
from feddiff_crypto.tlog.merkle import EMPTY_ROOT, leaf_hash, merkle_root
from feddiff_crypto.tlog.merkle_proof import verify_consistency, verify_inclusion


def filled(count: int) -> Log:
    log = Log()
    for i in range(count):
        assert log.append({"kind": "round", "round": i, "sha256": f"{i:064x}"}) == i
    return log


LOG = filled(12)


def test_a_log_comes_back_from_its_file() -> None:
    for log in (Log(), filled(1), LOG):
        again = parse_log(log.to_bytes())
        assert again.leaves == log.leaves
        assert again.root() == log.root() == merkle_root(log.leaves)
    assert Log().root() == EMPTY_ROOT


def test_appending_a_leaf_appends_a_line() -> None:
    before = LOG.to_bytes()
    grown = parse_log(before)
    grown.append({"b": 1, "a": [None, "é"]})
    assert grown.to_bytes() == before + '{"a":[null,"é"],"b":1}\n'.encode()


def test_a_logs_proofs_lead_to_its_checkpoints() -> None:
    new = LOG.checkpoint("log")
    old = LOG.checkpoint("log", 5)
    assert (old.size, new.size, new.origin) == (5, 12, "log")
    verify_consistency(old.size, old.root, new.size, new.root, LOG.consistency_proof(5))
    for index, leaf in enumerate(LOG.leaves):
        verify_inclusion(leaf_hash(leaf), index, 12, LOG.inclusion_proof(index), new.root)
    verify_inclusion(leaf_hash(LOG.leaves[2]), 2, 5, LOG.inclusion_proof(2, 5), old.root)


LINES = LOG.to_bytes().splitlines(keepends=True)
BAD = {
    "a leaf cut off by a crash": (b"".join(LINES)[:-1], "cut off"),
    "half a leaf": (b"".join(LINES)[:-9] + b"\n", "leaf 11"),
    "an empty line": (b"\n" + LINES[0], "leaf 0"),
    "an empty line at the end": (LINES[0] + b"\n", "leaf 1"),
    "a carriage return": (LINES[0][:-1] + b"\r\n", "leaf 0"),
    "another form of a leaf": (LINES[0].replace(b":", b": "), "canonical"),
    "two objects a line": (LINES[0][:-1] + LINES[1], "leaf 0"),
    "a list": (b"[1]\n", "list, expected an object"),
    "a number": (LINES[0] + b"1\n", "leaf 1: a int"),
    "not UTF-8": (b'{"a":"\xff"}\n', "leaf 0"),
    "a mark of byte order": (b"\xef\xbb\xbf" + LINES[0], "leaf 0"),
    "only a newline": (b"\n", "leaf 0"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_not_a_logs_file_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        parse_log(data)


def test_limits_hold_when_writing_and_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(2)
    with pytest.raises(LimitError, match=f"{MAX_LEAF_BYTES}"):
        log.append({"a": "x" * MAX_LEAF_BYTES})
    with pytest.raises(LimitError, match="leaf 0"):
        parse_log(b'{"a":"' + b"x" * MAX_LEAF_BYTES + b'"}\n')
    monkeypatch.setattr(log_module, "MAX_LEAVES", 2)
    with pytest.raises(LimitError, match="more than 2 leaves"):
        log.append({})
    with pytest.raises(LimitError, match="more than 2 leaves"):
        parse_log(LOG.to_bytes())
    monkeypatch.setattr(log_module, "MAX_LOG_BYTES", len(log.to_bytes()))
    assert parse_log(log.to_bytes()).size == 2
    with pytest.raises(LimitError, match="limit"):
        parse_log(log.to_bytes() + b"\n")
    monkeypatch.setattr(log_module, "MAX_LEAVES", 3)
    with pytest.raises(LimitError, match="bytes"):
        log.append({})
    assert log.size == 2


@pytest.mark.parametrize("leaf", [[], "text", None, {1: 2}, {"a": b"bytes"}])
def test_a_leaf_that_is_no_json_object_is_refused(leaf: Any) -> None:
    log = Log()
    with pytest.raises(TypeError):
        log.append(leaf)
    assert log.size == 0


def rearranged(lines: list[bytes], how: str, i: int, j: int) -> list[bytes]:
    match how:
        case "drop":
            return lines[:i] + lines[i + 1 :]
        case "repeat":
            return [*lines[: i + 1], *lines[i:]]
        case "cut":
            return lines[:i]
        case "move":
            rest = lines[:i] + lines[i + 1 :]
            return [*rest[:j], lines[i], *rest[j:]]
        case _:
            return [*lines[:i], lines[i].replace(b'"kind":"r', b'"kind":"s'), *lines[i + 1 :]]


@given(
    st.sampled_from(["drop", "repeat", "cut", "move", "edit"]),
    st.integers(0, 11),
    st.integers(0, 11),
)
@settings(max_examples=100)
def test_no_leaf_can_be_dropped_repeated_moved_or_edited(how: str, i: int, j: int) -> None:
    changed = rearranged(LINES, how, i, j)
    if changed != LINES:
        assert parse_log(b"".join(changed)).root() != LOG.root()


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=150)
def test_no_flipped_bit_of_a_logs_file_keeps_its_root(at: int, bit: int) -> None:
    data = bytearray(LOG.to_bytes())
    data[at % len(data)] ^= 1 << bit
    with contextlib.suppress(DecodeError):
        assert parse_log(bytes(data)).root() != LOG.root()
