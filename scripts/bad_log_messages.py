"""The attacks on parsers of logs and attestations: see make_bad_messages.py."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from log_vectors import attestation, witnessed

from feddiff_crypto.jcs import jcs

_LOG, _, _PROOF, _STATE = witnessed()
_LINES: Final = _LOG.to_bytes().splitlines(keepends=True)
_NOTE: Final = _PROOF.note.to_bytes()
_TEXT: Final = _PROOF.note.text.encode()
_FILE: Final = _PROOF.to_bytes()
(_SIGNED,) = attestation()["vectors"]
_ENVELOPE: Final[dict[str, Any]] = json.loads(_SIGNED["envelope"])
_STATEMENT: Final[dict[str, Any]] = json.loads(_SIGNED["statement"])
_ROWS: Final[list[dict[str, Any]]] = _STATEMENT["subject"]
_EXTRA: Final = b"extra " + base64.b64encode(_PROOF.leaf)
_ANN: Final = _NOTE.split(b"\n")[5] + b"\n"  # after the text, an empty line and the log's line
_EMPTY: Final = b"example.com/log\n0\n" + base64.b64encode(bytes(32)) + b"\n"
_FIRST: Final = _TEXT.partition(b"\n")[0]

# parser, attack, bytes, error, words of its message, why it is an attack
ROWS: Final[list[tuple[str, str, bytes, str, str, str]]] = [
    ("json", "repeated-name", b'{"a":1,"a":2}', "DecodeError", "canonical",
     "a value that two JSON readers understand differently"),
    ("json", "rounded-integer", b"9007199254740993", "DecodeError", "canonical",
     "a number that readers with doubles take for another"),
    ("json", "lone-surrogate", b'"\\ud800"', "DecodeError", "surrogates",
     "text that has no UTF-8, so that each library hashes something else"),
    ("json", "deep-nesting", b"[" * 4096, "DecodeError", "JSON", "a parser's stack exhausted"),
    ("json", "huge-number", b"1" * 4096, "DecodeError", "4096 digits",
     "a number whose conversion takes quadratic time"),
    ("log", "cut-off-leaf", _LOG.to_bytes()[:-1], "DecodeError", "cut off",
     "a log that ends in the middle of a leaf"),
    ("log", "empty-line", _LINES[0] + b"\n" + _LINES[1], "DecodeError", "leaf 1",
     "a leaf that a reader of lines skips, so that all later ones move"),
    ("log", "leaf-in-another-form", _LINES[0].replace(b":", b": "), "DecodeError", "canonical",
     "one object with two hashes"),
    ("log", "leaf-no-object", b'"roster"\n', "DecodeError", "expected an object",
     "a leaf without named fields"),
    ("note", "key-twice", _NOTE + _ANN, "DecodeError", "two signature lines",
     "one witness counted twice"),
    ("note", "loose-base64", _NOTE.replace(b"==\n", b"\n", 1), "DecodeError", "base64",
     "a second form of one signature"),
    ("note", "carriage-return", _NOTE.replace(b"\n", b"\r\n"), "DecodeError", "empty line",
     "a text that is signed one way and shown another"),
    ("note", "space-in-name", _NOTE.replace(b" ann ", " ann\u2003bob ".encode()), "DecodeError",
     "key name", "one name that reads as two"),
    ("note", "many-lines", _TEXT + b"\n" + b"\n" * 200, "DecodeError", "empty line",
     "signature lines that are empty"),
    ("checkpoint", "extension", _TEXT + b"extension\n", "DecodeError", "4 lines",
     "words that witnesses sign without saying anything about them"),
    ("checkpoint", "cosignature-as-origin", _TEXT.replace(_FIRST, b"cosignature/v1"),
     "DecodeError", "origin", "a log's signature that reads as the start of a cosignature"),
    ("checkpoint", "envelope-as-origin", _TEXT.replace(_FIRST, b"DSSEv1 1 a 9 x"), "DecodeError",
     "origin", "a log's signature that reads as an attestation"),
    ("checkpoint", "leading-zero", _TEXT.replace(b"\n5\n", b"\n05\n"), "DecodeError", "decimal",
     "a second form of one size"),
    ("checkpoint", "size-2-63", _TEXT.replace(b"\n5\n", b"\n9223372036854775808\n"),
     "DecodeError", "decimal", "a size that overflows signed integers"),
    ("checkpoint", "root-of-nothing", _EMPTY, "DecodeError", "no leaves",
     "an empty log with a hash of its own choice"),
    ("witness-state", "size-true", _STATE.replace(b'"size": 5', b'"size": true'), "DecodeError",
     "integer", "true equals 1 in Python: a memory of one leaf"),
    ("witness-state", "size-below-zero", _STATE.replace(b'"size": 5', b'"size": -5'),
     "DecodeError", "size", "a memory that every rollback continues"),
    ("witness-state", "repeated-field",
     _STATE.replace(b'"size": 5', b'"size": 5,\n   "size": 1'), "DecodeError", "canonical",
     "two memories of one log"),
    ("log-proof", "no-leaf", _FILE.replace(_EXTRA + b"\n", b""), "DecodeError", "extra",
     "a proof that says nothing of what it proves"),
    ("log-proof", "leaf-read-two-ways",
     _FILE.replace(_EXTRA, b"extra " + base64.b64encode(b'{"a":1,"a":2}')), "DecodeError",
     "canonical", "a logged leaf that two readers understand differently"),
    ("log-proof", "long-path",
     _FILE.replace(b"\n\n", b"\n" + b"\n".join([base64.b64encode(bytes(32))] * 64) + b"\n\n", 1),
     "LimitError", "hashes", "a path that takes long to walk"),
    ("log-proof", "negative-index", _FILE.replace(b"index 3", b"index -3"), "DecodeError",
     "index", "an index that counts from the end"),
    ("envelope", "repeated-signer",
     jcs({**_ENVELOPE, "signatures": [_ENVELOPE["signatures"][0]] * 2}), "DecodeError",
     "ascending", "one signer counted twice"),
    ("envelope", "no-signature", jcs({**_ENVELOPE, "signatures": []}), "DecodeError",
     "0 signatures", "an envelope of which every signature is valid"),
    ("envelope", "url-safe-base64", jcs({**_ENVELOPE, "payload": "-_8="}), "DecodeError",
     "base64", "a second form of one payload"),
    ("envelope", "empty-type", jcs({**_ENVELOPE, "payloadType": ""}), "DecodeError",
     "payloadType", "a payload that may be anything"),
    ("statement", "weak-digest",
     jcs({**_STATEMENT, "subject": [{"digest": {"md5": "00" * 16}, "name": "a"}]}),
     "DecodeError", "sha256", "a file that another one can be found for"),
    ("statement", "one-file-twice",
     jcs({**_STATEMENT, "subject": [{**_ROWS[0], "name": "a"}, {**_ROWS[1], "name": "a"}]}),
     "DecodeError", "ascending", "two digests for one file"),
    ("statement", "older-version",
     jcs({**_STATEMENT, "_type": "https://in-toto.io/Statement/v0.1"}), "DecodeError", "_type",
     "a format whose fields mean something else"),
]  # fmt: skip
