"""Offline proofs: what they show, under which policy, and what is not one."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import CryptoError, DecodeError, LimitError
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.cosignature import cosign
from feddiff_crypto.tlog.errors import (
    LogProofError,
    LogSignatureError,
    QuorumError,
    UnknownOriginError,
)
from feddiff_crypto.tlog.log import Log
from feddiff_crypto.tlog.note import Note
from feddiff_crypto.tlog.policy import LogPolicy
from feddiff_crypto.tlog.proof import MAX_PROOF_BYTES, Proof, make_proof, parse_proof

RANDOM = SecureRandom()
LOG_KEY, ANN, BOB, EVE = (IdentityKey.generate(RANDOM) for _ in range(4))
OWNERS = {"ann": ANN, "bob": BOB}
ORIGIN = "log.example/run"
POLICY = LogPolicy(
    ORIGIN, LOG_KEY.public, Registry({n: k.public for n, k in OWNERS.items()}), colluders=1
)


def grown(count: int) -> Log:
    log = Log()
    for i in range(count):
        log.append({"kind": "round", "round": i})
    return log


def witnessed(log: Log, size: int, names: str = "ann bob", origin: str = ORIGIN) -> Note:
    checkpoint = log.checkpoint(origin, size)
    note = checkpoint.sign(LOG_KEY)
    for name in names.split():
        note = note.with_signature(cosign(checkpoint, name, OWNERS[name], 9))
    return note


LOG = grown(11)
PROOF = make_proof(LOG, 6, witnessed(LOG, 11))
DATA = PROOF.to_bytes()


@given(st.integers(1, 40), st.data())
@settings(max_examples=30)
def test_every_leaf_of_every_checkpoint_is_proven_from_one_file(
    size: int, data: st.DataObject
) -> None:
    log = grown(data.draw(st.integers(size, 45)))
    index = data.draw(st.integers(0, size - 1))
    file = make_proof(log, index, witnessed(log, size)).to_bytes()
    shown = parse_proof(file).verify(POLICY)
    assert shown.leaf == {"kind": "round", "round": index}
    assert (shown.index, shown.cosigned.checkpoint.size) == (index, size)
    assert shown.cosigned.times == {"ann": 9, "bob": 9}


def test_a_proof_reads_as_the_specification_says() -> None:
    lines = DATA.decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "extra " + base64.b64encode(LOG.leaves[6]).decode()
    assert lines[2] == "index 6"
    path = [base64.b64encode(h).decode() for h in LOG.inclusion_proof(6)]
    assert lines[3 : 3 + len(path)] == path
    assert "\n".join(lines[3 + len(path) :]) == "\n" + witnessed(LOG, 11).to_bytes().decode()
    assert parse_proof(DATA) == PROOF


def test_a_proof_of_another_leaf_index_or_path_shows_nothing() -> None:
    for forged in (
        dataclasses.replace(PROOF, leaf=b'{"kind":"round","round":7}'),
        dataclasses.replace(PROOF, index=7),
        dataclasses.replace(PROOF, index=11),
        dataclasses.replace(PROOF, path=PROOF.path[:-1]),
        dataclasses.replace(PROOF, path=(*PROOF.path, bytes(32))),
        dataclasses.replace(PROOF, path=PROOF.path[::-1]),
        dataclasses.replace(PROOF, note=witnessed(LOG, 10)),
        dataclasses.replace(PROOF, note=witnessed(grown(3), 3)),
    ):
        with pytest.raises(LogProofError):
            parse_proof(forged.to_bytes()).verify(POLICY)


def test_a_proof_without_a_quorum_shows_nothing() -> None:
    with pytest.raises(QuorumError, match="1 cosignatures, fewer than 2 of 2"):
        make_proof(LOG, 6, witnessed(LOG, 11, "ann")).verify(POLICY)


def test_a_proof_from_another_log_shows_nothing() -> None:
    other = make_proof(LOG, 6, witnessed(LOG, 11, origin="log.example/other"))
    with pytest.raises(UnknownOriginError):
        other.verify(POLICY)
    with pytest.raises(LogSignatureError):
        PROOF.verify(dataclasses.replace(POLICY, log_key=EVE.public))


def test_a_proof_is_made_only_for_the_logs_own_checkpoints() -> None:
    for log, size, index in ((grown(12), 12, 6), (LOG, 5, 6)):
        with pytest.raises(ValueError, match=r"not one of this log|not in"):
            make_proof(LOG, index, witnessed(log, size))
    fork = Log()
    fork.append({})
    with pytest.raises(ValueError, match="not one of this log"):
        make_proof(LOG, 0, witnessed(fork, 1))


def test_a_leaf_that_is_no_json_object_is_not_shown_even_if_it_is_logged() -> None:
    """The log hashes any bytes it is given; what reads as two things is not passed on."""
    leaf = b'{"a":1,"a":2}'
    log = Log()
    log._append(leaf)
    with pytest.raises(DecodeError, match="canonical"):
        Proof(leaf, 0, (), witnessed(log, 1)).verify(POLICY)


EXTRA = b"extra " + base64.b64encode(LOG.leaves[6])
HASH = base64.b64encode(PROOF.path[0])
BAD = {
    "nothing": (b"", "empty line"),
    "another version": (DATA.replace(b"@v1", b"@v2"), "first line"),
    "no extra": (DATA.replace(EXTRA + b"\n", b""), "extra and index"),
    "two extras": (DATA.replace(EXTRA, EXTRA + b"\n" + EXTRA), "extra and index"),
    "extra not base64": (DATA.replace(EXTRA, b"extra !!notbase64!!"), "extra: not base64"),
    "extra no JSON object": (DATA.replace(EXTRA, b"extra MQ=="), "expected an object"),
    "extra of another form": (
        DATA.replace(EXTRA, b"extra " + base64.b64encode(b'{"a": 1}')),
        "canonical",
    ),
    "no index": (DATA.replace(b"index 6\n", b""), "extra and index"),
    "index in words": (DATA.replace(b"index 6", b"index six"), "index"),
    "negative index": (DATA.replace(b"index 6", b"index -6"), "index"),
    "leading zero": (DATA.replace(b"index 6", b"index 06"), "index"),
    "index 2^63": (DATA.replace(b"index 6", b"index 9223372036854775808"), "index"),
    "hash not base64": (DATA.replace(HASH, b"!!notbase64!!"), "hash: not base64"),
    "hash too long": (DATA.replace(HASH, base64.b64encode(bytes(64))), "64 bytes"),
    "hash in a second form": (DATA.replace(HASH, HASH[:-2] + b"/="), "one form"),
    "not ASCII": (DATA.replace(b"index 6", "index ٦".encode()), "ASCII"),
    "no empty line": (DATA.replace(b"\n\n", b"\n"), "empty line"),
    "no checkpoint": (DATA.partition(b"\n\n")[0] + b"\n\n", "note"),
    "another note": (DATA.replace(b"\n11\n", b"\neleven\n"), "checkpoint: size"),
    "carriage returns": (DATA.replace(b"\n", b"\r\n"), "empty line"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_not_a_proof_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        parse_proof(data)


def test_a_proof_too_large_or_with_too_long_a_path_is_refused() -> None:
    with pytest.raises(LimitError, match="2097152"):
        parse_proof(bytes(MAX_PROOF_BYTES + 1))
    long = dataclasses.replace(PROOF, path=(bytes(32),) * 63)
    assert parse_proof(long.to_bytes()) == long
    with pytest.raises(LimitError, match="64 hashes"):
        parse_proof(dataclasses.replace(PROOF, path=(bytes(32),) * 64).to_bytes())


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=200)
def test_no_flipped_bit_of_a_proof_is_believed(at: int, bit: int) -> None:
    """Both cosignatures are needed, so no byte of the file is free."""
    data = bytearray(DATA)
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(CryptoError):
        parse_proof(bytes(data)).verify(POLICY)
