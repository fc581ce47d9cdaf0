"""What each part of ψ, and of FedDiff, is worth: a row a variant, mean and deviation over seeds.

    python -m scripts.ablation [--data FILE] [--folds 5] [--seeds 3] [--epsilons inf,8,1]
        [--variants raw,diffusion,…] [--prior NAME=FILE …] [--only hsi] [--rounds 600]
        [--clip 1] [--done FILE]

Every variant of ψ goes through the same path as `feddiff-secure run`, with its defaults; so does
`paper`, which has no ε. `gated` is FedDiff's fusion on the features of the default, trained in one
place at a federation's noise (scripts/gated_rows.py). `svm` and `forest` are scikit-learn's, on the
raw values of both modalities, tuned by cross-validation over regions or groups of the training
part; `svm-pixel` and `forest-pixel` read a pixel's own values without the means of its tile.
`--only` leaves the other modality out of the data, for all variants alike; `--rounds` and
`--clip` are for the runs of ψ. Branches with FedDiff's optional parts come from
scripts/make_prior.py: `--prior fdp=FILE` names one. Prints a JSON line a row as it is done; rows
that the file given with --done has are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.tiles import TileBlock
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.run import FeatureMaker
from feddiff_secure.model.inputs import height_and_intensity
from feddiff_secure.model.kernels import kinds_of
from feddiff_secure.model.paired import PairedBranches
from feddiff_secure.model.paired_features import paired_features
from feddiff_secure.model.prior import Prior, load_prior
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.paper.paper_run import run_paper
from feddiff_secure.report.accuracy import Accuracy
from scripts.accuracy_table import divided, one
from scripts.classical import Rows, forest, labelled_rows, svm
from scripts.gated_rows import gated_labels
from scripts.make_pair import load_pair
from scripts.topology_table import single

RAW = ("descriptor", "tile")
SOURCES: Mapping[str, tuple[str, ...]] = {
    "raw": RAW,
    "raw+diffusion": (*RAW, "diffusion"),
    "embedding": ("embedding", "tile"),
    "default": ("embedding", "tile", "diffusion", "slope"),
    "default-slope": ("embedding", "tile", "diffusion"),
    "default+raw": ("embedding", "diffusion", "slope", *RAW),
    "slope+diffusion": ("slope", "diffusion"),
}
"""Sources of ψ by variant. LiDAR's own values are in all of them, `slope` where it is a default."""
CLASSICAL: Mapping[str, tuple[Callable[[Rows, Rows, int], NDArray[np.int64]], bool]] = {
    "svm": (svm, True),
    "forest": (forest, True),
    "svm-pixel": (svm, False),
    "forest-pixel": (forest, False),
}
"""Classifier, and whether its rows hold the means of their tile."""


def feature_map(
    sources: tuple[str, ...],
    priors: Mapping[str, Prior],
    config: RunConfig,
    layout: SensorLayout,
    tile: int,
) -> FeatureMap:
    """ψ of some sources only."""
    learned, plain = (kinds_of(layout, tile, learned=flag) for flag in (True, False))
    every = sorted(dict.fromkeys([*learned, *plain]))  # by modality, hsi first
    kinds = [
        (modality, source)
        for modality, source in every
        if source in sources or (modality, source) == ("lidar", "descriptor")
    ]
    return FeatureMap.public(layout, tile=tile, seed=config.seed, priors=priors, kinds=kinds)


@dataclass(frozen=True)
class PairedMap(FeatureMap):
    """ψ whose diffusion features are those of connected branches, where a tile has both sensors.

    Attributes:
        pair: the branches.
    """

    pair: PairedBranches | None = None

    def describe(self, block: TileBlock) -> dict[str, dict[str, NDArray[np.float32]]]:
        """As `FeatureMap.describe`; what a tile without both sensors lacks stays as it was."""
        found = super().describe(block)
        lidar = self.layout.get("lidar")
        known = None if lidar is None else height_and_intensity(lidar.channels)
        if self.pair is None or known is None or block.hsi is None or block.lidar is None:
            return found
        rows = paired_features(self.pair, block.hsi, block.lidar[:, list(known)], self.resampling)
        if "diffusion" in found["hsi"]:
            level = found["hsi"]["diffusion"][:, -1:]
            found["hsi"]["diffusion"] = np.concatenate([rows.hsi, level], axis=1)
        if "diffusion" in found["lidar"]:
            found["lidar"]["diffusion"] = rows.lidar
        return found

    def to_dict(self) -> dict[str, Any]:
        """With the connections, by which descriptors are remembered."""
        assert self.pair is not None
        weights = float(sum(p.abs().sum() for p in self.pair.parameters()))
        return {**super().to_dict(), "pair": weights}


def fine_map(config: RunConfig, layout: SensorLayout, tile: int) -> FeatureMap:
    """ψ as `run --spectra fine` makes it."""
    return FeatureMap.public(layout, tile=tile, seed=config.seed, spectra="fine")


def paired_map(
    sources: tuple[str, ...],
    pair: PairedBranches,
    config: RunConfig,
    layout: SensorLayout,
    tile: int,
) -> FeatureMap:
    """ψ of some sources, with connected branches."""
    made = feature_map(sources, {}, config, layout, tile)
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return PairedMap(**fields, pair=pair)


