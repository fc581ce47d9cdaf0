"""The phase `prior` on an owner's side: all its tiles, labelled or not, and the HSI branch.

In a round an owner sums one gradient a tile of the diffusion loss with respect to the adapter. A
tile's gradient is the mean over its pixels, each averaged over the round's public draws already
(`model/adapter_gradient.py`), and then it is clipped: one tile moves the sum by at most C, however
many pixels it holds and however many draws there are. A pixel that is missing is left out, a tile
without HSI counts as zero, and so does a tile with a value that is not a number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.clipping import TileExamples
from feddiff_secure.federation.examples import Described, labelled_examples, with_diffusion
from feddiff_secure.model.adapter import ADAPTED
from feddiff_secure.model.adapter_gradient import public_draws, spectrum_gradients
from feddiff_secure.model.descriptors import pixels
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.model.wavelengths import standardise

Array = NDArray[np.float64]

_PIXELS_AT_ONCE = 4096  # whose gradients are in memory
_MARGIN = 1 - 1e-12  # a clipped norm may not exceed C by float64 rounding


class AdaptableTiles:
    """An owner's tiles, with what follows from them under an adapter.

    Args:
        features: ψ with the shipped branch, of a run that adapts it.
        described: all the owner's tiles, described by it.
    """

    def __init__(self, features: FeatureMap, described: Described) -> None:
        self._features = features
        self._described = described
        self._signal: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None
        self._adapted: tuple[bytes, Described] | None = None
        self._examples: tuple[bytes, TileExamples] | None = None

    @property
    def size(self) -> int:
        """P, numbers in the adapter."""
        return 0 if self._features.adapter is None else len(self._features.adapter)

    def described(self, adapter: Array) -> Described:
        """The tiles described under an adapter; the last answer is kept."""
        key = adapter.tobytes()
        if self._adapted is None or self._adapted[0] != key:
            features = self._features.with_adapter(adapter)
            self._adapted = key, with_diffusion(features, self._described)
        return self._adapted[1]

    def examples(self, adapter: Array) -> TileExamples:
        """The labelled tiles under an adapter; the last answer is kept."""
        key = adapter.tobytes()
        if self._examples is None or self._examples[0] != key:
            described = self.described(adapter)
            self._examples = key, labelled_examples(self._features, described)
        return self._examples[1]

    def clipped_gradients(self, adapter: Array, clip: float, round_index: int) -> Array:
        """Σ over tiles of clip_C(mean over pixels of the loss's gradient), (P,).

        Args:
            adapter: where gradients are taken.
            clip: C > 0, the L2 bound of one tile's contribution.
            round_index: of the phase: the public seed of its draws, the same for every owner, tile
                and run.
        """
        total = np.zeros(self.size)
        for means in self._tile_gradients(adapter, round_index):
            norms = np.linalg.norm(means, axis=1)
            usable = np.isfinite(norms)
            factor = np.minimum(1.0, clip / np.maximum(norms[usable], 1e-300)) * _MARGIN
            total += factor @ means[usable]
        return total

    def _tile_gradients(self, adapter: Array, round_index: int) -> Iterator[Array]:
        """The gradients of some tiles at a time, before clipping, (tiles, P)."""
        signal, starts = self._spectra()
        ends = np.append(starts[1:], len(signal))
        draws = public_draws((round_index,), signal.shape[1])
        prior, sampling = self._features.priors[ADAPTED], self._features.resampling
        first = 0
        while first < len(starts):
            last = int(np.searchsorted(ends, starts[first] + _PIXELS_AT_ONCE, side="right"))
            last = max(first + 1, last)
            rows = signal[starts[first] : ends[last - 1]]
            found = spectrum_gradients(prior, rows, sampling, adapter, draws)
            at = starts[first:last] - starts[first]
            yield np.add.reduceat(found, at) / (ends - starts)[first:last, None]
            first = last

    def _spectra(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Standardised spectra of all pixels there are, by tile, and where each tile begins."""
        if self._signal is None:
            signal, units = [], []
            for block in self._described.tiles:
                if block.hsi is None:
                    continue
                valid = block.valid.get(ADAPTED)
                there = np.ones(block.label.size, bool) if valid is None else valid.ravel()
                spectra = pixels(block.hsi)[there]
                signal.append(standardise(spectra, self._features.resampling))
                units.append(np.repeat(block.unit, block.height * block.width)[there])
            points = len(self._features.resampling.covered)
            rows = np.concatenate([np.empty((0, points), np.float32), *signal])
            unit = np.concatenate([np.empty(0, np.int64), *units])
            order = np.argsort(unit, kind="stable")
            _, starts = np.unique(unit[order], return_index=True)
            self._signal = rows[order], starts.astype(np.int64)
        return self._signal
