"""The descriptor cache: right or absent, private, bounded, and only for those who ask."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.descriptor_cache import DescriptorCache, entry_key
from feddiff_secure.federation.examples import Described, describe
from feddiff_secure.federation.progress import Progress, Silent
from feddiff_secure.model.psi import FeatureMap
from scripts.make_tiny_table import tiny_table


class Counting:
    """`describe` that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, features: FeatureMap, tiles: TileSet, progress: Progress) -> Described:
        self.calls += 1
        return describe(features, tiles, progress)


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return cut_tiles(tiny_table(pixels=24, bands=20, seed=0), 1)


@pytest.fixture(scope="module")
def features(tiles: TileSet) -> FeatureMap:
    return FeatureMap.public(tiles.layout, tile=1, seed=0)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def cache(tmp_path: Path, counting: Counting) -> DescriptorCache:
    return DescriptorCache(tmp_path / "cache", describer=counting)


def same(first: Described, second: Described) -> bool:
    return all(
        a.keys() == b.keys()
        and all(
            a[m].keys() == b[m].keys()
            and all(np.array_equal(a[m][s], b[m][s], equal_nan=True) for s in a[m])
            for m in a
        )
        for a, b in zip(first.parts, second.parts, strict=True)
    )


def entries(cache: DescriptorCache) -> list[Path]:
    return sorted(cache.folder.glob("*.descriptors"))


def test_what_is_kept_is_what_was_computed_bit_for_bit(
    cache: DescriptorCache, counting: Counting, features: FeatureMap, tiles: TileSet
) -> None:
    first, second = (cache(features, tiles, Silent()) for _ in range(2))
    assert counting.calls == 1
    assert same(first, second)
    assert second.tiles is tiles


def test_other_networks_seeds_values_or_masks_are_never_served_from_it(
    cache: DescriptorCache, counting: Counting, features: FeatureMap, tiles: TileSet
) -> None:
    (block,) = tiles.blocks
    assert block.hsi is not None
    moved = block.hsi.copy()
    moved[0, 0] = np.nextafter(moved[0, 0], np.float32(2))
    gap = np.ones((len(block), 1, 1), dtype=bool)
    gap[3] = False
    others = [
        (features, tiles),
        (FeatureMap.public(tiles.layout, tile=1, seed=1), tiles),
        (FeatureMap.public(tiles.layout, tile=1, seed=0, learned=False), tiles),
        (FeatureMap.public(tiles.layout, tile=2, seed=0), tiles),
        (features, replace(tiles, blocks=(replace(block, hsi=moved),))),
        (features, replace(tiles, blocks=(replace(block, valid={"hsi": gap}),))),
        (features, replace(tiles, blocks=(replace(block, lidar=None),))),
    ]
    keys = {entry_key(*other) for other in others}
    assert len(keys) == len(others)
    for other in others:
        cache(*other, Silent())
    assert counting.calls == len(others)
    for other in others:  # each is kept for itself, with what is missing in it too
        assert same(cache(*other, Silent()), describe(*other, Silent()))
    assert counting.calls == len(others)


def test_labels_do_not_enter_the_key(features: FeatureMap, tiles: TileSet) -> None:
    (block,) = tiles.blocks
    relabelled = replace(tiles, blocks=(replace(block, label=np.zeros_like(block.label)),))
    assert entry_key(features, tiles) == entry_key(features, relabelled)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "another's", "older", "none"])
def test_a_damaged_entry_is_removed_and_computed_again(
    cache: DescriptorCache,
    counting: Counting,
    features: FeatureMap,
    tiles: TileSet,
    damage: str,
) -> None:
    right = cache(features, tiles, Silent())
    (path,) = entries(cache)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "older":
        path.write_bytes(data.replace(b"descriptors 1", b"descriptors 0", 1))
    elif damage == "another's":
        fewer = tiles.select(tiles.units.unit[:5])
        cache(features, fewer, Silent())
        (other,) = set(entries(cache)) - {path}
        path.write_bytes(other.read_bytes())
    calls = counting.calls
    assert same(cache(features, tiles, Silent()), right)
    assert counting.calls == calls + (damage != "none")
    assert same(cache(features, tiles, Silent()), right)
    assert counting.calls == calls + (damage != "none")


def test_only_its_user_can_read_it(
    cache: DescriptorCache, features: FeatureMap, tiles: TileSet
) -> None:
    cache(features, tiles, Silent())
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in cache.folder.iterdir()} == {0o600}
    cache.folder.chmod(0o755)
    with pytest.raises(UsageError, match="open to other users"):
        cache(features, tiles, Silent())


def test_the_entries_unused_longest_make_room(
    tmp_path: Path, features: FeatureMap, tiles: TileSet
) -> None:
    parts = [tiles.select(tiles.units.unit[i : i + 4]) for i in (0, 4, 8)]
    probe = DescriptorCache(tmp_path / "probe")
    probe(features, parts[0], Silent())
    size = entries(probe)[0].stat().st_size
    cache = DescriptorCache(tmp_path / "cache", most_bytes=2 * size + size // 2)
    for age, part in zip((30, 20), parts, strict=False):
        cache(features, part, Silent())
        path = cache.folder / (entry_key(features, part) + ".descriptors")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    cache(features, parts[0], Silent())  # used again: now the second is the older
    cache(features, parts[2], Silent())
    kept = {path.stem for path in entries(cache)}
    assert kept == {entry_key(features, parts[0]), entry_key(features, parts[2])}
    small = DescriptorCache(tmp_path / "small", most_bytes=size // 2)
    small(features, parts[0], Silent())
    assert not small.folder.exists()


def test_writers_at_once_leave_whole_entries(
    cache: DescriptorCache, features: FeatureMap, tiles: TileSet
) -> None:
    threads = [threading.Thread(target=cache, args=(features, tiles, Silent())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(cache)) == 1
    assert [p.name for p in cache.folder.iterdir() if p.suffix == ".partial"] == []


def test_run_keeps_descriptors_only_when_asked_and_cache_clear_removes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEDDIFF_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "tiny.h5"
    write_scene(data, tiny_table(pixels=240, bands=20, seed=0))
    base = ["run", "--data", str(data), "--epsilon", "inf", "--nominal-tiles", "180", "--quiet"]
    base += ["--rounds", "2", "--owners", "3"]
    assert run_cli([*base, "--out", str(tmp_path / "plain")]) == 0
    assert not (tmp_path / "cache").exists()
    for name in ("first", "second"):
        assert run_cli([*base, "--cache", "--out", str(tmp_path / name)]) == 0
    models = {
        (tmp_path / name / "model.safetensors").read_bytes()
        for name in ("plain", "first", "second")
    }
    assert len(models) == 1
    capsys.readouterr()
    assert run_cli(["cache", "clear"]) == 0
    said = capsys.readouterr().out
    assert "4 files" in said  # three owners and the test part
    assert list((tmp_path / "cache" / "descriptors").glob("*.descriptors")) == []
    assert run_cli(["cache", "clear", "--json"]) == 0
    assert '"files": 0' in capsys.readouterr().out