def variants(files: Mapping[str, list[Path]], pair: Path | None) -> dict[str, FeatureMaker]:
    """Every ψ that is compared, by name."""
    found: dict[str, FeatureMaker] = {
        name: partial(feature_map, sources, {}) for name, sources in SOURCES.items()
    }
    found["fine"] = fine_map
    for base in ("raw+diffusion", "default"):
        for name, paths in files.items():
            priors = {prior.modality: prior for prior in map(load_prior, paths)}
            found[f"{base}+{name}"] = partial(feature_map, SOURCES[base], priors)
        if pair is not None:
            found[f"{base}+bilateral"] = partial(paired_map, SOURCES[base], load_pair(pair))
    return found


def classical(name: str, options: dict[str, Any], folds: int, seed: int) -> dict[str, float]:
    """The metrics of a classifier that sees everything in one place."""
    true, predicted = [], []
    classify, tile_means = CLASSICAL[name]
    with divided(options["data"], folds, seed) as parts:
        for data, test, splitter in parts:
            config = RunConfig(data=data, test=test, seed=seed, epsilon=math.inf)
            prepared = prepare(config, splitter)
            train = labelled_rows(prepared.owners, tile_means=tile_means)
            held_out = labelled_rows([prepared.test], tile_means=tile_means)
            predicted.append(classify(train, held_out, seed))
            true.append(held_out.label)
    return _metrics(true, predicted, prepared.dataset.classes)


def paper(options: dict[str, Any], folds: int, seed: int) -> dict[str, float]:
    """The metrics of the profile `paper`."""
    true, predicted = [], []
    with divided(options["data"], folds, seed) as parts:
        for data, test, splitter in parts:
            given = {"data": data, "test": test, "seed": seed, "profile": "paper"}
            result = run_paper(
                RunConfig(**with_profile_defaults(given)),
                log=lambda _line: None,
                progress=Silent(),
                on_ready=lambda: None,
                splitter=splitter,
            )
            true.append(result.test_true.astype(np.int64))
            predicted.append(result.test_predicted.astype(np.int64))
            classes = result.prepared.dataset.classes
    return _metrics(true, predicted, classes)


def gated(options: dict[str, Any], folds: int, seed: int) -> dict[str, float]:
    """The metrics of the gated fusion at the noise of a federation."""
    true, predicted = [], []
    with divided(options["data"], folds, seed) as parts:
        for data, test, splitter in parts:
            config = RunConfig(data=data, test=test, seed=seed, epsilon=options["epsilon"])
            prepared = prepare(config, splitter)
            wanted, found = gated_labels(config, prepared)
            true.append(wanted)
            predicted.append(found)
    return _metrics(true, predicted, prepared.dataset.classes)


def _metrics(
    true: list[NDArray[np.int64]], predicted: list[NDArray[np.int64]], classes: tuple[str, ...]
) -> dict[str, float]:
    found = Accuracy.from_labels(
        np.concatenate(true).astype(np.int16), np.concatenate(predicted).astype(np.int16), classes
    )
    return {"oa": found.oa, "aa": found.aa, "kappa": found.kappa}


def row(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and deviation over seeds."""
    found: dict[str, Any] = {}
    for name in ("oa", "aa", "kappa"):
        values = [run[name] for run in runs]
        found[name] = round(float(np.mean(values)), 4)
        found[f"{name}_sd"] = round(float(np.std(values, ddof=1)), 4) if len(runs) > 1 else None
    return found


def main() -> None:
    """Print a line a row as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilons", default="inf,8,1")
    parser.add_argument("--variants", help="by commas; default: all but paper and gated")
    parser.add_argument("--prior", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--pair", type=Path, help="connected branches, from scripts/make_pair.py")
    parser.add_argument("--only", choices=("hsi", "lidar"), help="leave the other modality out")
    parser.add_argument("--rounds", type=int, help="of runs of ψ; default: that of a run")
    parser.add_argument("--clip", type=float, help="of runs of ψ; default: that of a run")
    parser.add_argument("--done", type=Path)
    given = parser.parse_args()
    files: dict[str, list[Path]] = {}
    for text in given.prior:
        name, _, path = text.partition("=")
        files.setdefault(name, []).append(Path(path))
    maps = variants(files, given.pair)
    asked = given.variants.split(",") if given.variants else [*maps, *CLASSICAL]
    constants = {"rounds": given.rounds, "clip": given.clip}
    setting = {"only": given.only, **constants, "folds": given.folds}
    done = []
    if given.done is not None and given.done.is_file():
        done = list(map(json.loads, given.done.read_text(encoding="utf-8").splitlines()))
    for variant in asked:
        for epsilon in given.epsilons.split(",") if variant in (*maps, "gated") else ["inf"]:
            named = {"variant": variant, "epsilon": epsilon, **setting}
            if any(named.items() <= line.items() for line in done):
                continue
            runs = [measured(given, maps, variant, float(epsilon), s) for s in range(given.seeds)]
            print(json.dumps(named | row(runs)), flush=True)


def measured(
    given: argparse.Namespace,
    maps: Mapping[str, FeatureMaker],
    variant: str,
    epsilon: float,
    seed: int,
) -> dict[str, float]:
    """The metrics of one variant for one seed."""
    options: dict[str, Any] = {"data": given.data, "epsilon": epsilon}
    with tempfile.TemporaryDirectory(prefix="ablation-") as folder:
        if given.only is not None:
            options["data"] = single(given.data, seed, given.only, Path(folder))
        if variant in CLASSICAL:
            return classical(variant, options, given.folds, seed)
        if variant in ("gated", "paper"):
            return {"gated": gated, "paper": paper}[variant](options, given.folds, seed)
        constants = {"rounds": given.rounds, "clip": given.clip}
        options |= {name: value for name, value in constants.items() if value is not None}
        return one(options, given.folds, seed, maps[variant])


if __name__ == "__main__":
    main()
