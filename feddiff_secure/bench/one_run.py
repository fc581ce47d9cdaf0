"""One job: the run or comparison it names, over all its folds, as one record.

A fold is a run of its own with its own privacy claim; metrics are over the test pixels of all
folds. Everything random is what `run` makes random: keys, noise and sampling differ each time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.randomness import SecureRandom
from feddiff_secure.bench.alone import epsilon_alone, together, train_alone
from feddiff_secure.bench.jobs import Job
from feddiff_secure.bench.record import run_record
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.folds import fold_split
from feddiff_secure.data.scene import Dataset
from feddiff_secure.federation.examples import (
    Describer,
    blocks_of,
    labelled_examples,
    predicted_labels,
)
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prepare import Prepared, Splitter, prepare
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.run import SESSION_BYTES, check_labelled, simulate
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.paper.disclosure import privacy_json
from feddiff_secure.paper.paper_run import run_paper
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.map_panels import MapPanels, map_panels

Labels = NDArray[np.int16]


@dataclass(slots=True)
class _Parts:
    """What the folds of a job left so far."""

    classes: tuple[str, ...] = ()
    true: list[Labels] = field(default_factory=list)
    predicted: list[Labels] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)
    privacy: dict[str, Any] | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    dataset: Dataset | None = None
    maps: list[Labels] | None = None
    tested: list[NDArray[np.bool_]] | None = None

    def add(self, true: Labels, predicted: Labels, seconds: dict[str, float], **more: Any) -> None:
        """Take in a fold, or one owner's model of it."""
        self.true.append(true)
        self.predicted.append(predicted)
        for stage, value in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + value
        agree = float(np.mean(true == predicted))
        self.parts.append({"oa": agree, "n_test": int(true.size), **more})


def run_job(job: Job, describer: Describer, scratch: Path) -> tuple[dict[str, Any], MapPanels]:
    """Run one job.

    Args:
        job: what to run.
        describer: computes descriptors; one that remembers saves most of the time.
        scratch: an empty folder for the ledgers of its runs.

    Returns:
        Its record, and its map, empty where none was asked for.

    Raises:
        FeddiffError: data or options that cannot be run.
    """
    began = time.perf_counter()
    found = _Parts()
    run = {"federated": _federated, "paper": _paper}.get(job.kind, _comparison)
    for number, splitter in enumerate(_splitters(job)):
        run(job, splitter, describer, scratch / str(number), found)
    accuracy = Accuracy.from_labels(
        np.concatenate(found.true), np.concatenate(found.predicted), found.classes
    )
    panels: MapPanels = {}
    if job.maps and found.maps is not None and found.dataset is not None:
        panels = map_panels(found.dataset, found.maps, tested=found.tested)
    return run_record(
        job,
        accuracy,
        numbers=found.numbers,
        parts=found.parts,
        privacy=found.privacy,
        seconds=found.seconds,
        wall_seconds=time.perf_counter() - began,
    ), panels


def _splitters(job: Job) -> Iterator[Splitter | None]:
    if not job.source.folds:
        yield None
    for number in range(job.source.folds):
        yield partial(fold_split, folds=job.source.folds, number=number, seed=job.config.seed)


def _federated(
    job: Job, splitter: Splitter | None, describer: Describer, scratch: Path, found: _Parts
) -> None:
    result = simulate(
        job.config,
        log=_unlogged,
        progress=Silent(),
        on_ready=_unlogged,
        ledgers=scratch,
        describer=describer,
        splitter=splitter,
    )
    found.classes = result.model.classes
    privacy = result.statement.to_json()
    found.privacy = found.privacy or privacy
    found.numbers = {
        "bytes_up_per_owner_per_round": round(result.bytes_up),
        "releases": sum(result.plan.phases.values()),
        "communication_parameters": int(result.model.weights.size),
        "tiles": result.trained.tiles,
        "tile": result.prepared.tile,
        "test": result.prepared.how,
    }
    found.add(result.test_true, result.test_predicted, result.seconds, epsilon=privacy["epsilon"])
    _keep_map(result.prepared, result.maps, found)


