"""Signed notes: the published examples, one form only, and what is not a note."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.keys import IdentityPublic
from feddiff_crypto.tlog.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    NoteSignature,
    SignatureType,
    is_key_name,
    key_id,
    parse_note,
)

# The example of golang.org/x/mod/sumdb/note (note.go, note_test.go).
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
    "KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WW"
    "d1RvMc+QQ=\n"
)
PETER_PUBLIC = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
ENOCH_PUBLIC = base64.b64decode("ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop")
PETER_PRIVATE = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
NOTE = (TEXT + "\n" + PETER_LINE + ENOCH_LINE).encode()


def test_the_known_example_reads_verifies_and_writes_again() -> None:
    note = parse_note(NOTE)
    assert note.text == TEXT
    assert note.to_bytes() == NOTE
    expected = (("PeterNeumann", "c74f20a3", PETER_PUBLIC), ("EnochRoot", "af0cfe78", ENOCH_PUBLIC))
    for signature, (name, hexed, key) in zip(note.signatures, expected, strict=True):
        assert key[0] == SignatureType.ED25519
        identifier = key_id(name, SignatureType.ED25519, IdentityPublic(key[1:]))
        assert signature.key == (name, identifier)
        assert identifier.hex() == hexed
        Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature.signature, TEXT.encode())


def test_the_known_private_key_makes_the_known_line() -> None:
    private = Ed25519PrivateKey.from_private_bytes(PETER_PRIVATE[1:])
    public = IdentityPublic(private.public_key().public_bytes_raw())
    identifier = key_id("PeterNeumann", SignatureType.ED25519, public)
    line = NoteSignature("PeterNeumann", identifier, private.sign(TEXT.encode())).line
    assert line == PETER_LINE


def test_the_example_of_the_specification_reads() -> None:
    """c2sp.org/signed-note: its text has an empty line and is not ASCII."""
    line = (
        "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMou"
        "FSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    )
    text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n"
    data = f"{text}ed è subito sera.\n\n{line}".encode()
    note = parse_note(data)
    assert note.text.endswith(":\n\ned è subito sera.\n")
    assert [s.name for s in note.signatures] == ["quasimodo.example/salvatore"]
    assert note.to_bytes() == data


BAD = {  # the malformed notes of note_test.go, and more
    "no signature": TEXT.encode(),
    "an empty line and no signature": (TEXT + "\n").encode(),
    "no newline at the end": (TEXT + "\n" + PETER_LINE[:-1]).encode(),
    "a control character": b"\x01" + NOTE,
    "a tabulator": b"\t" + NOTE,
    "a carriage return": NOTE.replace(b"\n", b"\r\n"),
    "not UTF-8": b"\xff" + NOTE,
    "a name with a space": NOTE.replace(b"PeterNeumann", b"Bad Name"),
    "a name with a plus": NOTE.replace(b"PeterNeumann", b"Bad+Name"),
    "a name with a no-break space": NOTE.replace(b"PeterNeumann", b"Bad\xc2\xa0Name"),
    "a name with a line separator": NOTE.replace(b"PeterNeumann", b"Bad\xe2\x80\xa8Name"),
    "no name": NOTE.replace(b"PeterNeumann ", b" "),
    "a long name": NOTE.replace(b"PeterNeumann", b"p" * 256),
    "a line that is no signature": NOTE + b"Unexpected line.\n",
    "a hyphen for the dash": NOTE.replace("—".encode(), b"-"),
    "two spaces": NOTE.replace(b"PeterNeumann ", b"PeterNeumann  "),
    "a space at the end": NOTE.replace(b"nAM=", b"nAM= "),
    "no padding": NOTE.replace(b"nAM=", b"nAM"),
    "bits behind the last byte": NOTE.replace(b"nAM=", b"nAN="),
    "URL-safe base64": NOTE.replace(b"x08go/ZJ", b"x08go_ZJ"),
    "no signature bytes": (TEXT + "\n— PeterNeumann x08gow==\n").encode(),
    "a short key ID": (TEXT + "\n— PeterNeumann x08g\n").encode(),
    "two lines of one key": NOTE + PETER_LINE.encode(),
    "a blank line at the end": NOTE + b"\n",
    "nothing": b"",
    "text without a newline": "\n— x AAAAAAA=\n".encode(),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_not_a_note_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="note"):
        parse_note(data)


def test_lines_of_unknown_algorithms_are_kept_as_they_are() -> None:
    blob = base64.b64encode(b"\x01\x02\x03\x04" + bytes(2420)).decode()
    data = NOTE + f"— post.quantum/w {blob}\n".encode()
    assert parse_note(data).to_bytes() == data


def test_a_note_too_long_or_with_too_many_lines_is_refused_before_it_is_read() -> None:
    with pytest.raises(LimitError, match="1048576"):
        parse_note(bytes(MAX_NOTE_BYTES + 1))
    lines = [f"— w{i} {base64.b64encode(bytes(5)).decode()}\n" for i in range(MAX_SIGNATURES + 1)]
    parse_note((TEXT + "\n" + "".join(lines[1:])).encode())
    with pytest.raises(LimitError, match="128"):
        parse_note((TEXT + "\n" + "".join(lines)).encode())


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\x1fb", "a\u2003b", "\ud800", "é" * 128]
)
def test_what_is_not_a_key_name_is_told_apart(name: str) -> None:
    assert not is_key_name(name)
    with pytest.raises(ValueError, match="key name"):
        NoteSignature(name, bytes(4), b"s")


def test_a_callers_impossible_note_is_refused() -> None:
    line = NoteSignature("ann", bytes(4), b"s")
    for text, signatures in (
        ("no newline", (line,)),
        ("bell\a\n", (line,)),
        ("\ud800\n", (line,)),
        (TEXT, ()),
        (TEXT, (line, line)),
    ):
        with pytest.raises(ValueError, match=r"text|signature|surrogates"):
            Note(text, signatures)
    for identifier, signature in ((bytes(3), b"s"), (bytes(4), b""), (bytes(4), bytes(8193))):
        with pytest.raises(ValueError, match="bytes"):
            NoteSignature("ann", identifier, signature)


def test_a_new_line_of_a_key_takes_the_place_of_its_old_one() -> None:
    note = parse_note(NOTE)
    peter = note.signatures[0]
    again = note.with_signature(NoteSignature(peter.name, peter.key_id, b"new"))
    assert [(s.name, s.signature[:3]) for s in again.signatures] == [
        ("EnochRoot", note.signatures[1].signature[:3]),
        ("PeterNeumann", b"new"),
    ]


CHARACTERS = "\x00\x1f\x7f !+-/=AZaz09\u0085\u00a0é\u200b\u2014\u2028\ufeff\U0001f600"
names = st.text(CHARACTERS, min_size=1, max_size=20).filter(is_key_name)
lines = st.builds(
    NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=90)
)
texts = st.text(CHARACTERS.lstrip("\x00\x1f") + "\n", max_size=60)


@given(texts, st.lists(lines, min_size=1, max_size=5, unique_by=lambda s: s.key))
@settings(max_examples=150)
def test_whatever_is_written_reads_back(text: str, signatures: list[NoteSignature]) -> None:
    note = Note(text + "\n", tuple(signatures))
    assert parse_note(note.to_bytes()) == note
