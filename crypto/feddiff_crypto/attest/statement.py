"""in-toto Statement, version 1: what is claimed (predicate) about which files (subjects).

A subject is a file's name and its SHA-256; a predicate is a JSON object whose meaning its type, a
URI, fixes. This is a stricter profile than in-toto's, so that a statement has one form: RFC 8785,
SHA-256 as the only digest, subjects in strictly ascending order of their names, and no other
fields. (in-toto's readers ignore fields that they do not know; refusing them can only make a reader
more careful.)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from feddiff_crypto.attest.dsse import MAX_PAYLOAD_BYTES, Envelope, parse_envelope
from feddiff_crypto.errors import DecodeError, LimitError, SignatureInvalidError
from feddiff_crypto.jcs import Json, jcs, parse_jcs
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.rotation import read_hex

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
# Names, not addresses: nobody can ever own a host under .invalid (RFC 2606), so nobody else can
# publish another meaning under them.
RUN_PREDICATE: Final = "https://feddiff-secure.invalid/attestation/run/v1"
AUDIT_PREDICATE: Final = "https://feddiff-secure.invalid/attestation/audit/v1"
PREDICATES: Final = frozenset({RUN_PREDICATE, AUDIT_PREDICATE})

MAX_SUBJECTS: Final = 10_000
SHA256_BYTES: Final = 32
_NAME: Final = re.compile(r"[ -~]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """A claim about files.

    Args:
        subjects: name → SHA-256 of the file, for 1 to 10,000 files; a name is 1 to 512 printable
            ASCII characters.
        predicate_type: `RUN_PREDICATE` or `AUDIT_PREDICATE`.
        predicate: a JSON object; its fields are not looked at here.

    Raises:
        ValueError: one of them outside its limits.
    """

    subjects: Mapping[str, bytes]
    predicate_type: str
    predicate: Mapping[str, Json]

    def __post_init__(self) -> None:
        if not 1 <= len(self.subjects) <= MAX_SUBJECTS:
            raise ValueError(f"subject: {len(self.subjects)} files, not in 1..{MAX_SUBJECTS}")
        for name, digest in self.subjects.items():
            if not _NAME.fullmatch(name) or len(digest) != SHA256_BYTES:
                raise ValueError(f"subject: {name[:64]!a}: no printable name, or no SHA-256")
        if self.predicate_type not in PREDICATES:
            raise ValueError(f"predicateType: {self.predicate_type[:80]!a} is unknown")
        object.__setattr__(self, "subjects", dict(sorted(self.subjects.items())))

    def to_bytes(self) -> bytes:
        """The one form.

        Raises:
            ValueError, TypeError: the predicate is no RFC 8785 JSON.
        """
        return jcs(
            {
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"digest": {"sha256": digest.hex()}, "name": name}
                    for name, digest in self.subjects.items()
                ],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )

    def sign(self, signers: Mapping[str, IdentityKey]) -> Envelope:
        """The statement in an envelope signed by each of `signers`, party → key.

        Raises:
            ValueError: too large, or no signer.
        """
        return Envelope.sign(PAYLOAD_TYPE, self.to_bytes(), signers)


def verify_attestation(
    data: bytes, registry: Registry, signers: Collection[str], predicate_type: str
) -> Statement:
    """The statement in an envelope, if the right parties signed it.

    1. The bytes are an envelope in its one form.
    2. Every signature in it is valid under the pinned key of the party it names.
    3. Each of `signers` is among these parties.
    4. The payload is an in-toto Statement in its one form.
    5. Its predicate is of `predicate_type`.

    Nothing of the payload is read before the signatures are verified.

    Raises:
        DecodeError, LimitError: 1, 4 or 5 fails.
        RosterError: a signer that is not pinned.
        SignatureInvalidError: 2 or 3 fails; the error names the party.
    """
    envelope = parse_envelope(data)  # 1
    signed = envelope.verify(registry)  # 2
    for party in sorted(signers):  # 3
        if party not in signed:
            raise SignatureInvalidError("did not sign the attestation", party=party)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise DecodeError(f"envelope: payloadType: not {PAYLOAD_TYPE}")
    statement = parse_statement(envelope.payload)  # 4
    if statement.predicate_type != predicate_type:  # 5
        raise DecodeError(f"statement.predicateType: not {predicate_type}")
    return statement


def parse_statement(data: bytes) -> Statement:
    """Read a statement.

    Raises:
        LimitError: larger, or with more subjects, than a statement may be.
        DecodeError: not the one form of a statement; the message names the field.
    """
    content = parse_jcs(data, "statement", MAX_PAYLOAD_BYTES)
    fields = {"_type", "subject", "predicateType", "predicate"}
    if not isinstance(content, dict) or content.keys() != fields:
        raise DecodeError(f"statement: not an object of {sorted(fields)}")
    if content["_type"] != STATEMENT_TYPE:
        raise DecodeError(f"statement._type: not {STATEMENT_TYPE}")
    rows, kind, predicate = content["subject"], content["predicateType"], content["predicate"]
    if not isinstance(rows, list) or not isinstance(kind, str) or not isinstance(predicate, dict):
        raise DecodeError("statement: subject, predicateType or predicate of another type")
    if len(rows) > MAX_SUBJECTS:
        raise LimitError(f"statement.subject: {len(rows)} > limit {MAX_SUBJECTS}")
    try:
        statement = Statement(dict(_parse_subject(row) for row in rows), kind, predicate)
    except ValueError as error:
        raise DecodeError(f"statement: {error}") from None
    if statement.to_bytes() != data:  # subjects out of order or repeated
        raise DecodeError("statement: its subjects are not in strictly ascending order")
    return statement


def _parse_subject(row: Any) -> tuple[str, bytes]:
    if not isinstance(row, dict) or row.keys() != {"digest", "name"}:
        raise DecodeError("statement.subject: an entry is not an object of digest and name")
    name, digest = row["name"], row["digest"]
    if not isinstance(name, str) or not isinstance(digest, dict) or digest.keys() != {"sha256"}:
        raise DecodeError("statement.subject: no name, or a digest that is not sha256 alone")
    return name, read_hex(digest, "statement.subject.digest", "sha256", SHA256_BYTES)
