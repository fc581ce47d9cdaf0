"""Mask streams against AES itself, and the loop that adds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.prg import MaskSeed, add_masks

SEEDS = st.lists(st.binary(min_size=32, max_size=32).map(MaskSeed), max_size=4)
CHUNK = 2**18  # bytes; sizes around it are where a loop goes wrong


def reference(seed: MaskSeed, size: int, dtype: type[Any]) -> np.ndarray[Any, Any]:
    """AES-256 on the counter blocks 0, 1, 2, … one by one, big-endian counters."""
    encryptor = Cipher(algorithms.AES256(seed.key), modes.ECB()).encryptor()
    width = np.dtype(dtype).itemsize
    blocks = -(-size * width // 16)
    raw = b"".join(encryptor.update(i.to_bytes(16, "big")) for i in range(blocks))
    return np.frombuffer(raw[: size * width], np.dtype(dtype).newbyteorder("<"))


@given(SEEDS, SEEDS, st.integers(0, 70), st.sampled_from([np.uint32, np.uint64]))
@settings(max_examples=50)
def test_masks_are_aes_in_counter_mode(
    plus: list[MaskSeed], minus: list[MaskSeed], size: int, dtype: type[Any]
) -> None:
    start = np.arange(size, dtype=dtype) * dtype(2**31)
    expected = start.copy()
    for seed in plus:
        expected += reference(seed, size, dtype)
    for seed in minus:
        expected -= reference(seed, size, dtype)
    add_masks(start, plus, minus)
    assert (start == expected).all()


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_chunks_join_without_a_seam(dtype: type[Any], offset: int) -> None:
    size = CHUNK // np.dtype(dtype).itemsize + offset
    seed = MaskSeed(bytes(range(32)))
    vector = np.zeros(size, dtype)
    add_masks(vector, [seed])
    assert (vector == reference(seed, size, dtype)).all()


@given(SEEDS, st.integers(1, 70))
@settings(max_examples=30)
def test_what_is_added_and_subtracted_cancels(seeds: list[MaskSeed], size: int) -> None:
    vector = np.arange(size, dtype=np.uint32)
    add_masks(vector, seeds)
    add_masks(vector, (), seeds)
    assert (vector == np.arange(size)).all()


def test_a_seed_hides_itself_and_has_32_bytes() -> None:
    assert "00" not in repr(MaskSeed(bytes(32)))
    assert "x" not in repr(MaskSeed(bytes(32)))
    for length in (0, 16, 31, 33):
        with pytest.raises(ValueError, match=str(length)):
            MaskSeed(bytes(length))


def test_other_accumulators_are_the_callers_bug() -> None:
    frozen = np.zeros(4, np.uint32)
    frozen.flags.writeable = False
    for bad, error in (
        (np.zeros(4, np.int32), TypeError),
        (np.zeros((2, 2), np.uint32), ValueError),
        (np.zeros(8, np.uint32)[::2], ValueError),
        (frozen, ValueError),
    ):
        with pytest.raises(error, match="accumulator"):
            add_masks(bad, [])  # type: ignore[arg-type]  # wrong on purpose
