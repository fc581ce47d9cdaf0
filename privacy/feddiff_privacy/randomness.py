"""The source of secure randomness, as the mechanisms here see it.

Noise and sampling draw from this type only. It is a protocol, because the generator itself
belongs to the cryptographic package, which this one does not import; `numpy.random.Generator`
does not satisfy it, so simulation randomness cannot be passed where secrecy is needed.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SecureBytes(Protocol):
    """A cryptographically secure generator seeded by the operating system."""

    def random_bytes(self, n: int, /) -> bytes:
        """Return n fresh bytes, never returned before."""
        ...


def words(source: SecureBytes, count: int) -> NDArray[np.uint64]:
    """`count` independent uniform 64-bit words."""
    return np.frombuffer(source.random_bytes(8 * count), dtype="<u8")
