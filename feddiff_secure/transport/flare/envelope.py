"""What FLARE carries for us: one opaque blob of our own codec, a phase and a number.

FLARE moves dictionaries in an encoding of its own. Ours hold text, an integer and bytes, so that
nothing of the protocol is ever an object of that encoding; the bytes are those of
`feddiff_crypto.encoding` and are read by it alone, after their size was checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nvflare.apis.shareable import Shareable

from feddiff_crypto.encoding import DEFAULT_LIMITS, decode, encode
from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_secure.transport.exchange import Message

TOPIC: Final = "feddiff.message"
THERE: Final = "feddiff.there"
"""A question that every job process answers at once, empty both ways: whether it is there."""
MOST_BLOB_BYTES: Final = DEFAULT_LIMITS.max_message_bytes
MOST_PHASE_LETTERS: Final = 32
_PHASE, _NUMBER, _BLOB = "feddiff_phase", "feddiff_number", "feddiff_blob"


@dataclass(frozen=True, slots=True)
class Request:
    """One message to a site.

    Attributes:
        phase: of the protocol.
        number: of the exchange it belongs to, from 1; grows within a job.
        message: its fields.
    """

    phase: str
    number: int
    message: Message


def pack_request(phase: str, number: int, message: Message) -> Shareable:
    """The request as FLARE carries it."""
    carried = _carried(message)
    carried[_PHASE], carried[_NUMBER] = phase, number
    return carried


def unpack_request(carried: Mapping[str, Any]) -> Request:
    """Read a request.

    Raises:
        DecodeError: not of its form.
        LimitError: larger than any message.
    """
    phase, number = carried.get(_PHASE), carried.get(_NUMBER)
    if not isinstance(phase, str) or not 1 <= len(phase) <= MOST_PHASE_LETTERS:
        raise DecodeError("request: no phase")
    if type(number) is not int or number < 1:
        raise DecodeError("request: no number")
    return Request(phase, number, _message(carried))


def pack_reply(message: Message) -> Shareable:
    """The reply as FLARE carries it."""
    return _carried(message)


def unpack_reply(carried: Mapping[str, Any]) -> Message:
    """Read a reply.

    Raises:
        DecodeError: not of its form.
        LimitError: larger than any message.
    """
    return _message(carried)


def envelope_bytes(carried: Mapping[str, Any]) -> int:
    """Size of the blob: what is counted as traffic."""
    return len(carried[_BLOB])


def _carried(message: Message) -> Shareable:
    carried = Shareable()
    carried[_BLOB] = encode(message)
    return carried


def _message(carried: Mapping[str, Any]) -> Message:
    blob = carried.get(_BLOB)
    if not isinstance(blob, bytes):
        raise DecodeError("message: no blob")
    if len(blob) > MOST_BLOB_BYTES:
        raise LimitError(f"message: {len(blob)} bytes > {MOST_BLOB_BYTES}")
    return decode(blob)
