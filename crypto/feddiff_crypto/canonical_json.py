"""Small files that people read too: JSON objects in exactly one form.

The form is Python's `json` with sorted keys, one space of indent and ASCII only, and a newline at
the end. A reader parses, checks every field, and writes again: only bytes that come out the same
are accepted, so repeated keys, other spaces, other escapes and other number forms are all refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from feddiff_crypto.errors import DecodeError, LimitError


def canonical_json(content: dict[str, Any]) -> bytes:
    """The one form of `content`."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def parse_canonical(
    data: bytes, kind: str, version: int, fields: Iterable[str], max_bytes: int
) -> dict[str, Any]:
    """Read a file `{"format": kind, "version": version, …}` that has exactly `fields` beside these.

    Args:
        data: bytes from anywhere.
        kind: the value of its field `format`.
        version: the value of its field `version`.
        fields: its other fields; the caller checks their types.
        max_bytes: the largest file that is parsed.

    Raises:
        LimitError: larger than `max_bytes`.
        DecodeError: not such a file, or not in the one form.
    """
    if len(data) > max_bytes:
        raise LimitError(f"{kind}: {len(data)} bytes > limit {max_bytes}")
    try:
        content = json.loads(data.decode("ascii"))
        if not isinstance(content, dict) or content.get("format") != kind:
            raise DecodeError(f"{kind}: its field format is not {kind!r}")
        again = canonical_json(content)
    except (ValueError, RecursionError) as error:  # bad text, bad JSON, huge numbers, deep nesting
        raise DecodeError(f"{kind}: not JSON in ASCII: {str(error)[:80]}") from None
    stated = content.get("version")
    if type(stated) is not int or stated != version or again != data:  # 1, not 1.0 or true
        raise DecodeError(f"{kind}: not version {version} in its one canonical form")
    expected = {"format", "version", *fields}
    if content.keys() != expected:
        odd = sorted(content.keys() ^ expected)[:8]
        raise DecodeError(f"{kind}: missing or unknown fields {odd}")
    return content
