"""`rosters.jsonl`: the adverts of every masked release, one line each, in the order of the log.

A line is the RFC 8785 JSON `{"roster": "<base64>"}` of a roster message as it was on the wire. A
roster names nothing secret, so it stays when vectors and opened secrets are pruned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from feddiff_crypto.base64_form import read_base64, write_base64
from feddiff_crypto.encoding import decode
from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.jcs import jcs, parse_jcs
from feddiff_crypto.masking.adverts import Roster
from feddiff_secure.transcript.digests import message_bytes

MAX_LINE_BYTES: Final = 2**20
MAX_BYTES: Final = 2**30


def roster_line(roster: Roster) -> bytes:
    """The line of a roster, with its newline."""
    return jcs({"roster": write_base64(message_bytes(roster.to_message()))}) + b"\n"


def write_rosters(rosters: Iterable[Roster]) -> bytes:
    """The one form of the file."""
    return b"".join(roster_line(roster) for roster in rosters)


def parse_rosters(data: bytes) -> tuple[Roster, ...]:
    """Read the file; no signature is verified.

    Raises:
        LimitError: larger than a run's may be.
        DecodeError: not such a file; the message names the line.
    """
    if len(data) > MAX_BYTES:
        raise LimitError(f"rosters: {len(data)} bytes > limit {MAX_BYTES}")
    if data and not data.endswith(b"\n"):
        raise DecodeError("rosters: the last line is cut off")
    return tuple(
        _parse_line(line, f"rosters: line {number}")
        for number, line in enumerate(data.split(b"\n")[:-1], start=1)
    )


def _parse_line(line: bytes, what: str) -> Roster:
    content = parse_jcs(line, what, MAX_LINE_BYTES)
    if not isinstance(content, dict) or content.keys() != {"roster"}:
        raise DecodeError(f"{what}: not an object of roster")
    if not isinstance(content["roster"], str):
        raise DecodeError(f"{what}: roster is no text")
    return Roster.from_message(decode(read_base64(content["roster"], what)))
