"""Strict reading of the flat fields of a message, and writing of the columns they hold.

A list of parties travels as one text of names in strictly ascending order, one a line; what belongs
to each party travels as a uint8 array with one row a party. Both are canonical: there is one way to
write each list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import DecodeError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.keys import is_party_name
from feddiff_crypto.masking.policy import MAX_OWNERS


class Fields:
    """The fields of one received message of a known kind.

    Args:
        message: what the codec decoded.
        kind: the value its field `kind` must have.
        names: the other fields, exactly.
        hybrid: fields that a message of the hybrid key agreement has in addition, all or none.

    Raises:
        DecodeError: another kind, or a missing or unknown field. So do all methods, for a field of
            another type, length or range; each message names the field.
    """

    def __init__(
        self,
        message: Mapping[str, Value],
        kind: str,
        names: Iterable[str],
        hybrid: Iterable[str] = (),
    ) -> None:
        self._message = message
        self._kind = kind
        hybrid = set(hybrid)
        self.is_hybrid = not hybrid.isdisjoint(message)
        """Whether the message has the fields of the hybrid key agreement."""
        if self._field("kind", str) != kind:
            raise DecodeError(f"{kind}: kind is {str(message['kind'])[:64]!r}")
        expected = {"kind", *names, *(hybrid if self.is_hybrid else ())}
        if message.keys() != expected:
            odd = sorted(message.keys() ^ expected)[:8]
            raise DecodeError(f"{kind}: missing or unknown fields {odd}")

    def blob(self, name: str, length: int) -> bytes:
        """A byte string of `length` bytes."""
        value: bytes = self._field(name, bytes)
        if len(value) != length:
            raise self._error(name, f"{len(value)} bytes, expected {length}")
        return value

    def party(self, name: str) -> str:
        """A party's name."""
        value: str = self._field(name, str)
        if not is_party_name(value):
            raise self._error(name, f"{value[:64]!r} is not a party name")
        return value

    def parties(self, name: str, *, least: int) -> tuple[str, ...]:
        """Names in strictly ascending order, `least` to 100 of them."""
        value: str = self._field(name, str)
        parties = tuple(value.split("\n", MAX_OWNERS)) if value else ()
        if not least <= len(parties) <= MAX_OWNERS:
            raise self._error(name, f"{len(parties)} parties, not in {least}..{MAX_OWNERS}")
        for party in parties:
            if not is_party_name(party):
                raise self._error(name, f"{party[:64]!r} is not a party name")
        if any(a >= b for a, b in pairwise(parties)):
            raise self._error(name, "names are not strictly ascending")
        return parties

    def rows(self, name: str, count: int, width: int) -> tuple[bytes, ...]:
        """`count` rows of `width` bytes each."""
        value: NDArray[Any] = self._field(name, np.ndarray)
        if value.dtype != np.uint8 or value.shape != (count, width):
            raise self._error(name, f"{value.dtype}{value.shape}, expected uint8{(count, width)}")
        return tuple(row.tobytes() for row in value)

    def length(self, name: str) -> int:
        """How many rows an array has, whatever else it is; for a field that may be empty."""
        value: NDArray[Any] = self._field(name, np.ndarray)
        if value.ndim != 2:
            raise self._error(name, f"{value.ndim} axes, expected 2")
        return int(value.shape[0])

    def ring_vector(self, name: str) -> RingArray:
        """A vector of ring elements with at least one element."""
        value: NDArray[Any] = self._field(name, np.ndarray)
        if value.dtype not in (np.uint32, np.uint64) or value.ndim != 1 or not value.size:
            raise self._error(name, f"{value.dtype}{value.shape} is not a vector of ring elements")
        return value

    def _field(self, name: str, expected: type[Any]) -> Any:
        value = self._message.get(name)
        if type(value) is not expected:
            raise self._error(name, f"{type(value).__name__}, expected {expected.__name__}")
        return value

    def _error(self, name: str, what: str) -> DecodeError:
        return DecodeError(f"{self._kind}.{name}: {what}")


def join_parties(parties: Iterable[str]) -> str:
    """Names as one text, in ascending order."""
    return "\n".join(sorted(parties))


def stack_rows(rows: Iterable[bytes], width: int) -> NDArray[np.uint8]:
    """Rows of `width` bytes as a uint8 array (rows, width).

    Raises:
        ValueError: a row of another length.
    """
    rows = list(rows)
    if any(len(row) != width for row in rows):
        raise ValueError(f"rows of {sorted({len(r) for r in rows})} bytes, expected {width}")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


def stack_by_party(table: Mapping[str, bytes], width: int) -> NDArray[np.uint8]:
    """The values of `table` as rows, in ascending order of the names."""
    return stack_rows((table[party] for party in sorted(table)), width)
