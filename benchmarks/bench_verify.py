"""`audit verify` of a default run (`verify`): 60 rounds, 4 owners, 43 008 parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import measure, record, row
from feddiff_secure.audit.verdict import Verdict
from feddiff_secure.audit.verify import verify_run


def _verified(run: Path) -> Verdict:
    verdict = verify_run(run)
    assert verdict.verified, verdict.to_lines()
    return verdict


@row("verify")
def bench_verify(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """All eight steps, from the files alone."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "feddiff_secure", "run", "--epsilon", "8", "--quiet"]
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    verdict = measure(benchmark, _verified, (out,), rounds=2)
    stored = sum(path.stat().st_size for path in (out / "transcript").iterdir())
    record(
        benchmark,
        "s CPU",
        reference=f"{verdict.steps[2].detail}; transcript {stored / 1e6:.0f} MB",
    )
