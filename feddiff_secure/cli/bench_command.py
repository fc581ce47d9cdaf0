"""`feddiff-secure bench`: a grid of runs, kept, summed up, and shown on one page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feddiff_secure.cli.console import print_json, stderr
from feddiff_secure.errors import UsageError

if TYPE_CHECKING:
    from feddiff_secure.bench.grid import Grid

_GRID, _RUN = "Grid", "Run"


class BenchLines:
    """One line a finished run, on stderr; nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def begun(self, done: int, total: int) -> None:
        """Of `total` runs `done` were there already."""
        if not self._quiet:
            kept = f", {done} of them done before" if done else ""
            stderr.print(f"{total} runs{kept}")

    def advanced(self, done: int, total: int, seconds_left: float, what: str) -> None:
        """One more run is done."""
        if not self._quiet:
            stderr.print(f"[{done}/{total}] {what}; {_duration(seconds_left)} left", markup=False)


def bench(  # noqa: PLR0917  # one parameter an option, given by name
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for runs and report: new, or begun with the same grid, which goes on."
        ),
    ],
    grid: Annotated[
        Path | None,
        typer.Option(help="TOML file of the grid (docs/bench.md), in place of the options below."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="With --grid: folder of the data files that it names."),
    ] = None,
    epsilons: Annotated[
        str | None,
        typer.Option(help="By commas. Default: inf,8,1.", rich_help_panel=_GRID),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds. Default: 3.", rich_help_panel=_GRID)
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="HDF5 or MAT file; may be repeated. Default: a simulated scene.",
            rich_help_panel=_GRID,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="Separate test file of the one --data.", rich_help_panel=_GRID),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Test every region once, in this many folds. Default: one test part.",
            rich_help_panel=_GRID,
        ),
    ] = None,
    owners: Annotated[
        str | None,
        typer.Option(help="Numbers of owners, by commas. Default: 4.", rich_help_panel=_GRID),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="distributed, local or both, by commas. Default: both.", rich_help_panel=_GRID
        ),
    ] = None,
    topology: Annotated[
        str | None,
        typer.Option(
            help="paired, mixed, split, by commas. Default: paired.", rich_help_panel=_GRID
        ),
    ] = None,
    aggregation: Annotated[
        str | None,
        typer.Option(
            help="masked, encrypted, plain, by commas. Default: masked.", rich_help_panel=_GRID
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of every run. Default: 60.", rich_help_panel=_RUN)
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Compare with FedDiff as published too (a reduced schedule, minutes a run).",
        ),
    ] = False,
    attack: Annotated[
        list[Path] | None,
        typer.Option(help="Result of audit attack (.json) to show; may be repeated."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes. Default: 2, or 1 on a single core.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Measure utility against privacy over a grid of runs; write bench.json and report.html.

    Finished runs are kept: the same command goes on after an interruption.

    Examples:

      feddiff-secure bench --out bench/simulated

      feddiff-secure bench --data pixels.h5 --folds 5 --epsilons inf,8 --out bench/pixels
    """
    options = {
        "epsilons": epsilons, "seeds": seeds, "data": data, "test": test, "folds": folds,
        "owners": owners, "noise": noise, "topology": topology, "aggregation": aggregation,
        "rounds": rounds,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    settings = _grid(grid, data_dir, given, paper=paper)
    # Imported here: torch takes seconds that --help and a wrong option need not wait for.
    from feddiff_secure.bench.bench_report import read_attacks, write_report  # noqa: PLC0415
    from feddiff_secure.bench.execute import run_bench  # noqa: PLC0415

    attacks = read_attacks(attack or [])
    content, files = run_bench(settings, out, workers=jobs, progress=BenchLines(quiet=quiet))
    write_report(content, files, attacks)
    if as_json:
        print_json({"out": str(out), **{k: v for k, v in content.items() if k != "runs"}})
        return
    _print_points(content)
    typer.echo(str(files.report))


def _grid(path: Path | None, folder: Path | None, given: dict[str, Any], *, paper: bool) -> Grid:
    from feddiff_secure.bench.grid import COMPARISONS, load_grid  # noqa: PLC0415

    if path is not None and given:
        name = next(iter(given))
        raise UsageError(f"--grid with --{name}", "say it in the grid file, or leave out --grid")
    if path is None and folder is not None:
        raise UsageError("--data-dir without --grid", "give the whole path with --data")
    found = load_grid(path, folder) if path is not None else _from_options(given)
    if not paper or "paper" in found.comparisons:
        return found
    kept = [name for name in COMPARISONS if name in found.comparisons or name == "paper"]
    return dataclasses.replace(found, comparisons=tuple(kept))


def _from_options(given: dict[str, Any]) -> Grid:
    from feddiff_secure.bench.grid import Grid  # noqa: PLC0415

    values: dict[str, Any] = {}
    lists: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
        ("epsilons", "epsilons", _epsilon),
        ("owners", "owners", _whole),
        ("noise", "noises", str),
        ("topology", "topologies", str),
        ("aggregation", "aggregations", str),
    )
    for option, field, kind in lists:
        if option in given:
            values[field] = tuple(kind(text.strip()) for text in given[option].split(","))
    if "seeds" in given:
        values["seeds"] = given["seeds"]
    if "rounds" in given:
        values["run"] = {"rounds": given["rounds"]}
    if given.keys() & {"data", "test", "folds"}:
        values["data"] = _sources(given)
    return Grid(**values)


def _sources(given: dict[str, Any]) -> tuple[Any, ...]:
    from feddiff_secure.bench.grid import SIMULATED, DataSource  # noqa: PLC0415

    paths: list[str | None] = given.get("data") or [None]
    if len(paths) > 1 and "test" in given:
        raise UsageError(f"--test with {len(paths)} --data", "give one, or a grid file")
    return tuple(
        DataSource(
            name=SIMULATED if path is None else Path(path).stem[:40] or "data",
            path=path,
            test=given.get("test"),
            folds=given.get("folds", 0),
        )
        for path in paths
    )


def _epsilon(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"epsilons: {text[:40]!r}", "give numbers or inf, by commas") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"owners: {text[:40]!r}", "give whole numbers, by commas") from None


def _print_points(content: dict[str, Any]) -> None:
    typer.echo(f"{'data':<20} {'what':<34} {'ε':>5}  {'OA':<15} {'AA':<15} kappa")
    for point in content["points"]:
        what = {
            "federated": f"{point['topology']}, {point['aggregation']}, {point['noise']}",
            "alone": f"each of {point['owners']} owners alone, {point['topology']}",
            "centralised": "one trusted holder",
            "paper": "FedDiff as published, no guarantee",
        }[point["kind"]]
        epsilon = "∞" if point["epsilon"] == "inf" else f"{point['epsilon']:g}"
        scores = "  ".join(_score(point[name]) for name in ("oa", "aa", "kappa"))
        typer.echo(f"{point['data']:<20} {what:<34} {epsilon:>5}  {scores}")


def _score(found: dict[str, Any]) -> str:
    text = f"{found['mean']:.3f}"
    return text if found["sd"] is None else f"{text} ± {found['sd']:.3f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min"
