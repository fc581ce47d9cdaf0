"""Poisson sampling is independent inclusion: its batch size varies, and may be empty."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from feddiff_privacy.errors import MechanismError
from feddiff_privacy.sampling import TileSampler


class OsBytes:
    """The operating system's randomness, straight."""

    def random_bytes(self, n: int, /) -> bytes:
        return os.urandom(n)


class Constant:
    """A source whose every byte is the same."""

    def __init__(self, byte: int) -> None:
        self.byte = byte

    def random_bytes(self, n: int, /) -> bytes:
        return bytes([self.byte]) * n


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.7])
def test_batch_sizes_are_binomial(rate: float) -> None:
    """A shuffled batch of fixed size has no variance and fails here."""
    tiles, draws = 200, 4000
    sampler = TileSampler(rate)
    sizes = np.array([sampler.draw(tiles, OsBytes()).sum() for _ in range(draws)])
    variance = tiles * rate * (1 - rate)
    assert abs(sizes.mean() - tiles * rate) < 6 * math.sqrt(variance / draws)
    assert abs(sizes.var() / variance - 1) < 6 * math.sqrt(2.5 / draws)
    assert sampler.kind == "poisson"


def test_inclusion_of_two_tiles_is_independent() -> None:
    draws = np.array([TileSampler(0.5).draw(2, OsBytes()) for _ in range(6000)])
    assert abs((draws[:, 0] & draws[:, 1]).mean() - 0.25) < 6 * math.sqrt(0.1875 / 6000)


def test_the_executed_rate_never_exceeds_the_accounted_one() -> None:
    """The word equal to the threshold is out; the largest word is always out below rate 1."""
    assert not TileSampler(1 - 2**-53).draw(5, Constant(0xFF)).any()
    assert TileSampler(1e-3).draw(5, Constant(0)).all()


def test_the_full_batch_takes_every_tile_and_no_randomness() -> None:
    class Refuses:
        def random_bytes(self, n: int, /) -> bytes:
            raise AssertionError("a full batch draws nothing")

    assert TileSampler(1.0).draw(7, Refuses()).all()
    assert TileSampler(1.0).kind == "full_batch"


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, math.nan])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(MechanismError):
        TileSampler(rate)
