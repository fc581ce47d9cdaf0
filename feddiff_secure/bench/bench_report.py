"""`report.html` and `utility.svg` of a benchmark, from its results and the pictures of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from feddiff_secure.audit.attack_results import AttackResult, read_attack, read_picture
from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.bench.branch_tiles import branch_tiles
from feddiff_secure.bench.record import write_whole
from feddiff_secure.errors import UsageError
from feddiff_secure.report.bench_page import Pictures, bench_page, main_figure
from feddiff_secure.report.map_panels import MapPanels

MOST_ATTACKS: Final = 8
MOST_PICTURE: Final = 1 << 19  # bytes of one map; the page has 5 MB
PANELS: Final = ("predicted", "reference")


def read_attacks(paths: Sequence[Path]) -> list[AttackResult]:
    """Results of `audit attack`, each with its picture.

    Raises:
        UsageError: too many. DataError: a file that is none.
    """
    if len(paths) > MOST_ATTACKS:
        raise UsageError(f"attack: {len(paths)} files", f"give at most {MOST_ATTACKS}")
    return [read_attack(path) for path in paths]


def write_report(
    content: Mapping[str, Any], files: BenchFiles, attacks: Sequence[AttackResult]
) -> None:
    """Write both files.

    Args:
        content: the object of `bench.json`.
        files: of the benchmark; its maps are shown where they are there.
        attacks: results to show.

    Raises:
        UsageError: a file cannot be written, or the page would be too large.
    """
    pictures = Pictures(
        maps={run["digest"]: _maps(files, run["digest"]) for run in content["runs"]},
        tiles=branch_tiles(),
        attacks=[(attack.name, attack.content, attack.picture) for attack in attacks],
    )
    try:
        page = bench_page(content, pictures)
    except ValueError as error:  # bench.json is written by then: no run is lost
        raise UsageError(f"report: {error}", "give fewer --attack, or a smaller grid") from error
    write_whole(files.report, page.encode())
    write_whole(files.figure, main_figure(content))


def _maps(files: BenchFiles, digest: str) -> MapPanels:
    found = {name: read_picture(files.map(digest, name), MOST_PICTURE) for name in PANELS}
    return {name: picture for name, picture in found.items() if picture is not None}
