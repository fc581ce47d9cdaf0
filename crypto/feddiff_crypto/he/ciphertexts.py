"""The chunks of one encrypted vector as plain arrays, checked before anything computes on them.

A chunk is a ciphertext (c₀, c₁) over ℤ_q[X]/(X⁴⁰⁹⁶ + 1) in SEAL's transformed order. A seeded one
carries c₀ and the 64-byte public seed that c₁ is expanded from: 16.03 bytes an element. A whole one
carries both: 32 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import DecodeError
from feddiff_crypto.he.memory_file import MemoryFile
from feddiff_crypto.he.parameters import DEGREE, MAX_DIMENSION, MODULUS, SCALE, SLOTS
from feddiff_crypto.he.seal import Seal
from feddiff_crypto.he.seal_format import SEED_BYTES, Residues

MAX_CHUNKS: Final = MAX_DIMENSION // SLOTS


@dataclass(frozen=True, slots=True, eq=False)
class Ciphertexts:
    """One encrypted vector.

    Args:
        residues: uint64 (chunks, 1 or 2, 4096), each below q: c₀ of seeded chunks, or c₀ and c₁.
        seeds: uint8 (chunks, 64) of seeded chunks, else (0, 64).

    Raises:
        DecodeError: other types or shapes, a residue ≥ q, or a c₁ that is zero: such a chunk would
            be a plaintext in a ciphertext's clothes.
    """

    residues: Residues = field(repr=False)
    seeds: NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        _check_array("residues", self.residues, np.dtype("<u8"), (None, None, DEGREE))
        chunks, polynomials, _ = self.residues.shape
        if not 1 <= chunks <= MAX_CHUNKS or polynomials not in (1, 2):
            raise DecodeError(f"residues: {chunks} chunks of {polynomials} polynomials")
        seeded = chunks if polynomials == 1 else 0
        _check_array("seeds", self.seeds, np.dtype("u1"), (seeded, SEED_BYTES))
        if int(self.residues.max()) >= MODULUS:
            raise DecodeError(f"residues: {int(self.residues.max())} ≥ q = {MODULUS}")
        if polynomials == 2 and not self.residues[:, 1].any(axis=1).all():
            raise DecodeError("residues: a chunk whose second polynomial is zero hides nothing")

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return int(self.residues.shape[0])

    @property
    def seeded(self) -> bool:
        """Whether c₁ travels as a seed."""
        return bool(self.seeds.size)

    def load(self, chunk: int, seal: Seal, file: MemoryFile) -> Any:
        """One chunk as a ciphertext of SEAL.

        Raises:
            DecodeError: SEAL refuses it all the same.
        """
        seed = self.seeds[chunk].tobytes() if self.seeded else b""
        framed = seal.framing.ciphertext(self.residues[chunk], scale=SCALE, seed=seed)
        try:
            return seal.load_ciphertext(framed, file)
        except (ValueError, RuntimeError) as error:
            raise DecodeError(f"chunk {chunk}: {error}") from error

    def to_fields(self) -> dict[str, Value]:
        """Two fields of a message."""
        return {"residues": self.residues, "seeds": self.seeds}


def check_chunks(ciphertexts: Ciphertexts, expected: int) -> None:
    """Return if there are as many chunks as expected.

    Raises:
        DecodeError: there are not.
    """
    if ciphertexts.chunks != expected:
        raise DecodeError(f"{ciphertexts.chunks} chunks, expected {expected}")


def _check_array(
    name: str, value: object, dtype: np.dtype[Any], shape: tuple[int | None, ...]
) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != len(shape):
        raise DecodeError(f"{name}: {type(value).__name__} is not {dtype} of {len(shape)} axes")
    if any(
        want is not None and have != want for have, want in zip(value.shape, shape, strict=True)
    ):
        raise DecodeError(f"{name}: shape {value.shape}, expected {shape}")
