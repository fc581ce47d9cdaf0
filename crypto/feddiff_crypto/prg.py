"""Mask streams: a 32-byte seed stretched to a vector of ring elements, added modulo 2ᵏ.

The stream of a seed is the AES-256-CTR keystream of the seed as key, from counter block zero, read
as little-endian uint32 (ring ℤ₂³²) or uint64 (ℤ₂⁶⁴). A zero first block is right because a seed is
derived for one pair of owners, one round and one attempt and makes one stream, from its beginning:
no counter block is ever used twice under one key. What tells the stream from a random one, AES
aside, is that its blocks never repeat: by the PRP/PRF switching lemma an advantage below q²/2¹²⁹
for q blocks, 2⁻⁸⁴ for 10⁷ elements of 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from feddiff_crypto.fixedpoint import RingArray

SEED_BYTES: Final = 32
_CHUNK_BYTES: Final = 2**18  # keystream, plaintext and a slice of the sum stay in the L2 cache
_BLOCK_BYTES: Final = 16  # update_into wants a block of slack in its output
_ZEROS: Final = bytes(_CHUNK_BYTES)


@dataclass(frozen=True, slots=True)
class MaskSeed:
    """The secret that makes one mask stream: 32 bytes, never shown.

    Raises:
        ValueError: not 32 bytes.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != SEED_BYTES:
            raise ValueError(f"a mask seed has {SEED_BYTES} bytes, not {len(self.key)}")


def add_masks(
    accumulator: RingArray, plus: Sequence[MaskSeed], minus: Sequence[MaskSeed] = ()
) -> None:
    """Add the streams of `plus` to `accumulator` and subtract those of `minus`, in place, mod 2ᵏ.

    Chunks are the outer loop and seeds the inner one, so each piece of the accumulator passes
    through the cache once, and the working memory is 512 KiB whatever the number of seeds.

    Args:
        accumulator: one-dimensional, contiguous, writable, uint32 or uint64.
        plus: seeds to add.
        minus: seeds to subtract.

    Raises:
        TypeError: an accumulator of another type.
        ValueError: it is not one-dimensional, contiguous and writable.
    """
    if accumulator.dtype not in (np.uint32, np.uint64):
        raise TypeError(f"accumulator: dtype {accumulator.dtype} is not uint32 or uint64")
    flags = accumulator.flags
    if accumulator.ndim != 1 or not (flags.c_contiguous and flags.writeable):
        raise ValueError("accumulator: not a one-dimensional, contiguous, writable array")
    width = accumulator.dtype.itemsize
    added = [_stream(seed) for seed in plus]
    subtracted = [_stream(seed) for seed in minus]
    buffer = bytearray(_CHUNK_BYTES + _BLOCK_BYTES)
    elements = np.frombuffer(buffer, f"<u{width}", _CHUNK_BYTES // width)
    zeros = memoryview(_ZEROS)
    step = _CHUNK_BYTES // width
    for start in range(0, accumulator.size, step):
        chunk = accumulator[start : start + step]
        masks, plain = elements[: chunk.size], zeros[: chunk.nbytes]
        for stream in added:
            stream.update_into(plain, buffer)
            np.add(chunk, masks, out=chunk)
        for stream in subtracted:
            stream.update_into(plain, buffer)
            np.subtract(chunk, masks, out=chunk)


def _stream(seed: MaskSeed) -> CipherContext:
    return Cipher(algorithms.AES256(seed.key), modes.CTR(bytes(_BLOCK_BYTES))).encryptor()
