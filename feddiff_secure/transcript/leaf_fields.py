"""The fields of a leaf, read strictly: exact names, types, lengths and ranges.

A log's parser has already made sure that a leaf is a JSON object in its one form (RFC 8785), so two
readers cannot see two objects in it. Here it becomes one of the leaves that this version knows, or
a `DecodeError` that names leaf and field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from feddiff_crypto.errors import DecodeError
from feddiff_crypto.jcs import Json
from feddiff_crypto.keys import is_party_name
from feddiff_crypto.masking.policy import MAX_OWNERS
from feddiff_crypto.rotation import read_hex

MOST_INDEX: Final = 2**31 - 1
_PRINTABLE: Final = re.compile(r"[ -~]{0,200}", re.ASCII)


class LeafFields:
    """The fields of one leaf.

    Args:
        leaf: a JSON object.
        kind: what its `kind` must be.
        names: the other fields, exactly.

    Raises:
        DecodeError: another kind, or a missing or unknown field. So do all methods, for a value of
            another type, length or range; each message names the field.
    """

    def __init__(self, leaf: Mapping[str, Any], kind: str, names: Iterable[str]) -> None:
        self._leaf = dict(leaf)
        self._kind = kind
        if leaf.get("kind") != kind:
            raise DecodeError(f"leaf: kind {str(leaf.get('kind'))[:40]!a}, expected {kind}")
        odd = sorted(leaf.keys() ^ {"kind", *names})[:8]
        if odd:
            raise DecodeError(f"{kind}: missing or unknown fields {odd}")

    def blob(self, name: str, length: int) -> bytes:
        """`length` bytes as lower-case hex."""
        return read_hex(self._leaf, self._kind, name, length)

    def blob_or_none(self, name: str, length: int) -> bytes | None:
        """The same, or null."""
        return None if self._leaf[name] is None else self.blob(name, length)

    def index(self, name: str) -> int:
        """An integer in 0..2³¹ − 1."""
        value = self._leaf[name]
        if type(value) is not int or not 0 <= value <= MOST_INDEX:
            raise self._error(name, f"{str(value)[:40]} is no integer in 0..{MOST_INDEX}")
        return value

    def text(self, name: str) -> str:
        """Up to 200 printable ASCII characters."""
        value = self._leaf[name]
        if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
            raise self._error(name, "not up to 200 printable ASCII characters")
        return value

    def party(self, name: str) -> str:
        """A party's name."""
        value = self._leaf[name]
        if not isinstance(value, str) or not is_party_name(value):
            raise self._error(name, f"{str(value)[:64]!a} is no party name")
        return value

    def parties(self, name: str) -> tuple[str, ...]:
        """Party names in strictly ascending order, at most 100."""
        value = self._leaf[name]
        if not isinstance(value, list) or len(value) > MAX_OWNERS:
            raise self._error(name, f"not a list of at most {MAX_OWNERS} names")
        for item in value:
            if not isinstance(item, str) or not is_party_name(item):
                raise self._error(name, f"{str(item)[:64]!a} is no party name")
        if any(a >= b for a, b in pairwise(value)):
            raise self._error(name, "names are not strictly ascending")
        return tuple(value)

    def table(self, name: str, length: int) -> dict[str, bytes]:
        """An object of party name → `length` bytes as hex, at most 100, by ascending names."""
        value = self.mapping(name)
        if len(value) > MAX_OWNERS:
            raise self._error(name, f"{len(value)} parties > limit {MAX_OWNERS}")
        for party in value:
            if not is_party_name(party):
                raise self._error(name, f"{party[:64]!a} is no party name")
        where = f"{self._kind}.{name}"
        return {party: read_hex(value, where, party, length) for party in sorted(value)}

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON object, whatever is in it."""
        value = self._leaf[name]
        if not isinstance(value, dict):
            raise self._error(name, f"{type(value).__name__}, expected an object")
        return value

    def objects(self, name: str, most: int) -> list[dict[str, Any]]:
        """A list of at most `most` JSON objects."""
        value = self._leaf[name]
        if not isinstance(value, list) or len(value) > most:
            raise self._error(name, f"not a list of at most {most} objects")
        if not all(isinstance(item, dict) for item in value):
            raise self._error(name, "an entry is no object")
        return value

    def lines(self, name: str, most: int) -> tuple[str, ...]:
        """A list of at most `most` texts."""
        value = self._leaf[name]
        if not isinstance(value, list) or len(value) > most:
            raise self._error(name, f"not a list of at most {most} texts")
        if not all(isinstance(item, str) for item in value):
            raise self._error(name, "an entry is no text")
        return tuple(value)

    def choice(self, name: str, allowed: Iterable[str]) -> str:
        """One of some texts."""
        value = self._leaf[name]
        if not isinstance(value, str) or value not in set(allowed):
            raise self._error(name, f"{str(value)[:40]!a} is not one of {sorted(allowed)}")
        return value

    def _error(self, name: str, what: str) -> DecodeError:
        return DecodeError(f"{self._kind}.{name}: {what}")


def hex_table(table: Mapping[str, bytes]) -> dict[str, Json]:
    """Party → bytes, as a leaf writes it."""
    return {party: value.hex() for party, value in table.items()}