def _keep_map(prepared: Prepared, maps: list[Labels], found: _Parts) -> None:
    """Paint the tested ground of each fold by the model that did not see it."""
    if not prepared.test_is_part:
        if found.maps is None:
            found.dataset, found.maps = prepared.dataset, maps
        return
    inside = [np.ones(block.label.shape, dtype=np.bool_) for block in prepared.test]
    tested = prepared.test.paint(inside, np.bool_(False))
    if found.maps is None or found.tested is None:
        found.dataset, found.maps, found.tested = prepared.dataset, maps, tested
        return
    pairs = zip(maps, found.maps, tested, strict=True)
    found.maps = [np.where(now, new, old) for new, old, now in pairs]
    found.tested = [a | b for a, b in zip(tested, found.tested, strict=True)]


def _paper(
    job: Job, splitter: Splitter | None, describer: Describer, scratch: Path, found: _Parts
) -> None:
    del describer, scratch  # it has features of its own, and no ledger
    result = run_paper(job.config, log=_unlogged, progress=Silent(), splitter=splitter)
    found.classes = result.model.classes
    found.privacy = found.privacy or privacy_json(result)
    found.numbers = {
        "bytes_up_per_owner_per_round": round(result.traffic.total / job.config.rounds),
        "releases": job.config.rounds,
        "tile": result.prepared.tile,
        "test": result.prepared.how,
    }
    found.add(result.test_true, result.test_predicted, result.seconds, epsilon=None)


def _comparison(
    job: Job, splitter: Splitter | None, describer: Describer, scratch: Path, found: _Parts
) -> None:
    """Each owner alone, or all of them as one holder."""
    del scratch  # nothing is charged: every holder trusts itself
    began = time.perf_counter()
    config, prepared = job.config, prepare(job.config, splitter)
    check_labelled(prepared)
    features = FeatureMap.public(
        prepared.dataset.layout, tile=prepared.tile, seed=config.seed, spectra=config.spectra
    )
    held = [labelled_examples(features, describer(features, t, Silent())) for t in prepared.owners]
    if job.kind == "centralised":
        held = [together(iter(held))]
    plan = make_plan(
        _of_one_holder(config),
        session=SecureRandom().random_bytes(SESSION_BYTES),
        owners=("holder-1", "holder-2"),  # the second is never asked
        tile=prepared.tile,
        classes=len(prepared.dataset.classes),
        features=sum(features.widths.values()),
        blocks=blocks_of(features, config),
    )
    test = describer(features, prepared.test, Silent())
    true = np.concatenate([block.label.ravel() for block in test.tiles])
    found.classes = prepared.dataset.classes
    reached = epsilon_alone(plan)
    found.privacy = found.privacy or {"epsilon_target": plan.epsilon, "epsilon": reached}
    found.numbers = {"tile": prepared.tile, "test": prepared.how}
    seconds = {"prepare": time.perf_counter() - began}
    for name, examples in zip(prepared.names, held, strict=False):
        began = time.perf_counter()
        weights = train_alone(plan, examples, SecureRandom())
        seconds["train"] = time.perf_counter() - began
        labels = predicted_labels(features, weights, test)
        flat = np.concatenate([part.ravel() for part in labels])
        who = {"owner": name} if job.kind == "alone" else {}
        found.add(true[true > 0], flat[true > 0], seconds, epsilon=reached, **who)
        seconds = {}


def _of_one_holder(config: RunConfig) -> RunConfig:
    """The configuration of the plan: topology says who holds what, which is settled by then."""
    return replace(config, topology="paired", holds=None, labels=None, owners=2, partition="iid")


def _unlogged(_what: object) -> None:
    """Nothing is logged: a record has the numbers that count."""
