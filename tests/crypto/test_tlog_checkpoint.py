"""Checkpoints and cosignatures: published bytes, and no signature that serves two purposes."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto import keys
from feddiff_crypto.attest.dsse import pae
from feddiff_crypto.domains import Domain, domain_of
from feddiff_crypto.errors import DecodeError, PolicyError, SignatureInvalidError
from feddiff_crypto.keys import IdentityKey, IdentityPublic, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.checkpoint import (
    Checkpoint,
    is_origin,
    parse_checkpoint,
    verify_checkpoint,
)
from feddiff_crypto.tlog.cosignature import cosign, cosigned_message, verify_cosignature
from feddiff_crypto.tlog.errors import (
    CheckpointRefusedError,
    LogSignatureError,
    QuorumError,
    UnknownOriginError,
)
from feddiff_crypto.tlog.merkle import EMPTY_ROOT
from feddiff_crypto.tlog.note import Note, NoteSignature, SignatureType, key_id, parse_note
from feddiff_crypto.tlog.policy import LogPolicy

RANDOM = SecureRandom()
LOG, ANN, BOB, CY, DEE, EVE = (IdentityKey.generate(RANDOM) for _ in range(6))
ORIGIN = "example.com/behind-the-sofa"
ROOT = hashlib.sha256(b"root").digest()
CHECKPOINT = Checkpoint(ORIGIN, 7, ROOT)
OWNERS = {"ann": ANN, "bob": BOB, "cy": CY, "dee": DEE}
REGISTRY = Registry({name: key.public for name, key in OWNERS.items()})

# Made by github.com/transparency-dev/formats v0.1.1 (cosignature) and golang.org/x/mod/sumdb/note
# (log), from the seeds SHA-256("r2notary test vector: log key") and "… witness key").
VECTOR_LOG = IdentityKey(hashlib.sha256(b"r2notary test vector: log key").digest())
VECTOR_WITNESS = IdentityKey(hashlib.sha256(b"r2notary test vector: witness key").digest())
VECTOR_TIME = 1791014171
VECTOR_NOTE = (
    "example.com/vector-log\n1234\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n\n"
    "— example.com/vector-log RRah2qlLrSlk6J8DA1HmNewppUM15Quhs5cAIb1KjBsV3otVirJTW8AFVsQtJkTW1Zny7"
    "GuoAxZpI6bUPcpM68QOIgE=\n"
    "— witness.example.com/vector QW8QPQAAAABqwLUbDdj7sDNRIVjmjYgqFI6y4UJhPg/UAA8J8wAdqSd3q4PedRhkg"
    "XA4xFN/Jg5uWn7ZkBA+H/UHQs5d9hITdXmQAA==\n"
).encode()


def test_another_implementations_checkpoint_and_cosignature_verify() -> None:
    note = parse_note(VECTOR_NOTE)
    checkpoint = verify_checkpoint(note, "example.com/vector-log", VECTOR_LOG.public)
    assert checkpoint.size == 1234
    assert verify_cosignature(checkpoint, note.signatures[1], VECTOR_WITNESS.public) == VECTOR_TIME
    assert note.signatures[1].key_id.hex() == "416f103d"


def test_the_same_keys_make_the_same_bytes_as_another_implementation() -> None:
    checkpoint = parse_checkpoint(parse_note(VECTOR_NOTE).text)
    line = cosign(checkpoint, "witness.example.com/vector", VECTOR_WITNESS, VECTOR_TIME)
    assert checkpoint.sign(VECTOR_LOG).with_signature(line).to_bytes() == VECTOR_NOTE


def test_the_cosigned_bytes_are_those_of_the_specification() -> None:
    """c2sp.org/tlog-checkpoint and c2sp.org/tlog-cosignature, their example."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 20852163)
    assert checkpoint.text == text
    expected = b"cosignature/v1\ntime 1679315147\n" + text.encode()
    assert cosigned_message(checkpoint, 1679315147) == expected


