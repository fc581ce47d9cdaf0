"""No byte of any file of a run directory can be flipped unnoticed.

`FEDDIFF_FLIPS` sets how many flips are tried, 120 by default, `make results` 1,200.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from feddiff_secure.audit.verify import verify_run
from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.transcript.files import run_files
from scripts.make_tiny_table import tiny_table
from tests.support.memoised import memoise_accounting

FLIPS = int(os.environ.get("FEDDIFF_FLIPS", "120"))
STEPS = {  # where a flip may be noticed; white space and stated words are for the manifest, 7
    "config.toml": {1, 7},
    "transcript/leaves.jsonl": {1, 2},
    "transcript/checkpoints": {2},
    "transcript/rosters.jsonl": {3},
    "transcript/vectors.h5": {3},
    "model.safetensors": {4},
    "privacy.json": {5, 6, 7},
    "attestation.json": {8},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flipped")
    write_scene(folder / "tiny.h5", tiny_table(pixels=120, bands=20, seed=0))
    options = ["--rounds", "3", "--owners", "3", "--delta", "1e-4", "--epsilon", "8", "--quiet"]
    data = ["--data", str(folder / "tiny.h5"), "--out", str(folder / "run")]
    assert run_cli(["run", *data, *options]) == 0
    return folder / "run"


def test_every_flip_fails_at_a_step_that_concerns_its_file(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memoise_accounting(monkeypatch)
    verdict = verify_run(run)
    assert verdict.verified, verdict.to_lines()
    assert all(step.status.value == "ok" for step in verdict.steps)
    random = np.random.default_rng(0)
    names = run_files(run)
    assert len(names) >= 15
    tried: Counter[str] = Counter()
    for number in range(FLIPS):
        name = names[number % len(names)]
        path = run / name
        data = bytearray(path.read_bytes())
        at, bit = int(random.integers(len(data))), int(random.integers(8))
        data[at] ^= 1 << bit
        original = path.read_bytes()
        path.write_bytes(data)
        failed = verify_run(run).failed
        path.write_bytes(original)
        where = f"{name}: bit {bit} of byte {at}"
        assert failed is not None, f"{where} was not noticed"
        steps = STEPS.get(name, {6} if name.startswith("ledger/") else {7})
        assert failed.number in steps, f"{where}: step {failed.number}: {failed.detail}"
        tried[name] += 1
    assert min(tried.values()) >= FLIPS // len(names)
    assert verify_run(run).verified  # everything was put back


def test_the_command_says_what_holds_and_exits_with_6_where_something_does_not(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["audit", "verify", str(run), "--json"]) == 0
    assert '"verified": true' in capsys.readouterr().out
    metrics = run / "metrics.json"
    kept = metrics.read_bytes()
    metrics.write_bytes(kept.replace(b"oa", b"ob"))
    assert run_cli(["audit", "verify", str(run)]) == 6
    shown = capsys.readouterr()
    metrics.write_bytes(kept)
    error, hint = shown.err.splitlines()
    assert error.startswith(f"error: {run}: step 7 (every file listed): metrics.json has SHA-256")
    assert hint.startswith("hint: ")
    assert "7. every file listed               failed" in shown.out


def test_verifying_imports_no_torch(run: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from feddiff_secure.audit.verify import verify_run\n"
        "assert verify_run(Path(sys.argv[1])).verified\n"
        "print(sorted({'torch', 'opacus', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
