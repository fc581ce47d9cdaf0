"""Secret sharing (Shamir, CACM 22(11), 1979): t of n shares open a secret, t − 1 tell nothing.

The field is ℤ_p with p = 2²⁵⁷ − 93, the largest prime below 2²⁵⁷: every 32-byte secret is an
element, and a share's value takes 33 bytes. Python's integers are not constant-time; an observer
who can time the owner's own machine is outside the threat model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from feddiff_crypto.errors import ShareError
from feddiff_crypto.randomness import RandomBytes

PRIME: Final = 2**257 - 93
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33  # a field element, big-endian
MAX_SHARES: Final = 2**16  # far above any roster, far below the field


@dataclass(frozen=True, slots=True)
class Share:
    """The point (x, y) of a secret polynomial; y is never shown.

    Args:
        x: 1 ≤ x ≤ 2¹⁶, the owner's position on the roster counted from 1.
        y: 0 ≤ y < p.

    Raises:
        ShareError: x or y out of range.
    """

    x: int
    y: int = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.x <= MAX_SHARES:
            raise ShareError(f"share position {self.x} is not in 1..{MAX_SHARES}")
        if not 0 <= self.y < PRIME:
            raise ShareError(f"share at {self.x}: value is not below the field's prime")

    def to_bytes(self) -> bytes:
        """The value y, 33 bytes big-endian; the position goes without saying."""
        return self.y.to_bytes(SHARE_BYTES, "big")

    @classmethod
    def from_bytes(cls, x: int, raw: bytes) -> Share:
        """The share at position `x` with the value `raw`.

        Raises:
            ShareError: not 33 bytes, or out of range.
        """
        if len(raw) != SHARE_BYTES:
            raise ShareError(f"share at {x}: {len(raw)} bytes, expected {SHARE_BYTES}")
        return cls(x, int.from_bytes(raw, "big"))


def split(secret: bytes, threshold: int, xs: Sequence[int], random: RandomBytes) -> list[Share]:
    """Shares of `secret` at the positions `xs`, any `threshold` of which open it.

    Args:
        secret: 32 bytes.
        threshold: t, in 1..len(xs).
        xs: distinct positions ≥ 1.
        random: source of the polynomial's coefficients.

    Raises:
        ValueError: a number or length out of range, or a repeated position.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"secret: {len(secret)} bytes, expected {SECRET_BYTES}")
    if not 1 <= threshold <= len(xs):
        raise ValueError(f"threshold: {threshold} is not in 1..{len(xs)}")
    if len(set(xs)) != len(xs) or not all(1 <= x <= MAX_SHARES for x in xs):
        raise ValueError(f"positions are not distinct and in 1..{MAX_SHARES}: {list(xs)}")
    coefficients = [_element(random) for _ in range(threshold - 1)]
    coefficients.append(int.from_bytes(secret, "big"))  # highest power first, the secret last
    shares = []
    for x in xs:
        y = 0
        for coefficient in coefficients:  # Horner
            y = (y * x + coefficient) % PRIME
        shares.append(Share(x, y))
    return shares


def combine(shares: Sequence[Share], threshold: int) -> bytes:
    """The secret that exactly `threshold` shares open.

    Wrong shares in range give a wrong secret or an error; whoever needs to know checks the secret
    against a commitment.

    Raises:
        ValueError: `threshold` < 1.
        ShareError: not exactly `threshold` shares, a repeated position, or a result that is no
            32-byte secret.
    """
    if threshold < 1:
        raise ValueError(f"threshold: {threshold} < 1")
    if len(shares) != threshold:
        raise ShareError(f"{len(shares)} shares, expected exactly {threshold}")
    xs = tuple(share.x for share in shares)
    if len(set(xs)) != len(xs):
        raise ShareError(f"repeated share positions: {sorted(xs)}")
    weights = _lagrange_at_zero(xs)
    secret = sum(w * share.y for w, share in zip(weights, shares, strict=True)) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise ShareError("the shares open no 32-byte secret: at least one is wrong")
    return secret.to_bytes(SECRET_BYTES, "big")


@lru_cache(maxsize=64)  # positions are public; one round opens all its secrets with one set
def _lagrange_at_zero(xs: tuple[int, ...]) -> tuple[int, ...]:
    """Weights λ_i = Π_{j≠i} x_j / (x_j − x_i) mod p, so that f(0) = Σ λ_i f(x_i)."""
    weights = []
    for x in xs:
        numerator = denominator = 1
        for other in xs:
            if other != x:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - x) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(weights)


def _element(random: RandomBytes) -> int:
    """A uniform field element, by rejection from 257 bits (p misses 93 of 2²⁵⁷ values)."""
    while True:
        candidate = int.from_bytes(random.random_bytes(SHARE_BYTES), "big") >> 7
        if candidate < PRIME:
            return candidate
