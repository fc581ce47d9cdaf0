"""What the documentation tells people to type exists and works; generated pages are up to date."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from feddiff_secure.cli.main import app, run_cli
from scripts.cli_reference import PAGE, reference
from scripts.concept_figures import FIGURES, FOLDER

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(commands(typer.main.get_command(app)))


def typed(page: Path) -> list[list[str]]:
    """The command lines of a page's console blocks, without `feddiff-secure`."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            for part in re.split(r"&&|;", line.removeprefix("$ ")):
                words = shlex.split(part.strip().removeprefix("do "))
                if words[:1] == ["feddiff-secure"]:
                    found.append(words[1:])
    return found


def test_the_reference_of_commands_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run python -m scripts.cli_reference"


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_are_what_their_script_draws(name: str) -> None:
    drawn = (FOLDER / name).read_text(encoding="utf-8")
    assert drawn == FIGURES[name](), "run python -m scripts.concept_figures"
    assert "<title>" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("page", ["tutorial.md", "howto.md"])
def test_every_command_that_a_page_shows_exists_with_its_options(page: str) -> None:
    lines = typed(DOCS / page)
    assert len(lines) > 5
    for words in lines:
        names = tuple(word for word in words[:2] if not word.startswith("-"))
        path = names if names in EVERY else names[:1]
        if path not in EVERY:
            assert words[0].startswith("--")
            continue
        options = {name for parameter in EVERY[path].params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, words


def test_no_link_leaves_the_documentation_and_none_is_dead() -> None:
    for page in DOCS.rglob("*.md"):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" in target:
                continue
            linked = (page.parent / target).resolve()
            assert linked.is_relative_to(DOCS), f"{page}: {target}"
            assert linked.exists(), f"{page}: {target}"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    mkdocs = Path(sys.executable).with_name("mkdocs")
    if not mkdocs.exists():
        pytest.skip("mkdocs is not installed")
    arguments = [str(mkdocs), "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        arguments, check=False, cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "concepts.html").read_text(encoding="utf-8")
    loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"([^\"]+)\"", page)
    assert loaded
    assert not [address for address in loaded if "//" in address]  # nothing from a network


def own_rasters(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """A small place of three materials: HSI, LiDAR and labels as (bands, H, W)."""
    rng = np.random.default_rng(0)
    material = np.kron(rng.integers(0, 3, (8, 8)), np.ones((4, 4), dtype=np.int64))
    shape = np.linspace(0, 1, 12)[:, None, None]
    levels = np.array([0.1, 0.3, 0.5])[material]
    hsi = levels + 0.2 * shape * (material == 1) + rng.normal(0, 0.01, (12, 32, 32))
    return {
        "hsi": hsi.clip(0, 1).astype(np.float32),
        "lidar": (0.3 * material + rng.normal(0, 0.01, (32, 32)))[None].astype(np.float32),
        "labels": (material + 1)[None].astype(np.uint8),
    }


def write_own_files(folder: Path) -> None:
    """The GeoTIFFs that the tutorial begins with."""
    rasters = own_rasters(folder)
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.transform.from_origin(500_000, 5_400_000, 1, 1)
    for name, values in rasters.items():
        bands, height, width = values.shape
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", dtype=values.dtype, count=bands,
            height=height, width=width, crs="EPSG:32632", transform=place,
        ) as file:  # fmt: skip
            file.write(values)


def test_the_tutorial_can_be_followed_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_own_files(tmp_path)
    for words in typed(DOCS / "tutorial.md"):
        assert run_cli(words) == 0, (words, capsys.readouterr().err)
    assert (tmp_path / "map.png").stat().st_size > 0
    run = tmp_path / "runs" / "first"
    for name in ("map.png", "privacy.md", "metrics.json", "transcript", "model.safetensors"):
        assert (run / name).exists()
    assert list((tmp_path / "report").glob("*.html"))
    shutil.rmtree(run)
