"""ψ, the public feature map: from a tile's pixels to the fixed features the model is linear in.

For each modality ψ concatenates one or more parts and a constant; a part takes a descriptor of the
pixel or of its tile (of a spectrum: the public embedding, and diffusion features) and expands it by
random Fourier features of public norm. Over all modalities the squared norms add up to 1. An
absent modality has no ψ, not even its constant, and adds nothing to the scores `Σ_m W_m ψ_m`.
Everything here is public: seeds, scales, sensor constants and the digests of the priors travel in
the model file, and a map that is read back is checked against them before it is used.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from feddiff_secure.config.schema import Spectra
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.errors import DataError
from feddiff_secure.model.adapter import ADAPTED, adapted_prior, adapter_size
from feddiff_secure.model.descriptors import (
    hsi_descriptor,
    hsi_slope,
    lidar_descriptor,
    pixels,
    tile_means,
)
from feddiff_secure.model.embedding import SpectralEmbedding, shipped_embedding
from feddiff_secure.model.features import hsi_features, lidar_features
from feddiff_secure.model.frozen_network import FrozenNetwork, provenance_lines
from feddiff_secure.model.gaps import filled
from feddiff_secure.model.inputs import height_and_intensity
from feddiff_secure.model.kernels import (
    CONSTANT_SHARE,
    KERNELS,
    Columns,
    kinds_of,
    scale_of,
)
from feddiff_secure.model.log_shape import LogShape, shipped_log_shape
from feddiff_secure.model.part import Part, descriptor_length
from feddiff_secure.model.prior import Prior, load_prior
from feddiff_secure.model.projection import FourierProjection
from feddiff_secure.model.wavelengths import Resampling, resampling

if TYPE_CHECKING:
    from feddiff_secure.data.tiles import TileBlock

Floats = npt.NDArray[np.float32]

FORMAT = 3
PART_FEATURES = 512  # random Fourier features a part

VALID = "valid"
"""Beside the sources of a modality of which pixels are missing: which ones are there, (rows, 1)."""

_HINT = "the model file is damaged, or was made by another version or with another prior"


@dataclass(frozen=True)
class FeatureMap:
    """The public map ψ of one sensor layout.

    Attributes:
        layout: the sensors' public constants; may name modalities that some owners lack.
        tile: side of a tile in pixels; 1 has no `tile` parts.
        seed: public seed of the projections.
        parts: in order; those of one modality are concatenated in this order, and then comes its
            constant.
        priors: the branches the diffusion parts read, by modality.
        embedding: the public embedding of spectra; None where no part reads it.
        log_shape: the whitening of log shapes; None where no part reads it.
        adapter: (P,), what `priors["hsi"]` was adapted by (`adapter.py`); None for a map of a run
            that adapts nothing.
    """

    layout: SensorLayout
    tile: int
    seed: int
    parts: tuple[Part, ...]
    priors: Mapping[str, Prior] = field(default_factory=dict)
    embedding: SpectralEmbedding | None = None
    log_shape: LogShape | None = None
    adapter: npt.NDArray[np.float64] | None = None

    @staticmethod
    def public(
        layout: SensorLayout,
        *,
        tile: int,
        seed: int = 0,
        learned: bool = True,
        spectra: Spectra = "robust",
        priors: Mapping[str, Prior] | None = None,
        kinds: Sequence[tuple[str, str]] | None = None,
        adapts: bool = False,
    ) -> FeatureMap:
        """The default map of a layout.

        Args:
            layout: the sensors.
            tile: side of a tile, ≥ 1.
            seed: public seed of the projections.
            learned: whether to use the frozen networks; without them a spectrum is described by
                its DCT, for comparison.
            spectra: how a spectrum is described (`kernels.py`).
            priors: branches to use instead of the shipped ones, by modality.
            kinds: other parts than the default ones, as (modality, source), for comparison; a map
                of others cannot be written to a model file.
            adapts: whether the HSI branch is to be adapted; begins with an adapter of zeros.

        Raises:
            DataError: a shipped prior, or the embedding, is missing or damaged; or there is no HSI
                to adapt a branch to.
        """
        if kinds is None:
            kinds = kinds_of(layout, tile, learned=learned, spectra=spectra)
        embedded = ("hsi", "embedding") in kinds
        needed = {modality for modality, source in kinds if source == "diffusion"}
        loaded = {m: (priors or {}).get(m) or load_prior(m) for m in sorted(needed)}
        if adapts and ADAPTED not in loaded:
            raise DataError(
                "prior dp: the data holds no HSI, whose branch is the one that is adapted",
                "leave out --prior dp",
            )
        parts = tuple(
            Part(
                modality,
                source,
                FourierProjection(
                    seed=(seed, list(KERNELS).index((modality, source)), 0),
                    inputs=descriptor_length(layout, modality, source, embedded=embedded),
                    features=PART_FEATURES,
                    scale=scale_of(layout, modality, source),
                ),
            )
            for modality, source in kinds
        )
        return FeatureMap(
            layout=layout,
            tile=tile,
            seed=seed,
            parts=parts,
            priors=loaded,
            embedding=shipped_embedding() if embedded else None,
            log_shape=shipped_log_shape() if ("hsi", "log-shape") in kinds else None,
            adapter=np.zeros(adapter_size(loaded[ADAPTED].branch.config)) if adapts else None,
        )

    def with_adapter(self, values: npt.NDArray[np.float64]) -> FeatureMap:
        """The same map with its HSI branch adapted by (P,) `values`, whatever it was before.

        Raises:
            ValueError: a map of a run that adapts nothing, or another number of values.
        """
        if self.adapter is None:
            raise ValueError("a feature map of a run that adapts nothing")
        prior = adapted_prior(load_prior(ADAPTED), values)
        return replace(self, priors={**self.priors, ADAPTED: prior}, adapter=values)

    @property
    def networks(self) -> list[FrozenNetwork]:
        """Every frozen network that ψ is computed with."""
        found = [
            FrozenNetwork(f"{name} branch {prior.digest[:16]}", prior.provenance)
            for name, prior in self.priors.items()
        ]
        if self.embedding is not None:
            name = f"hsi embedding {self.embedding.digest[:16]}"
            found.append(FrozenNetwork(name, self.embedding.provenance))
        if self.log_shape is not None:
            name = f"hsi log shape {self.log_shape.digest[:16]}"
            found.append(FrozenNetwork(name, self.log_shape.provenance))
        return found

    @property
    def provenance(self) -> list[str]:
        """What every frozen network says it was trained on, one line each."""
        adapted = None if self.adapter is None else ADAPTED
        return provenance_lines(self.networks, adapted)

    @property
    def columns(self) -> tuple[Columns, ...]:
        """The layout of ψ: parts and constants in the order of their columns."""
        modalities = list(dict.fromkeys(part.modality for part in self.parts))
        weights = [KERNELS[part.modality, part.source].weight for part in self.parts]
        rest = (1 - len(modalities) * CONSTANT_SHARE) / sum(weights)
        found = []
        for modality in modalities:
            found += [
                Columns(modality, part.projection.features, weight * rest, constant=False)
                for part, weight in zip(self.parts, weights, strict=True)
                if part.modality == modality
            ]
            found.append(Columns(modality, 1, CONSTANT_SHARE, constant=True))
        return tuple(found)

    @property
    def widths(self) -> dict[str, int]:
        """Columns of ψ by modality, `hsi` before `lidar`."""
        widths: dict[str, int] = {}
        for block in self.columns:
            widths[block.modality] = widths.get(block.modality, 0) + block.columns
        return widths

    def psi(self, block: TileBlock) -> dict[str, Floats]:
        """ψ of every pixel of a block, for the modalities it holds: `expand` after `describe`."""
        return self.expand(self.describe(block))

    def describe(self, block: TileBlock) -> dict[str, dict[str, Floats]]:
        """The descriptors of every pixel of a block: the slow and small half of ψ.

        Returns:
            By modality and source, one row a pixel: tile by tile, row by row. A tile with a
            value that is not finite gets NaN rows and no other does. Where pixels of a modality
            are missing, `VALID` is 1 at those that are there and 0 at the others.

        Raises:
            DataError: the block's channel count is not the layout's.
        """
        used = {part.modality for part in self.parts}
        return {
            modality: self._sources(modality, values, block.valid.get(modality))
            for modality, values in block.modalities.items()
            if modality in used
        }

    def expand(self, sources: Mapping[str, Mapping[str, Floats]]) -> dict[str, Floats]:
        """The Fourier features of descriptors: the fast and wide half of ψ.

        Returns:
            (rows, D_m) float32 by modality, 0 where a pixel is missing. ‖ψ‖ over all modalities
            is at most 1.
        """
        out: dict[str, Floats] = {}
        for modality, found in sources.items():
            parts = [part for part in self.parts if part.modality == modality]
            roots = [np.float32(math.sqrt(b.share)) for b in self.columns if b.modality == modality]
            expanded = [
                part.projection(found[part.source]) * root
                for part, root in zip(parts, roots[:-1], strict=True)
            ]
            constant = np.full((len(expanded[0]), 1), roots[-1])
            out[modality] = np.concatenate([*expanded, constant], axis=1)
            if VALID in found:
                out[modality][found[VALID][:, 0] == 0] = 0
        return out

    def _sources(
        self, modality: str, values: Floats, valid: npt.NDArray[np.bool_] | None
    ) -> dict[str, Floats]:
        """The descriptors of a modality, one row a pixel, by source; from the pixels there are."""
        wanted = {part.source for part in self.parts if part.modality == modality}
        layout = self.layout.get(modality)
        if layout is None or values.shape[1] != len(layout.channels):
            raise DataError(
                f"{modality} has {values.shape[1]} channels, unlike the model's sensors",
                "use data of the sensors the model was trained for",
            )
        a_tile = values.shape[2] * values.shape[3]
        rows = pixels(values)
        found: dict[str, Floats] = {}
        if "descriptor" in wanted:
            found["descriptor"] = (hsi_descriptor if modality == "hsi" else lidar_descriptor)(rows)
        if "slope" in wanted:
            found["slope"] = hsi_slope(rows)
        if self.log_shape is not None and "log-shape" in wanted:
            found["log-shape"] = self.log_shape(rows, layout.wavelengths_nm)
        if self.embedding is not None and "embedding" in wanted:
            found["embedding"] = self.embedding(rows, self.resampling)
        if "tile" in wanted:
            found["tile"] = np.repeat(self._of_means(tile_means(values, valid)), a_tile, axis=0)
        if "diffusion" in wanted and modality == "hsi":
            found["diffusion"] = self.hsi_diffusion(rows)
        if "diffusion" in wanted and modality == "lidar":
            known = height_and_intensity(layout.channels)
            assert known is not None  # `kinds_of` gives unknown layouts no diffusion part
            heights = values[:, list(known)]
            heights = heights if valid is None else filled(heights, valid)
            found["diffusion"] = lidar_features(self.priors["lidar"], heights)
        if valid is not None:
            found[VALID] = valid.reshape(-1, 1).astype(np.float32)
        return found

    def _of_means(self, spectra: Floats) -> Floats:
        if self.embedding is None:
            return hsi_descriptor(spectra)
        return self.embedding(spectra, self.resampling)

    def hsi_diffusion(self, spectra: Floats) -> Floats:
        """Diffusion features of the spectrum's shape, and its level, which they leave out."""
        shape = hsi_features(self.priors["hsi"], spectra, self.resampling)
        level = np.tanh(spectra.astype(np.float64).mean(axis=1, keepdims=True))
        return np.concatenate([shape, level], axis=1).astype(np.float32)

    @cached_property
    def resampling(self) -> Resampling:
        """How the HSI sensor's bands become grid points."""
        layout = self.layout.get("hsi")
        assert layout is not None
        return resampling(len(layout.channels), layout.wavelengths_nm)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready description; `from_dict` rebuilds the map and checks it against this."""
        return {
            "format": FORMAT,
            "layout": self.layout.to_dict(),
            "tile": self.tile,
            "seed": self.seed,
            "parts": [part.to_dict() for part in self.parts],
            "columns": [block._asdict() for block in self.columns],
            "priors": {modality: prior.digest for modality, prior in sorted(self.priors.items())},
            "embedding": None if self.embedding is None else self.embedding.digest,
            **({} if self.log_shape is None else {"log_shape": self.log_shape.digest}),
            **({} if self.adapter is None else {"adapter": {ADAPTED: len(self.adapter)}}),
        }

    def numbers(self) -> dict[str, Any]:
        """`to_dict`, and which adapter it is: all that descriptors and ψ follow from."""
        if self.adapter is None:
            return self.to_dict()
        digest = hashlib.sha256(self.adapter.astype("<f8").tobytes()).hexdigest()
        return {**self.to_dict(), "adapter_sha256": digest}

    @staticmethod
    def from_dict(fields: object, priors: Mapping[str, Prior] | None = None) -> FeatureMap:
        """Rebuild a map from `to_dict`'s output.

        The map is built anew from its few free choices and must then describe itself exactly as
        the file does: projections, priors and all.

        Args:
            fields: what `to_dict` gave.
            priors: branches to use instead of the shipped ones, by modality.

        Raises:
            DataError: a field is missing, unknown or out of range; or the numbers this
                installation draws, or its priors, are not those of the file.
        """
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise DataError(f"feature map: format is not {FORMAT}", _HINT)
        tile, seed, parts = fields.get("tile"), fields.get("seed"), fields.get("parts")
        if type(tile) is not int or not 1 <= tile <= 65_535:
            raise DataError("feature map: tile must be an integer in 1..65535", _HINT)
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise DataError("feature map: seed must be an integer in 0..2^63-1", _HINT)
        if not isinstance(parts, list) or not isinstance(fields.get("priors"), dict):
            raise DataError("feature map: parts or priors are missing", _HINT)
        layout = SensorLayout.from_dict(fields.get("layout") or {})
        learned = bool(fields["priors"]) or fields.get("embedding") is not None
        rebuilt = FeatureMap.public(
            layout,
            tile=tile,
            seed=seed,
            learned=learned,
            spectra="fine" if "log_shape" in fields else "robust",
            priors=priors,
            adapts="adapter" in fields,
        )
        described = rebuilt.to_dict()
        for key in sorted(set(described) | set(fields)):
            if described.get(key) != fields.get(key):
                raise DataError(f"feature map: {key} is not what this installation has", _HINT)
        return rebuilt
