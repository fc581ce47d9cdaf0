"""`report.html` of a run: covered by its log, equal to its JSON, and never in the way of a run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.scene import Dataset
from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.map_panels import map_panels
from feddiff_secure.report.owner_page import look_up
from feddiff_secure.report.run_page import run_page


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    command = ["run", "--data", tiny, "--owners", 3, "--rounds", 3, "--delta", "1e-4", "--quiet"]
    assert run_cli([*map(str, command), "--out", str(out)]) == 0
    return out


def test_a_run_verifies_with_its_page(finished: Path) -> None:
    assert run_cli(["audit", "verify", str(finished)]) == 0


def test_a_page_that_was_changed_fails_verification(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    page = copy / "report.html"
    page.write_text(page.read_text().replace("<h1>", "<h1>Excellent: ", 1))
    assert run_cli(["audit", "verify", str(copy)]) == 6
    assert "report.html has SHA-256" in capsys.readouterr().err


def test_the_page_has_the_numbers_of_the_files_beside_it(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    content = {
        name: json.loads((finished / f"{name}.json").read_text()) for name in ("metrics", "privacy")
    }
    shown = re.findall(r'<data value="([^"]*)" data-path="((?:metrics|privacy)/[^"]*)">', page)
    assert len(shown) > 20
    for raw, path in shown:
        assert repr(look_up(content, path)) == raw
    assert ">Run at ε = 8<" in page
    assert "so these rows are hypothetical" in page


def test_the_page_fetches_nothing(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert not re.search(r"<(script|link|iframe|a)\b", page)
    assert not re.search(r'(src|href)="(?!data:image/png;base64,|#)', page)
    assert "://" not in page


def metrics_of(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "oa": accuracy.oa, "aa": accuracy.aa, "kappa": accuracy.kappa, "n_test": accuracy.n_test,
        "per_class": dict(zip(accuracy.classes, accuracy.per_class, strict=True)), "owners": 4,
        "test": "region", "bytes_up_per_owner_per_round": 10, "communication_parameters": 5,
        "tiles": 3, "tile": 1, "seconds": {"rounds": 1.25},
    }  # fmt: skip


def test_equal_runs_have_equal_pages_and_hostile_names_stay_text(tiny: Path) -> None:
    prepared = prepare(RunConfig(data=str(tiny)))
    names = ("<script>x</script>", "$a$ & b", '"quoted"')
    rng = np.random.default_rng(0)
    true, predicted = (rng.integers(1, 4, 90).astype(np.int16) for _ in range(2))
    accuracy = Accuracy.from_labels(true, predicted, names)
    privacy = {
        "epsilon_target": None, "deployment": "simulated", "code_version": "0.1.0",
        "assumptions": [], "not_covered": ["<b>everything</b>"], "epsilon": None,
    }  # fmt: skip
    setting = {"topology": "paired", "aggregation": "masked", "noise": "none", "releases": 3}
    pages = [
        run_page(
            metrics_of(accuracy), privacy, setting,
            accuracy=accuracy, prepared=prepared, maps=[np.ones(240, np.int16)],
        )
        for _ in range(2)
    ]  # fmt: skip
    assert pages[0] == pages[1]
    text = pages[0].decode()
    assert "<script" not in text
    assert "<b>everything" not in text
    assert "No privacy guarantee" in text


def test_a_scene_has_a_predicted_and_a_reference_panel() -> None:
    scene = simulated_scene(0, side=32)
    dataset = Dataset(scenes=(scene,))
    panels = map_panels(dataset, [np.ones(scene.label.shape, np.int16)])
    assert set(panels) == {"predicted", "reference"}
    assert all(png.startswith(b"\x89PNG") and b"Matplotlib" not in png for png in panels.values())
    blank = replace(scene, label=np.zeros_like(scene.label))
    assert set(map_panels(Dataset(scenes=(blank,)), [scene.label])) == {"predicted"}
