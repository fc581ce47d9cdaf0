"""DSSE envelopes and in-toto Statements: published vectors, one form, and who signed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.attest import dsse, statement
from feddiff_crypto.attest.dsse import Envelope, pae, parse_envelope
from feddiff_crypto.attest.statement import (
    AUDIT_PREDICATE,
    PAYLOAD_TYPE,
    RUN_PREDICATE,
    Statement,
    parse_statement,
    verify_attestation,
)
from feddiff_crypto.errors import (
    CryptoError,
    DecodeError,
    LimitError,
    RosterError,
    SignatureInvalidError,
)
from feddiff_crypto.jcs import jcs
from feddiff_crypto.keys import CONSISTENCY_LABEL, IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom

RANDOM = SecureRandom()
ANN, BOB, EVE = (IdentityKey.generate(RANDOM) for _ in range(3))
REGISTRY = Registry({"ann": ANN.public, "bob": BOB.public})
STATEMENT = Statement(
    {"model.safetensors": bytes(32), "config.toml": bytes(range(32))},
    RUN_PREDICATE,
    {"version": "0.1.0", "ε": 8},
)
ENVELOPE = STATEMENT.sign({"bob": BOB, "ann": ANN})
DATA = ENVELOPE.to_bytes()


def test_the_signed_bytes_are_those_of_the_dsse_protocol() -> None:
    """github.com/secure-systems-lab/dsse, protocol.md: its example and the signature over it."""
    message = pae("http://example.com/HelloWorld", b"hello world")
    assert message == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    raw = base64.b64decode(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )
    halves = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    secret = 97358161215184420915383655311931858321456579547487070936769975997791359926199
    public = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
    assert public.public_numbers().x == int(
        "46950820868899156662930047687818585632848591499744589407958293238635476079160"
    )
    public.verify(encode_dss_signature(*halves), message, ec.ECDSA(SHA256()))


# The same repository, testvectors/vectors.json: Ed25519 keys of RFC 8032, section 7.1.
A = IdentityKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
B = IdentityKey(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
VECTOR_KEYS = Registry({"A": A.public, "B": B.public})
VECTOR_PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'
VECTOR_SIGNATURES = {
    "A": "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==",
    "B": "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw==",
}


def published(kind: str, payload: bytes, **signatures: str) -> bytes:
    rows = [{"keyid": name, "sig": value} for name, value in signatures.items()]
    encoded = base64.b64encode(payload).decode()
    return jcs({"payload": encoded, "payloadType": kind, "signatures": rows})


def test_published_envelopes_verify_and_are_made_again() -> None:
    two = parse_envelope(published(PAYLOAD_TYPE, VECTOR_PAYLOAD, **VECTOR_SIGNATURES))
    assert two.verify(VECTOR_KEYS) == ("A", "B")
    assert Envelope.sign(PAYLOAD_TYPE, VECTOR_PAYLOAD, {"A": A, "B": B}) == two
    empty = (
        "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg=="
    )
    assert parse_envelope(published(PAYLOAD_TYPE, b"", A=empty)).verify(VECTOR_KEYS) == ("A",)


def test_published_envelopes_that_must_be_rejected_are() -> None:
    swapped = published("application/vnd.example.other+json", VECTOR_PAYLOAD, **VECTOR_SIGNATURES)
    with pytest.raises(SignatureInvalidError, match="A"):  # payload-type-swapped
        parse_envelope(swapped).verify(VECTOR_KEYS)
    untyped = (
        "iC3q/+3Rm0+lpAJRueDmDh15PnwCfxKmS0NAfKsbv+zgulXQC/WM9trc+j1XEqlwDIg/vf/uNfebeD6sxInrDg=="
    )
    with pytest.raises(DecodeError, match="payloadType"):  # empty-payload-type
        parse_envelope(published("", VECTOR_PAYLOAD, A=untyped))
    content = json.loads(published(PAYLOAD_TYPE, VECTOR_PAYLOAD, A=VECTOR_SIGNATURES["A"]))
    content["signatures"] *= 2  # threshold-two-one-key-twice
    with pytest.raises(DecodeError, match="ascending"):
        parse_envelope(jcs(content))


def test_lengths_are_counted_in_bytes() -> None:
    """vectors.json, non-ascii-payload-type: 29 bytes, 28 characters."""
    message = pae("application/vnd.exämple+json", VECTOR_PAYLOAD)
    assert message.startswith(b"DSSEv1 29 application/vnd.ex\xc3\xa4mple+json 43 ")


def verify(data: bytes, *signers: str, kind: str = RUN_PREDICATE) -> Statement:
    return verify_attestation(data, REGISTRY, signers, kind)


def test_a_statement_comes_back_with_its_signers_verified() -> None:
    assert verify(DATA, "ann", "bob") == STATEMENT
    assert verify(DATA) == STATEMENT
    assert parse_envelope(DATA) == ENVELOPE
    assert parse_statement(STATEMENT.to_bytes()) == STATEMENT


def test_a_signer_who_is_wanted_and_did_not_sign_is_named() -> None:
    with pytest.raises(SignatureInvalidError, match="bob: did not sign") as caught:
        verify(STATEMENT.sign({"ann": ANN}).to_bytes(), "ann", "bob")
    assert caught.value.party == "bob"


def test_a_signature_by_another_key_is_refused() -> None:
    with pytest.raises(SignatureInvalidError, match="ann") as caught:
        verify(STATEMENT.sign({"ann": EVE, "bob": BOB}).to_bytes(), "bob")
    assert caught.value.party == "ann"
    with pytest.raises(RosterError, match="eve"):
        verify(STATEMENT.sign({"bob": BOB, "eve": EVE}).to_bytes(), "bob")


def test_signatures_of_other_purposes_are_refused() -> None:
    message = pae(PAYLOAD_TYPE, STATEMENT.to_bytes())
    for signature in (ANN.sign(CONSISTENCY_LABEL, message), bytes(64)):
        forged = Envelope(PAYLOAD_TYPE, STATEMENT.to_bytes(), {"ann": signature})
        with pytest.raises(SignatureInvalidError):
            verify(forged.to_bytes())


def test_a_statement_of_another_kind_or_type_is_refused() -> None:
    with pytest.raises(DecodeError, match="predicateType"):
        verify(DATA, kind=AUDIT_PREDICATE)
    other = Envelope.sign("application/json", STATEMENT.to_bytes(), {"ann": ANN})
    with pytest.raises(DecodeError, match="payloadType"):
        verify(other.to_bytes())


def envelope(**changes: Any) -> bytes:
    return jcs({**json.loads(DATA), **changes})


ROWS = json.loads(DATA)["signatures"]
PAYLOAD = json.loads(DATA)["payload"]
BAD_ENVELOPES = {
    "indented": (json.dumps(json.loads(DATA), indent=1).encode(), "canonical"),
    "a list": (b"[]", "object"),
    "a further field": (envelope(extra=1), "object of payload"),
    "no signature": (envelope(signatures=[]), "0 signatures"),
    "signatures no list": (envelope(signatures={}), "expected list"),
    "no keyid": (envelope(signatures=[{"sig": ROWS[0]["sig"]}]), "keyid"),
    "a certificate beside it": (envelope(signatures=[{**ROWS[0], "cert": ""}]), "keyid"),
    "keyid a number": (envelope(signatures=[{**ROWS[0], "keyid": 1}]), "keyid"),
    "keyid no party": (envelope(signatures=[{**ROWS[0], "keyid": "a b"}]), "party"),
    "another order": (envelope(signatures=ROWS[::-1]), "ascending"),
    "one party twice": (envelope(signatures=[ROWS[0], ROWS[0]]), "ascending"),
    "a short signature": (envelope(signatures=[{**ROWS[0], "sig": "AAAA"}]), "64 bytes"),
    "URL-safe base64": (envelope(payload="-_-_Pj8="), "base64"),
    "payload a number": (envelope(payload=1), "payload: int"),
    "a type with a space": (envelope(payloadType="a b"), "payloadType"),
    "no type": (envelope(payloadType=""), "payloadType"),
    "not UTF-8": (b"\xff", "UTF-8|utf-8|codec"),
}


@pytest.mark.parametrize(("data", "words"), BAD_ENVELOPES.values(), ids=BAD_ENVELOPES.keys())
def test_what_is_not_an_envelope_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        parse_envelope(data)


def content(**changes: Any) -> bytes:
    return jcs({**json.loads(STATEMENT.to_bytes()), **changes})


SUBJECTS = json.loads(STATEMENT.to_bytes())["subject"]
DIGEST = SUBJECTS[0]["digest"]
BAD_STATEMENTS = {
    "indented": (json.dumps(json.loads(STATEMENT.to_bytes()), indent=1).encode(), "canonical"),
    "a list": (b"[]", "object"),
    "a further field": (content(extra=1), "object of"),
    "another version": (content(_type="https://in-toto.io/Statement/v0.1"), "_type"),
    "no subject": (content(subject=[]), "0 files"),
    "subject no list": (content(subject={}), "another type"),
    "another order": (content(subject=SUBJECTS[::-1]), "ascending"),
    "one file twice": (content(subject=[SUBJECTS[0]] * 2), "ascending"),
    "a subject without a name": (content(subject=[{"digest": DIGEST}]), "digest and name"),
    "a subject with a place": (
        content(subject=[{**SUBJECTS[0], "uri": "https://example.com"}]),
        "digest and name",
    ),
    "a name of two lines": (content(subject=[{"name": "a\nb", "digest": DIGEST}]), "printable"),
    "a name that is no text": (content(subject=[{"name": 1, "digest": DIGEST}]), "name"),
    "another digest": (content(subject=[{"name": "a", "digest": {"sha1": "00" * 20}}]), "sha256"),
    "a further digest": (
        content(subject=[{"name": "a", "digest": {**DIGEST, "sha1": "00" * 20}}]),
        "sha256",
    ),
    "a short digest": (content(subject=[{"name": "a", "digest": {"sha256": "00"}}]), "hex"),
    "upper-case hex": (content(subject=[{"name": "a", "digest": {"sha256": "A" * 64}}]), "hex"),
    "an unknown predicate": (content(predicateType="https://slsa.dev/provenance/v1"), "unknown"),
    "predicate a list": (content(predicate=[]), "another type"),
    "predicate null": (content(predicate=None), "another type"),
}


@pytest.mark.parametrize(("data", "words"), BAD_STATEMENTS.values(), ids=BAD_STATEMENTS.keys())
def test_what_is_not_a_statement_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        parse_statement(data)
    signed = Envelope.sign(PAYLOAD_TYPE, data, {"ann": ANN}).to_bytes()
    with pytest.raises(DecodeError, match=words):
        verify(signed)


def test_the_payload_is_not_read_before_its_signatures_hold() -> None:
    forged = Envelope(PAYLOAD_TYPE, b"no statement", {"ann": bytes(64)})
    with pytest.raises(SignatureInvalidError):
        verify(forged.to_bytes())


def test_limits_are_refused_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsse, "MAX_SIGNERS", 1)
    with pytest.raises(LimitError, match="2 > limit 1"):
        parse_envelope(DATA)
    with pytest.raises(ValueError, match="2 signatures"):
        STATEMENT.sign({"ann": ANN, "bob": BOB})
    monkeypatch.setattr(dsse, "MAX_ENVELOPE_BYTES", 10)
    with pytest.raises(LimitError, match="limit 10"):
        parse_envelope(DATA)
    monkeypatch.setattr(dsse, "MAX_PAYLOAD_BYTES", 10)
    with pytest.raises(ValueError, match="limit 10"):
        STATEMENT.sign({"ann": ANN})
    monkeypatch.setattr(statement, "MAX_SUBJECTS", 1)
    with pytest.raises(LimitError, match="2 > limit 1"):
        parse_statement(STATEMENT.to_bytes())
    with pytest.raises(ValueError, match="2 files"):
        Statement({"a": bytes(32), "b": bytes(32)}, RUN_PREDICATE, {})


@pytest.mark.parametrize(
    ("subjects", "kind"),
    [
        ({}, RUN_PREDICATE),
        ({"a": bytes(31)}, RUN_PREDICATE),
        ({"": bytes(32)}, RUN_PREDICATE),
        ({"é": bytes(32)}, RUN_PREDICATE),
        ({"a": bytes(32)}, "https://example.com"),
    ],
)
def test_a_callers_impossible_statement_is_refused(subjects: dict[str, bytes], kind: str) -> None:
    with pytest.raises(ValueError, match=r"subject|predicateType"):
        Statement(subjects, kind, {})


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=200)
def test_no_flipped_bit_of_an_attestation_is_believed(at: int, bit: int) -> None:
    data = bytearray(DATA)
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(CryptoError):
        verify(bytes(data))


names = st.text("abc/._- XYZ09", min_size=1, max_size=12)


@given(
    st.dictionaries(names, st.binary(min_size=32, max_size=32), min_size=1, max_size=6),
    st.dictionaries(names, st.integers(-9, 9) | st.text(max_size=3, alphabet="aé\n")),
)
@settings(max_examples=60)
def test_whatever_is_stated_reads_back(subjects: dict[str, bytes], predicate: Any) -> None:
    made = Statement(subjects, AUDIT_PREDICATE, predicate)
    assert verify(made.sign({"ann": ANN}).to_bytes(), "ann", kind=AUDIT_PREDICATE) == made
