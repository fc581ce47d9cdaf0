"""The spectral embedding: a small public network that puts spectra of one material close together.

The noise that privacy needs moves every class score by an amount that depends on ‖ψ‖ alone, so
what survives it is how far classes lie apart. The embedding is trained on simulated materials
only (`scripts/make_embedding.py`) to ignore what one material does not mean: illumination, shade,
mixing, sensor noise. It reads the spectrum standardised on the public wavelength grid, the grid's
coverage by the sensor and the spectrum's level, so any set of bands will do.

The file (`public_tensors.py`) holds float32 `weight.0`, `bias.0`, …, one pair a layer. A file with
anything else in it, or over the size limit, is refused. Numpy only: a row depends on that row
alone, bit for bit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.public_tensors import read_public_tensors, write_public_tensors
from feddiff_secure.model.rowwise import row_matmul
from feddiff_secure.model.wavelengths import GRID_NM, Resampling, standardise

Rows = npt.NDArray[np.float32]

FORMAT = "feddiff-secure embedding 1"
INPUTS = 2 * GRID_NM.size + 1  # spectrum, coverage, level
HIDDEN = 512
OUTPUTS = 48
SHAPES = ((HIDDEN, INPUTS), (HIDDEN, HIDDEN), (OUTPUTS, HIDDEN))  # of the weights, by layer
MAX_EMBEDDING_BYTES = 4 * 1024 * 1024
_HINT = "use the shipped embedding or a file written by scripts/make_embedding.py"


@dataclass(frozen=True, eq=False)
class SpectralEmbedding:
    """A frozen, public embedding of spectra.

    Attributes:
        layers: (weight, bias) float32 of each layer; GELU between layers, unit norm at the end.
        digest: SHA-256 of the file, hexadecimal.
        provenance: what the file says it was trained on (a statement, not verified here).
    """

    layers: tuple[tuple[Rows, Rows], ...]
    digest: str
    provenance: str

    def __call__(self, spectra: Rows, sampling: Resampling) -> Rows:
        """(n, B) reflectance to (n, 48) rows of norm 1."""
        rows = embedding_inputs(spectra, sampling)
        for weight, bias in self.layers[:-1]:
            rows = _gelu(row_matmul(rows, weight) + bias).astype(np.float32)
        weight, bias = self.layers[-1]
        found = row_matmul(rows, weight) + bias
        norm = np.sqrt(np.square(found).sum(axis=1, keepdims=True))
        return np.asarray(found / np.maximum(norm, 1e-12), dtype=np.float32)


def embedding_inputs(spectra: Rows, sampling: Resampling) -> Rows:
    """(n, B) reflectance to (n, 257): standardised spectrum and coverage on the grid, and level."""
    unseen = GRID_NM.size - sampling.covered.size  # shortwave points of a sensor without them
    shape = np.pad(standardise(spectra, sampling), ((0, 0), (0, unseen)))
    covered = np.broadcast_to(np.pad(sampling.covered, (0, unseen)), shape.shape)
    level = np.tanh(2.0 * spectra.astype(np.float64).mean(axis=1, keepdims=True))
    return np.concatenate([shape, covered, level], axis=1).astype(np.float32)


def _gelu(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """x·Φ(x), Hendrycks and Gimpel, arXiv 1606.08415, equation 1."""
    from scipy.special import ndtr  # noqa: PLC0415 - scipy is slow to import

    return np.asarray(x * ndtr(x), dtype=np.float64)


def save_embedding(path: Path, layers: tuple[tuple[Rows, Rows], ...], provenance: str) -> str:
    """Write an embedding file and return its SHA-256; atomic by rename."""
    tensors = {f"weight.{i}": w for i, (w, _) in enumerate(layers)}
    tensors |= {f"bias.{i}": b for i, (_, b) in enumerate(layers)}
    return write_public_tensors(path, tensors, FORMAT, provenance, load_embedding)


@lru_cache(maxsize=1)
def shipped_embedding() -> SpectralEmbedding:
    """The package's own embedding.

    Raises:
        DataError: the installation lacks the file, or it is damaged.
    """
    found = resources.files("feddiff_secure.model") / "priors" / "embedding.safetensors"
    return load_embedding(Path(str(found)))


def load_embedding(path: Path) -> SpectralEmbedding:
    """Load an embedding file.

    Raises:
        DataError: missing, too large, not safetensors, unknown format version, or any tensor
            that is not a finite float32 one of the expected shape.
    """
    expected: dict[str, tuple[int, ...]] = {}
    for number, shape in enumerate(SHAPES):
        expected |= {f"weight.{number}": shape, f"bias.{number}": shape[:1]}
    data, tensors, provenance = read_public_tensors(
        path, FORMAT, expected, MAX_EMBEDDING_BYTES, _HINT
    )
    pairs = tuple((tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(len(SHAPES)))
    return SpectralEmbedding(pairs, hashlib.sha256(data).hexdigest(), provenance)