B64 = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
BAD = {
    "extension line": f"{ORIGIN}\n1\n{B64}\nextension\n",
    "two lines": f"{ORIGIN}\n1\n",
    "no last newline": f"{ORIGIN}\n1\n{B64}",
    "no origin": f"\n1\n{B64}\n",
    "origin with a space": f"example com\n1\n{B64}\n",
    "origin with a plus": f"a+b\n1\n{B64}\n",
    "origin not ASCII": f"é\n1\n{B64}\n",
    "origin with a delete character": f"a\x7f\n1\n{B64}\n",
    "long origin": f"{'o' * 256}\n1\n{B64}\n",
    "cosignature's header as origin": f"cosignature/v1\n1\n{B64}\n",
    "other cosignature's header as origin": f"subtree/v1\n1\n{B64}\n",
    "leading zero": f"{ORIGIN}\n01\n{B64}\n",
    "sign": f"{ORIGIN}\n+1\n{B64}\n",
    "space": f"{ORIGIN}\n 1\n{B64}\n",
    "no size": f"{ORIGIN}\n\n{B64}\n",
    "size in another script": f"{ORIGIN}\n١\n{B64}\n",
    "size 2^63": f"{ORIGIN}\n{2**63}\n{B64}\n",
    "hex root": f"{ORIGIN}\n1\n{ROOT.hex()}\n",
    "short root": f"{ORIGIN}\n1\nAAAA\n",
    "root in a second form": f"{ORIGIN}\n1\n{B64[:-2]}J=\n",
    "a root of no leaves": f"{ORIGIN}\n0\n{B64}\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="checkpoint"):
        parse_checkpoint(text)


def test_an_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(empty.text) == empty


@given(
    st.text(st.characters(codec="ascii"), min_size=1, max_size=12),
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
)
@settings(max_examples=100)
def test_whatever_is_written_reads_back(origin: str, size: int, root: bytes) -> None:
    if not is_origin(origin):
        with pytest.raises(ValueError, match="origin"):
            Checkpoint(origin, size, root)
        return
    checkpoint = Checkpoint(origin, size, root)
    assert parse_checkpoint(checkpoint.text) == checkpoint
    assert domain_of(checkpoint.text.encode()) is Domain.CHECKPOINT


def test_a_checkpoint_of_another_log_or_key_is_refused_by_name() -> None:
    note = CHECKPOINT.sign(LOG)
    assert verify_checkpoint(note, ORIGIN, LOG.public) == CHECKPOINT
    with pytest.raises(UnknownOriginError, match="behind-the-sofa"):
        verify_checkpoint(note, "example.com/other", LOG.public)
    with pytest.raises(LogSignatureError, match="no signature"):
        verify_checkpoint(note, ORIGIN, EVE.public)


def test_a_forged_log_signature_is_refused() -> None:
    note = CHECKPOINT.sign(LOG)
    line = note.signatures[0]
    larger = Checkpoint(ORIGIN, 8, ROOT)
    moved = Note(larger.text, (line,))
    renamed = Note(CHECKPOINT.text, (NoteSignature("other", line.key_id, line.signature),))
    for forged in (
        moved,
        renamed,
        Note(CHECKPOINT.text, (NoteSignature(ORIGIN, line.key_id, bytes(64)),)),
        Note(CHECKPOINT.text, (NoteSignature(ORIGIN, line.key_id, line.signature[:63]),)),
    ):
        with pytest.raises(LogSignatureError):
            verify_checkpoint(forged, ORIGIN, LOG.public)


def test_a_key_is_never_taken_for_its_other_type() -> None:
    """One identity may be both log and witness; its lines are told apart by their key IDs."""
    as_log = key_id(ORIGIN, SignatureType.ED25519, ANN.public)
    as_witness = key_id(ORIGIN, SignatureType.COSIGNATURE_V1, ANN.public)
    assert as_log != as_witness
    cosigned = Note(CHECKPOINT.text, (cosign(CHECKPOINT, ORIGIN, ANN, 5),))
    with pytest.raises(LogSignatureError, match="no signature"):
        verify_checkpoint(cosigned, ORIGIN, ANN.public)
    line = cosigned.signatures[0]
    for blob in (line.signature, line.signature[8:]):
        relabelled = Note(CHECKPOINT.text, (NoteSignature(ORIGIN, as_log, blob),))
        with pytest.raises(LogSignatureError, match="no valid"):
            verify_checkpoint(relabelled, ORIGIN, ANN.public)


@pytest.mark.parametrize("bit", [0, 7, 63, 64, 300, 575])
def test_a_cosignature_holds_for_its_time_checkpoint_and_key_only(bit: int) -> None:
    line = cosign(CHECKPOINT, "ann", ANN, 1_750_000_000)
    assert verify_cosignature(CHECKPOINT, line, ANN.public) == 1_750_000_000
    flipped = bytearray(line.signature)
    flipped[bit // 8] ^= 0x80 >> bit % 8
    for checkpoint, signature, key in (
        (CHECKPOINT, NoteSignature("ann", line.key_id, bytes(flipped)), ANN),
        (Checkpoint(ORIGIN, 8, ROOT), line, ANN),
        (Checkpoint("other", 7, ROOT), line, ANN),
        (CHECKPOINT, line, EVE),
        (CHECKPOINT, NoteSignature("ann", line.key_id, line.signature[:-1]), ANN),
        (CHECKPOINT, NoteSignature("ann", line.key_id, line.signature + b"\x00"), ANN),
        (CHECKPOINT, NoteSignature("bob", line.key_id, line.signature), ANN),
    ):
        with pytest.raises(LogSignatureError, match=r"ann|bob"):
            verify_cosignature(checkpoint, signature, key.public)


@pytest.mark.parametrize("time", [-1, 2**63])
def test_a_time_outside_its_range_is_refused(time: int) -> None:
    with pytest.raises(ValueError, match="time"):
        cosign(CHECKPOINT, "ann", ANN, time)


MESSAGES = {
    Domain.CHECKPOINT: CHECKPOINT.text.encode(),
    Domain.COSIGNATURE: cosigned_message(CHECKPOINT, 1_750_000_000),
    Domain.ATTESTATION: pae("application/vnd.in-toto+json", CHECKPOINT.text.encode()),
    Domain.LABELLED: keys.CONSISTENCY_LABEL + b"\x00" + bytes(32),
}


def test_each_kind_of_signed_bytes_is_in_one_domain() -> None:
    for domain, message in MESSAGES.items():
        assert domain_of(message) is domain


def test_a_signature_of_one_purpose_is_worth_nothing_for_another() -> None:
    for made, asked in itertools.product(MESSAGES, repeat=2):
        signature = ANN.sign_message(made, MESSAGES[made])
        if made is asked:
            ANN.public.verify_message(signature, asked, MESSAGES[asked])
            continue
        with pytest.raises(SignatureInvalidError):
            ANN.public.verify_message(signature, asked, MESSAGES[asked])
        with pytest.raises(SignatureInvalidError, match=f"no {asked.value}"):
            ANN.public.verify_message(signature, asked, MESSAGES[made])
        with pytest.raises(ValueError, match=f"no {asked.value}"):
            ANN.sign_message(asked, MESSAGES[made])


def test_labelled_signatures_are_of_their_own_domain_whatever_is_signed() -> None:
    """A digest field that holds a whole checkpoint, cosignature or envelope changes nothing."""
    for name, label in vars(keys).items():
        if not name.endswith("_LABEL"):
            continue
        for message in MESSAGES.values():
            signature = ANN.sign(label, message)
            with pytest.raises(SignatureInvalidError):
                ANN.public.verify_message(signature, domain_of(message), message)  # type: ignore[arg-type]  # each is of a domain
            assert domain_of(label + b"\x00" + message) is Domain.LABELLED


@pytest.mark.parametrize(
    "message",
    [b"", b"\n", b"no newline", b"two words\n1\n", b"subtree/v1\n\x00", b"\x00", b"a+b\n"],
)
def test_bytes_of_no_domain_are_never_signed(message: bytes) -> None:
    assert domain_of(message) is None
    for domain in Domain:
        with pytest.raises(ValueError, match="message to sign"):
            ANN.sign_message(domain, message)


@given(st.binary(max_size=40))
@settings(max_examples=200)
def test_no_note_text_is_of_two_domains(tail: bytes) -> None:
    for start in (b"", b"DSSEv1 ", b"cosignature/v1\n", b"feddiff-secure v1 ", b"o\n"):
        message = start + tail
        if domain_of(message) is Domain.CHECKPOINT:
            assert b" " not in message.partition(b"\n")[0]
            assert not message.startswith((b"DSSEv1 ", b"cosignature/v1\n", b"feddiff-secure v1 "))


def cosigned(names: str) -> Note:
    note = CHECKPOINT.sign(LOG)
    for i, name in enumerate(names.split()):
        note = note.with_signature(cosign(CHECKPOINT, name, OWNERS[name], 100 + i))
    return note


COSIGNED = cosigned("ann bob cy dee").to_bytes()


def policy(colluders: int) -> LogPolicy:
    return LogPolicy(ORIGIN, LOG.public, REGISTRY, colluders)


@pytest.mark.parametrize(
    ("owners", "colluders", "quorum"),
    [
        *[(1, 0, 1), (2, 0, 2), (2, 1, 2), (3, 0, 2), (3, 1, 3), (4, 0, 3), (4, 1, 3), (4, 3, 4)],
        *[(100, 0, 51), (100, 1, 51), (100, 2, 52), (100, 33, 67)],
    ],
)
def test_the_quorum_is_more_than_half_of_owners_and_colluders(
    owners: int, colluders: int, quorum: int
) -> None:
    registry = Registry({f"p{i}": IdentityPublic(bytes([i + 2]) * 32) for i in range(owners)})
    chosen = LogPolicy(ORIGIN, LOG.public, registry, colluders)
    assert chosen.quorum == quorum
    honest = owners - colluders
    shown_to_one_half = honest // 2 + colluders  # the best split of the honest ones
    assert shown_to_one_half < quorum <= owners


@pytest.mark.parametrize("colluders", [-1, 4, 5])
def test_colluders_for_whom_no_claim_can_be_made_are_refused(colluders: int) -> None:
    with pytest.raises(PolicyError, match="colluders"):
        policy(colluders)


def test_a_quorum_satisfies_and_one_less_does_not() -> None:
    result = policy(1).verify(cosigned("ann bob dee"))
    assert result.checkpoint == CHECKPOINT
    assert result.times == {"ann": 100, "bob": 101, "dee": 102}
    assert result.unknown == ()
    with pytest.raises(QuorumError, match="2 cosignatures, fewer than 3 of 4 with 1"):
        policy(1).verify(cosigned("ann bob"))


def test_one_witness_counts_once() -> None:
    """A second line of one key cannot even be written; under another name it is unknown."""
    note = cosigned("ann bob").with_signature(cosign(CHECKPOINT, "ann2", ANN, 5))
    with pytest.raises(QuorumError):
        policy(1).verify(note)
    with pytest.raises(DecodeError, match="two signature lines"):
        parse_note(note.to_bytes() + cosign(CHECKPOINT, "ann", ANN, 6).line.encode())


def test_a_strangers_line_counts_for_nothing_and_is_reported() -> None:
    stranger = cosign(CHECKPOINT, "eve", EVE, 5)
    impostor = cosign(CHECKPOINT, "dee", EVE, 5)  # dee's name under another key
    note = cosigned("ann bob").with_signature(stranger).with_signature(impostor)
    with pytest.raises(QuorumError):
        policy(1).verify(note)
    enough = cosigned("ann bob cy").with_signature(stranger).with_signature(impostor)
    assert policy(1).verify(enough).unknown == (stranger, impostor)


def test_an_invalid_line_of_a_known_witness_refuses_the_whole_note() -> None:
    line = cosign(Checkpoint(ORIGIN, 8, ROOT), "dee", DEE, 5)
    with pytest.raises(LogSignatureError, match="dee"):
        policy(1).verify(cosigned("ann bob cy").with_signature(line))


def test_cosignatures_do_not_replace_the_logs_signature() -> None:
    note = cosigned("ann bob cy dee")
    unsigned = Note(note.text, note.signatures[1:])
    with pytest.raises(CheckpointRefusedError, match="no signature"):
        policy(0).verify(unsigned)


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=200)
def test_no_flipped_bit_of_a_cosigned_checkpoint_is_believed(at: int, bit: int) -> None:
    """Where every line is needed, nothing in the file is malleable."""
    data = bytearray(COSIGNED)
    data[at % len(data)] ^= 1 << bit
    with pytest.raises((DecodeError, CheckpointRefusedError)):
        policy(3).verify(parse_note(bytes(data)))


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=100)
def test_a_flipped_bit_that_is_believed_shows_as_an_unknown_line(at: int, bit: int) -> None:
    """Where one line is to spare, a change can only make a line that the policy does not know."""
    data = bytearray(COSIGNED)
    data[at % len(data)] ^= 1 << bit
    try:
        result = policy(1).verify(parse_note(bytes(data)))
    except (DecodeError, CheckpointRefusedError):
        return
    assert result.checkpoint == CHECKPOINT
    assert len(result.unknown) == 1


def test_a_log_that_cannot_be_told_from_a_cosigner_is_no_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two keys with one name and one 4-byte key ID: made by force here, 2^32 work elsewhere."""
    same = Registry({"ann": ANN.public})
    LogPolicy("ann", LOG.public, same, 0)
    monkeypatch.setattr("feddiff_crypto.tlog.policy.key_id", lambda *_: bytes(4))
    with pytest.raises(ValueError, match="both"):
        LogPolicy("ann", LOG.public, same, 0)
