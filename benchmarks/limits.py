"""The floor of a mask: AES-256-CTR of zeros and one addition, in the same chunks, nothing else."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_CHUNK_BYTES: Final = 2**18


def mask_limit(parameters: int, repeats: int = 7) -> float:
    """Nanoseconds of CPU a parameter: the least of `repeats` passes over `parameters` elements."""
    stream = Cipher(algorithms.AES256(bytes(32)), modes.CTR(bytes(16))).encryptor()
    zeros, buffer = bytes(_CHUNK_BYTES), bytearray(_CHUNK_BYTES + 16)
    masks = np.frombuffer(buffer, np.uint32, _CHUNK_BYTES // 4)
    chunk = np.zeros(_CHUNK_BYTES // 4, np.uint32)
    passes = max(1, parameters // chunk.size)
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(passes):
            stream.update_into(zeros, buffer)
            np.add(chunk, masks, out=chunk)
        best = min(best, time.process_time() - began)
    return best / (passes * chunk.size) * 1e9
