"""DSSE: a payload, what it is, and who signed both (protocol version 1.0.2).

The signed bytes are `DSSEv1 <length of type> <type> <length of payload> <payload>`, so neither can
pass for the other, and their first word keeps them apart from everything else that an identity key
signs (`domains`).

The envelope is a JSON object. This is a stricter profile of it, so that an envelope has one form:
RFC 8785, standard base64, at least one signature, each with the `keyid` of a party, in strictly
ascending order. Where DSSE skips a signature that does not verify, this profile refuses the
envelope: a party that is named as signer has signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from feddiff_crypto.base64_form import read_base64, write_base64
from feddiff_crypto.domains import ENVELOPE_PREFIX, Domain
from feddiff_crypto.errors import DecodeError, LimitError, SignatureInvalidError
from feddiff_crypto.jcs import jcs, parse_jcs
from feddiff_crypto.keys import SIGNATURE_BYTES, IdentityKey, Registry, is_party_name

MAX_PAYLOAD_BYTES: Final = 2**22
MAX_ENVELOPE_BYTES: Final = 2**23
MAX_SIGNERS: Final = 128
_TYPE: Final = re.compile(r"[!-~]{1,255}", re.ASCII)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return ENVELOPE_PREFIX + b"%d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and its signatures; parsing verifies none of them.

    Args:
        payload_type: 1 to 255 visible ASCII characters, a media type or URI.
        payload: at most 4 MiB.
        signatures: party → its 64 bytes, for 1 to 128 parties.

    Raises:
        ValueError: one of them outside its limits.
    """

    payload_type: str
    payload: bytes
    signatures: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if not _TYPE.fullmatch(self.payload_type):
            raise ValueError("payloadType: not 1 to 255 visible ASCII characters")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"payload: {len(self.payload)} bytes > limit {MAX_PAYLOAD_BYTES}")
        if not 1 <= len(self.signatures) <= MAX_SIGNERS:
            raise ValueError(f"{len(self.signatures)} signatures, not in 1..{MAX_SIGNERS}")
        for party, signature in self.signatures.items():
            if not is_party_name(party) or len(signature) != SIGNATURE_BYTES:
                raise ValueError(f"{party[:64]!a}: no party name, or no {SIGNATURE_BYTES} bytes")
        object.__setattr__(self, "signatures", dict(sorted(self.signatures.items())))

    @classmethod
    def sign(
        cls, payload_type: str, payload: bytes, signers: Mapping[str, IdentityKey]
    ) -> Envelope:
        """The envelope of `payload` signed by each of `signers`, party → key.

        Raises:
            ValueError: something outside its limits.
        """
        message = pae(payload_type, payload)
        signed = {
            party: key.sign_message(Domain.ATTESTATION, message) for party, key in signers.items()
        }
        return cls(payload_type, payload, signed)

    def verify(self, registry: Registry) -> tuple[str, ...]:
        """The parties that signed, if every signature is that of the pinned party it names.

        Raises:
            RosterError: a party that is not pinned.
            SignatureInvalidError: a signature that is not valid; the error names the party.
        """
        message = pae(self.payload_type, self.payload)
        for party, signature in self.signatures.items():
            try:
                registry.identity(party).verify_message(signature, Domain.ATTESTATION, message)
            except SignatureInvalidError as error:
                raise SignatureInvalidError(str(error), party=party) from None
        return tuple(self.signatures)

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        return jcs(
            {
                "payload": write_base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": party, "sig": write_base64(signature)}
                    for party, signature in self.signatures.items()
                ],
            }
        )


def parse_envelope(data: bytes) -> Envelope:
    """Read an envelope; its signatures are not verified and its payload is not looked into.

    Raises:
        LimitError: larger, or with more signatures, than an envelope may be.
        DecodeError: not the one form of an envelope; the message names the field.
    """
    content = parse_jcs(data, "envelope", MAX_ENVELOPE_BYTES)
    if not isinstance(content, dict) or content.keys() != {"payload", "payloadType", "signatures"}:
        raise DecodeError("envelope: not an object of payload, payloadType and signatures")
    rows = content["signatures"]
    if not isinstance(rows, list):
        raise DecodeError(f"envelope.signatures: {type(rows).__name__}, expected list")
    if len(rows) > MAX_SIGNERS:
        raise LimitError(f"envelope.signatures: {len(rows)} > limit {MAX_SIGNERS}")
    signatures = dict(_parse_signature(row) for row in rows)
    payload = read_base64(_read_text(content, "payload"), "envelope.payload")
    try:
        envelope = Envelope(_read_text(content, "payloadType"), payload, signatures)
    except ValueError as error:
        raise DecodeError(f"envelope: {error}") from None
    if envelope.to_bytes() != data:  # parties out of order or repeated
        raise DecodeError("envelope: its keyids are not in strictly ascending order")
    return envelope


def _parse_signature(row: Any) -> tuple[str, bytes]:
    if not isinstance(row, dict) or row.keys() != {"keyid", "sig"}:
        raise DecodeError("envelope.signatures: an entry is not an object of keyid and sig")
    return _read_text(row, "keyid"), read_base64(_read_text(row, "sig"), "envelope.signatures.sig")


def _read_text(content: dict[str, Any], name: str) -> str:
    value = content[name]
    if not isinstance(value, str):
        raise DecodeError(f"envelope: {name}: {type(value).__name__}, expected text")
    return value
