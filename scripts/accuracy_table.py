"""The accuracy table of the README: OA, AA and kappa by ε and noise, mean and deviation over seeds.

    python scripts/accuracy_table.py [--data FILE …] [--seeds 3] [--epsilons inf,8,1] [--json]

Without --data it uses the simulated scene. Every row is a run through the same path as
`feddiff-secure run`, with its defaults.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.run import simulate
from feddiff_secure.report.run_directory import run_metrics


def one(options: dict[str, Any]) -> dict[str, float]:
    """The metrics of one run."""
    result = simulate(
        RunConfig(**options), log=lambda _line: None, progress=Silent(), on_ready=lambda _plan: None
    )
    metrics = run_metrics(result)
    return {name: metrics[name] for name in ("oa", "aa", "kappa", "n_test")}


def rows(data: str | None, seeds: int, epsilons: list[float], extra: dict[str, Any]) -> list[Any]:
    """One row an ε and noise mode."""
    found = []
    for epsilon in epsilons:
        for noise in ("distributed", "local") if np.isfinite(epsilon) else ("none",):
            options = {"data": data, "epsilon": epsilon, "noise": noise, **extra}
            runs = [one({**options, "seed": seed}) for seed in range(seeds)]
            row: dict[str, Any] = {"data": data or "simulated", "epsilon": str(epsilon)}
            row["noise"] = noise
            for name in ("oa", "aa", "kappa"):
                values = [run[name] for run in runs]
                row[name] = float(np.mean(values))
                row[f"{name}_sd"] = float(np.std(values, ddof=1)) if seeds > 1 else 0.0
            row["n_test"] = runs[0]["n_test"]
            found.append(row)
            print(
                f"| {row['epsilon']} | {noise} | {row['oa']:.3f} ± {row['oa_sd']:.3f} | "
                f"{row['aa']:.3f} ± {row['aa_sd']:.3f} | {row['kappa']:.3f} |",
                file=sys.stderr,
                flush=True,
            )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilons", default="inf,8,1")
    parser.add_argument("--partition", default="iid")
    parser.add_argument("--owners", type=int)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    epsilons = [float(text) for text in given.epsilons.split(",")]
    extra = {"partition": given.partition, "owners": given.owners}
    table = [
        row for data in given.data or [None] for row in rows(data, given.seeds, epsilons, extra)
    ]
    if given.json:
        print(json.dumps(table))


if __name__ == "__main__":
    main()
