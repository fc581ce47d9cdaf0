"""The library: four functions, the same as their commands, and cheap to import."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import feddiff_secure
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.errors import BudgetError, DataError, UsageError, VerificationError
from feddiff_secure.library import RunSummary
from scripts.make_tiny_table import tiny_table

REPOSITORY = Path(__file__).resolve().parents[2]
KEYS = {"epsilon": float("inf"), "rounds": 2, "owners": 3, "nominal_tiles": 180}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=20, seed=0))
    return path


@pytest.fixture(scope="module")
def done(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> RunSummary:
    out = tmp_path_factory.mktemp("runs") / "first"
    return feddiff_secure.run(data=tiny, out=out, **KEYS)


def test_importing_the_package_loads_neither_torch_nor_the_library() -> None:
    code = (
        "import sys, feddiff_secure; heavy = {'torch', 'numpy', 'feddiff_secure.library'};"
        "assert not heavy & set(sys.modules); assert callable(feddiff_secure.verify);"
        "assert 'torch' not in sys.modules; assert 'run' in dir(feddiff_secure)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=120)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(feddiff_secure, "train")


def test_a_run_says_what_its_directory_says(done: RunSummary, tiny: Path) -> None:
    assert done.metrics == json.loads((done.directory / "metrics.json").read_text())
    assert done.privacy == json.loads((done.directory / "privacy.json").read_text())
    assert done.oa == done.metrics["oa"]
    assert done.epsilon is None
    assert not done.directory.with_name("first.partial").exists()
    with pytest.raises(UsageError, match="exists"):
        feddiff_secure.run(data=tiny, out=done.directory, **KEYS)


def test_the_library_and_the_command_give_the_same_model(
    done: RunSummary, tiny: Path, tmp_path: Path
) -> None:
    config = RunConfig(data=str(tiny), **KEYS)
    again = feddiff_secure.run(config, out=tmp_path / "again")
    models = [(one.directory / "model.safetensors").read_bytes() for one in (done, again)]
    assert models[0] == models[1]


def test_load_scene_reads_what_a_run_reads(tiny: Path, tmp_path: Path) -> None:
    table = feddiff_secure.load_scene(tiny).table
    assert table is not None
    assert table.classes == ("first", "second", "third")
    assert table.modalities["hsi"].values.shape == (240, 20)
    with pytest.raises(DataError, match="no such file"):
        feddiff_secure.load_scene(tmp_path / "none.h5")


def test_predict_writes_a_map_and_says_what_is_in_it(
    done: RunSummary, tiny: Path, tmp_path: Path
) -> None:
    found = feddiff_secure.predict(done.directory, tiny, tmp_path / "map.png")
    assert found.out.stat().st_size > 0
    assert sum(found.areas.values()) == pytest.approx(1)
    assert found.accuracy is not None
    assert found.accuracy["n_test"] == 240


def test_verify_returns_what_holds_and_raises_what_does_not(
    done: RunSummary, tmp_path: Path
) -> None:
    found = feddiff_secure.verify(done.directory)
    assert len(found.steps) == 8
    assert any("not pinned" in note for note in found.notes)
    metrics = done.directory / "metrics.json"
    right = metrics.read_bytes()
    metrics.write_bytes(right.replace(b"0", b"1", 1))
    try:
        with pytest.raises(VerificationError, match=r"step 7.*metrics\.json"):
            feddiff_secure.verify(done.directory)
    finally:
        metrics.write_bytes(right)
    with pytest.raises(UsageError):
        feddiff_secure.verify(tmp_path / "nothing")
    with pytest.raises(DataError):
        feddiff_secure.verify(done.directory, registry=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"epsilom": 8}, UsageError),
        ({"epsilon": "8"}, UsageError),
        ({"epsilon": float("nan")}, UsageError),
        ({"profile": "paper"}, UsageError),
        ({"engine": "flare"}, UsageError),
        ({"data": "none.h5"}, DataError),
        ({"lifetime_epsilon": 1.0, "epsilon": 4.0, "delta": 1e-4}, BudgetError),
    ],
)
def test_a_refused_run_leaves_nothing(
    keys: dict[str, object], kind: type[Exception], tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind):
        feddiff_secure.run(out=tmp_path / "r", **{"data": tiny, **KEYS, **keys})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="both"):
        feddiff_secure.run(RunConfig(), out=tmp_path / "r", epsilon=1.0)


def test_the_example_goes_from_own_data_to_a_verified_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(REPOSITORY / "examples" / "own_data.py"))
    example["main"](tmp_path)
    said = capsys.readouterr().out
    assert said.count("verified: ") == 8
    assert (tmp_path / "map.png").stat().st_size > 0
    assert (tmp_path / "run" / "privacy.md").exists()
