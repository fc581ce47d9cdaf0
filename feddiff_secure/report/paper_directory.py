"""The run directory of the paper profile: the contract's files, each saying that it claims nothing.

`model.safetensors` is of another format than a private run's, `exchange.safetensors` is what left
the owners, and there is no ledger and no card, since nothing was accounted for.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from feddiff_secure.config.paper import NO_GUARANTEE
from feddiff_secure.paper.averaging import parameter_count
from feddiff_secure.paper.disclosure import privacy_json, privacy_markdown
from feddiff_secure.paper.exchange import FILE_NAME, exchange_bytes, load_exchange
from feddiff_secure.paper.paper_model_file import load_paper_model, paper_model_bytes
from feddiff_secure.paper.paper_run import PaperResult
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.run_directory import RunDirectory
from feddiff_secure.report.run_map import draw, write_tif
from feddiff_secure.report.run_page import PAGE, run_page


def finish_paper(directory: RunDirectory, result: PaperResult) -> dict[str, Any]:
    """Write everything but the configuration, and rename; returns what `metrics.json` holds."""
    partial = directory.partial
    metrics = paper_metrics(result)
    (partial / "model.safetensors").write_bytes(paper_model_bytes(result.model))
    load_paper_model(partial)  # files must read back before they count as written
    (partial / FILE_NAME).write_bytes(exchange_bytes(result.exchanged))
    load_exchange(partial / FILE_NAME)
    (partial / "metrics.json").write_bytes(_json(metrics))
    (partial / "privacy.json").write_bytes(_json(privacy_json(result)))
    (partial / "privacy.md").write_text(privacy_markdown(result), encoding="utf-8")
    _draw(directory, result)
    (partial / PAGE).write_bytes(_page(result, metrics))
    partial.rename(directory.out)
    return metrics


def paper_metrics(result: PaperResult) -> dict[str, Any]:
    """The object of `metrics.json`."""
    accuracy = _accuracy(result)
    traffic = result.traffic
    branches = sum(parameter_count(branch) for branch in result.model.branches.values())
    return {
        "profile": "paper",
        "guarantee": NO_GUARANTEE,
        "oa": accuracy.oa,
        "aa": accuracy.aa,
        "kappa": accuracy.kappa,
        "per_class": dict(zip(accuracy.classes, accuracy.per_class, strict=True)),
        "n_test": accuracy.n_test,
        "test": result.prepared.how,
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "bytes_up_per_owner_per_round": round(traffic.total / result.config.rounds),
        "bytes_up_per_owner": {
            "features": round(traffic.features),
            "features_uncompressed": round(traffic.dense_features),
            "branch": round(traffic.branch),
            "head": round(traffic.head),
            "ranges": round(traffic.ranges),
        },
        "compression": traffic.dense_features / traffic.features,
        "communication_parameters": branches + parameter_count(result.model.head),
        "tiles": sum(tiles.n_units for tiles in result.prepared.owners) // 2,
        "owners": len(result.prepared.names),
        "tile": result.prepared.tile,
        "epsilon_target": None,
        "deployment": None,
    }


def _accuracy(result: PaperResult) -> Accuracy:
    return Accuracy.from_labels(result.test_true, result.test_predicted, result.model.classes)


def _page(result: PaperResult, metrics: dict[str, Any]) -> bytes:
    config = result.config
    return run_page(
        metrics,
        privacy_json(result),
        {
            "topology": config.topology,
            "aggregation": "no",
            "noise": "no",
            "releases": config.rounds,
        },
        accuracy=_accuracy(result),
        prepared=result.prepared,
        maps=result.maps,
    )


def _draw(directory: RunDirectory, result: PaperResult) -> None:
    prepared = result.prepared
    tested = None
    if prepared.test_is_part:
        inside = [np.ones(block.label.shape, dtype=np.bool_) for block in prepared.test]
        tested = prepared.test.paint(inside, np.bool_(False))
    title = f"FedDiff as published, {len(prepared.names)} owners: {NO_GUARANTEE}"
    draw(directory.partial / "map.png", prepared.dataset, result.maps, tested=tested, title=title)
    write_tif(directory.partial / "map.tif", prepared.dataset, result.maps)


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
