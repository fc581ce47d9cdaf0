"""Prediction of files for a run in split: align, sum the owners' scores, place the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feddiff_crypto.keys import is_party_name
from feddiff_crypto.masking.policy import MAX_OWNERS
from feddiff_secure.config.load import load_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset, Modality, PixelTable, Scene
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.alignment import Aligned, Maps, align
from feddiff_secure.federation.dealing import named_holds
from feddiff_secure.federation.fused_prediction import Fusion, fused_maps
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.run import check_aggregation, check_key_agreement
from feddiff_secure.model.model_file import Model

AGGREGATIONS = ("masked", "encrypted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What a fused prediction asks for beyond a file.

    Attributes:
        recipient: who gets the fused scores.
        consents: owners that agree where the recipient contributes itself.
        lidar_data: file of the LiDAR; None where one file holds both.
        aggregation: `masked` or `encrypted`.
    """

    recipient: str
    consents: tuple[str, ...] = ()
    lidar_data: Path | None = None
    aggregation: str = "masked"


@dataclass(frozen=True, slots=True, eq=False)
class FusedMaps:
    """What a fused prediction gives.

    Attributes:
        dataset: what the maps lie on: the HSI file's grid, or the common one where that is coarser.
        maps: labels 1..K, 0 where a single owner would have contributed.
        disclosure: JSON-ready: to whom, how much, and that it is outside ε.
    """

    dataset: Dataset
    maps: Maps
    disclosure: dict[str, Any]


def split_config(run: Path, together: Together | None) -> RunConfig | None:
    """The configuration of a run in split; None for any other run, and for a bare model file.

    Raises:
        UsageError: a recipient without such a run, or such a run without a recipient.
    """
    path = (run if run.is_dir() else run.parent) / "config.toml"
    config = load_config(path, {}) if path.is_file() else None
    is_split = config is not None and config.topology == "split"
    if is_split and together is None:
        raise UsageError(
            "the modalities of this run are with different owners: nobody can predict alone",
            "name who gets the fused class scores: --recipient NAME",
        )
    if not is_split and together is not None:
        raise UsageError(
            "recipient: this is no run directory of topology split",
            "leave out --recipient, --consent, --lidar-data and --aggregation",
        )
    return config if is_split else None


def predict_fused(
    model: Model,
    config: RunConfig,
    data: Path,
    together: Together,
    progress: Progress,
    *,
    check: Callable[[Dataset], None],
) -> FusedMaps:
    """Predict ground whose modalities different owners hold.

    Args:
        model: the run's model. config: the run's configuration.
        data: file of both modalities, or of the HSI.
        together: who gets what.
        progress: receives stages of tiles and of sums.
        check: refuses ground that the map cannot be written for, before a score leaves an owner.

    Raises:
        UsageError: names or consents that do not fit.
        DataError: files that are wrong, of other sensors, or cannot be aligned.
        ProtocolAbortedError: a sum could not be completed.
    """
    if together.aggregation not in AGGREGATIONS:
        raise UsageError(
            f"aggregation is {together.aggregation!r}", f"use one of: {', '.join(AGGREGATIONS)}"
        )
    check_aggregation(together.aggregation)
    check_key_agreement(config.key_agreement)
    fusion = _fusion(config, together)
    read = read_dataset(data, require_labels=False)
    aligned: Aligned | None = None
    whole = read
    if together.lidar_data is not None:
        aligned = align(read, read_dataset(together.lidar_data, require_labels=False))
        whole = _with_supports(aligned.dataset, model.features.layout)
    model.features.layout.check_same(whole.layout, str(data), allow_missing=True)
    check(whole)
    tile = 1 if whole.is_table else model.features.tile
    maps = fused_maps(model, cut_tiles(whole, tile), fusion, progress)
    placed = None if aligned is None else aligned.on_hsi(maps)
    dataset, maps = (whole, maps) if placed is None else (read, placed)
    refused = sum(int((part == 0).sum()) for part in maps)
    return FusedMaps(dataset, maps, _disclosure(together, fusion, aligned, maps, refused))


def _fusion(config: RunConfig, together: Together) -> Fusion:
    holds = named_holds(config)
    if not is_party_name(together.recipient):
        raise UsageError(
            f"recipient is {together.recipient[:80]!r}",
            "give an owner's name, or 1 to 64 letters, digits, '.', '_' and '-'",
        )
    if len({*holds, together.recipient}) > MAX_OWNERS:
        raise UsageError(
            f"recipient {together.recipient}: {len(holds)} owners and one more party exceed "
            f"{MAX_OWNERS}",
            "name one of the owners",
        )
    return Fusion(
        holds=holds,
        recipient=together.recipient,
        consents=together.consents,
        aggregation=together.aggregation,
        key_agreement=config.key_agreement,
    )


def _disclosure(
    together: Together, fusion: Fusion, aligned: Aligned | None, maps: Maps, refused: int
) -> dict[str, Any]:
    return {
        "recipient": together.recipient,
        "consents": list(together.consents),
        "aggregation": together.aggregation,
        "key_agreement": fusion.key_agreement,
        "pixels": sum(part.size for part in maps) - refused,
        "refused_pixels": refused,
        "alignment": None if aligned is None else aligned.how,
        "epsilon": None,
        "note": f"{together.recipient} gets the fused class scores of these pixels without noise: "
        "outside epsilon",
    }


def _with_supports(dataset: Dataset, layout: SensorLayout) -> Dataset:
    """The data with the model's word on neighbourhoods: a prediction makes no privacy claim."""

    def same(part: Scene | PixelTable) -> dict[str, Modality]:
        held = {}
        for name, modality in part.modalities.items():
            known = layout.get(name)
            held[name] = modality if known is None else replace(modality, support=known.support)
        return held

    if dataset.table is not None:
        return replace(dataset, table=replace(dataset.table, modalities=same(dataset.table)))
    scenes = tuple(replace(scene, modalities=same(scene)) for scene in dataset.scenes)
    return replace(dataset, scenes=scenes)
