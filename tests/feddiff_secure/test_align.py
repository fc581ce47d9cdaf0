"""Two owners of one ground: what is matched, what is resampled, what is refused, what is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feddiff_crypto.encoding import Value, decode, encode
from feddiff_secure.data.align import common_grid, covered, onto
from feddiff_secure.data.ground_grid import GroundGrid
from feddiff_secure.data.resample import Axis, resample
from feddiff_secure.data.scene import Affine, Dataset, PixelTable, Scene
from feddiff_secure.errors import DataError
from feddiff_secure.federation.alignment import align
from scripts.make_tiny_table import tiny_table
from tests.support.topologies import NORTH_UP, cropped, only, tiny_scene, with_gaps


def data(scene: Scene) -> Dataset:
    return Dataset(scenes=(scene,))


def both(scene: Scene, lidar: Scene) -> tuple[Dataset, Dataset]:
    return data(only(scene, "hsi")), data(only(lidar, "lidar"))


def finer(scene: Scene, times: int) -> Scene:
    """The same ground on pixels so many times smaller, each with its parent's values."""
    a, b, c, d, e, f = scene.transform or NORTH_UP
    return replace(
        scene,
        modalities={
            name: replace(held, values=held.values.repeat(times, 1).repeat(times, 2))
            for name, held in scene.modalities.items()
        },
        label=scene.label.repeat(times, 0).repeat(times, 1),
        region=None,
        transform=(a / times, b, c, d, e / times, f),
    )


def values(dataset: Dataset, name: str) -> np.ndarray:
    return dataset.scenes[0].modalities[name].values


def test_one_grid_is_left_as_it_is() -> None:
    scene = tiny_scene()
    found = align(*both(scene, scene))
    assert np.array_equal(values(found.dataset, "hsi"), scene.modalities["hsi"].values)
    assert np.array_equal(values(found.dataset, "lidar"), scene.modalities["lidar"].values)
    assert "area mean" not in found.how


def test_ten_percent_missing_lidar_leaves_the_ground_that_both_cover() -> None:
    scene = tiny_scene(side=40)
    lidar = cropped(scene, slice(4, 40), slice(0, 40))
    found = align(*both(scene, lidar))
    assert found.dataset.scenes[0].shape == (36, 40)
    assert np.array_equal(values(found.dataset, "hsi"), scene.modalities["hsi"].values[:, 4:])
    assert np.array_equal(found.dataset.scenes[0].label, scene.label[4:])
    placed = found.on_hsi([np.ones((36, 40), np.int16)])
    assert placed is not None
    assert placed[0].shape == (40, 40)
    assert (placed[0][:4] == 0).all()
    assert (placed[0][4:] == 1).all()


def test_partial_overlap_keeps_the_intersection_in_either_direction() -> None:
    scene = tiny_scene(side=24)
    west, south = (
        cropped(scene, slice(0, 20), slice(0, 16)),
        cropped(scene, slice(8, 24), slice(4, 24)),
    )
    for hsi, lidar in ((west, south), (south, west)):
        joined = align(*both(hsi, lidar)).dataset.scenes[0]
        assert joined.shape == (12, 12)
        for name in ("hsi", "lidar"):
            assert np.array_equal(
                joined.modalities[name].values, scene.modalities[name].values[:, 8:20, 4:16]
            )
        assert joined.transform == cropped(scene, slice(8, 20), slice(4, 16)).transform


@pytest.mark.parametrize("fine", ["hsi", "lidar"])
def test_smaller_pixels_become_the_mean_of_the_larger_one(fine: str) -> None:
    scene = tiny_scene(side=12)
    small = finer(scene, 4)
    noisy = np.random.default_rng(0).normal(size=(1, 4, 4))  # sums to zero in each larger pixel
    noisy -= noisy.mean()
    held = small.modalities[fine]
    varied = held.values + np.tile(noisy, (1, 12, 12)).astype(np.float32)
    small = replace(small, modalities={**small.modalities, fine: replace(held, values=varied)})
    pair = both(small, scene) if fine == "hsi" else both(scene, small)
    found = align(*pair)
    assert found.dataset.scenes[0].shape == (12, 12)
    expected = scene.modalities[fine].values
    assert np.allclose(values(found.dataset, fine), expected, atol=1e-5)
    assert np.array_equal(found.dataset.scenes[0].label, scene.label)
    # Every small pixel lies in one large one, so no pixel reaches two tiles.
    assert found.dataset.scenes[0].modalities[fine].support == "pixel"
    assert "by area mean" in found.how
    assert (found.on_hsi([scene.label]) is None) == (fine == "hsi")


def test_a_shift_by_part_of_a_pixel_is_resampled_and_ends_the_pixel_claim() -> None:
    scene = tiny_scene(side=12)
    a, b, c, d, e, f = NORTH_UP
    shifted = replace(scene, transform=(a, b, c + 0.5, d, e, f))  # a quarter of a pixel east
    joined = align(*both(scene, shifted)).dataset.scenes[0]
    assert joined.shape == (12, 11)
    lidar = scene.modalities["lidar"].values.astype(np.float64)
    expected = 0.25 * lidar[:, :, :-1] + 0.75 * lidar[:, :, 1:]
    assert np.allclose(joined.modalities["lidar"].values, expected, atol=1e-6)
    assert joined.modalities["lidar"].support == "neighbourhood"
    assert joined.modalities["hsi"].support == "pixel"


def test_rounding_of_a_georeference_is_no_shift() -> None:
    scene = tiny_scene(side=12)
    a, b, c, d, e, f = NORTH_UP
    rounded = replace(scene, transform=(a, b, c + 1e-4, d, e, f - 1e-4))
    joined = align(*both(scene, rounded)).dataset.scenes[0]
    assert joined.shape == (12, 12)
    assert np.array_equal(joined.modalities["lidar"].values, scene.modalities["lidar"].values)


def gaps_of(dataset: Dataset, name: str) -> np.ndarray:
    modality = (dataset.table or dataset.scenes[0]).modalities[name]
    assert modality.valid is not None
    return ~modality.valid


def other_view(own: Dataset, name: str, grid: GroundGrid) -> np.ndarray:
    """Where the other owner, from the message alone, takes this one to have no values."""
    sent = decode(encode(GroundGrid.of(own, name).to_message()))
    found = covered(GroundGrid.from_message(sent), grid)
    assert found is not None
    return ~found[0]


def test_gaps_stay_where_they_are_on_a_common_part_of_the_ground() -> None:
    scene = with_gaps(tiny_scene(side=24), "lidar", 0.1)
    mask = scene.modalities["lidar"].valid
    assert mask is not None
    hsi, lidar = both(scene, cropped(scene, slice(4, 24), slice(2, 20)))
    found = align(hsi, lidar)
    assert np.array_equal(gaps_of(found.dataset, "lidar"), ~mask[4:24, 2:20])
    assert np.array_equal(other_view(lidar, "lidar", found.common), ~mask[4:24, 2:20])
    assert found.dataset.scenes[0].modalities["hsi"].valid is None


@pytest.mark.parametrize("transform", [NORTH_UP, None])
def test_gaps_of_one_grid_are_known_to_the_other_owner_as_they_are(
    transform: Affine | None,
) -> None:
    scene = with_gaps(tiny_scene(transform=transform), "hsi", 0.1, seed=1)
    scene = with_gaps(scene, "lidar", 0.1)
    hsi, lidar = both(scene, scene)
    found = align(hsi, lidar)
    assert found.common.valid is None  # of the ground, nobody's gaps
    for name, own in (("hsi", hsi), ("lidar", lidar)):
        assert np.array_equal(other_view(own, name, found.common), gaps_of(own, name))
        assert np.array_equal(gaps_of(found.dataset, name), gaps_of(own, name))


def test_means_are_over_what_is_there_and_a_pixel_needs_half_its_area() -> None:
    scene = cropped(tiny_scene(side=8), slice(0, 4), slice(0, 4))
    small = finer(scene, 2)
    valid = np.ones((8, 8), dtype=np.bool_)
    valid[0, 0] = False  # three quarters are left
    valid[0, 2:4] = False  # half
    valid[0:2, 4:6] = [[True, False], [False, False]]  # a quarter
    valid[2:4, 0:2] = False  # nothing
    held = small.modalities["lidar"]
    noisy = held.values + np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    values_there = np.where(valid, noisy, np.float32(0))
    gappy = replace(
        small,
        modalities={**small.modalities, "lidar": replace(held, values=values_there, valid=valid)},
    )
    hsi, lidar = both(scene, gappy)
    found = align(hsi, lidar)
    expected = np.zeros((4, 4), dtype=np.bool_)
    expected[0, 2] = expected[1, 0] = True
    assert np.array_equal(gaps_of(found.dataset, "lidar"), expected)
    assert np.array_equal(other_view(lidar, "lidar", found.common), expected)
    means = values(found.dataset, "lidar")[0]
    assert means[0, 0] == pytest.approx(noisy[0, :2, :2][valid[:2, :2]].mean(), rel=1e-5)
    assert means[0, 1] == pytest.approx(noisy[0, 1, 2:4].mean(), rel=1e-5)
    assert means[3, 3] == pytest.approx(noisy[0, 6:, 6:].mean(), rel=1e-5)


def test_gaps_of_tables_go_with_their_positions() -> None:
    whole = table(60, slice(None))
    lidar = table(60, slice(60, 5, -1))
    held = lidar.modalities["lidar"]
    valid = np.arange(54) % 5 > 0
    gappy = replace(held, values=np.where(valid[:, None], held.values, 0), valid=valid)
    lidar = replace(lidar, modalities={"lidar": gappy})
    found = align(Dataset(table=whole), Dataset(table=lidar))
    assert np.array_equal(gaps_of(found.dataset, "lidar"), ~valid[::-1])
    seen = other_view(Dataset(table=lidar), "lidar", found.common)
    assert np.array_equal(seen.ravel(), ~valid[::-1])


REFUSED: dict[str, tuple[Callable[[Scene], Scene], str]] = {
    "another CRS": (lambda s: replace(s, crs="EPSG:32618"), "the CRS of HSI is 'EPSG:32617'"),
    "no CRS": (lambda s: replace(s, crs=None), "absent"),
    "rotated": (lambda s: replace(s, transform=(1.7, 1.0, 5e5, 1.0, -1.7, 4e6)), "rotated"),
    "flipped": (lambda s: replace(s, transform=(2.0, 0, 5e5, 0, 2.0, 4e6 - 48)), "flipped"),
    "mirrored": (lambda s: replace(s, transform=(-2.0, 0, 5e5 + 48, 0, -2.0, 4e6)), "flipped"),
    "turned by a half": (lambda s: replace(s, transform=(-2.0, 0, 5e5, 0, 2.0, 4e6)), "flipped"),
    "turned by a quarter": (lambda s: replace(s, transform=(0, 2.0, 5e5, 2.0, 0, 4e6)), "rotated"),
    "sheared": (lambda s: replace(s, transform=(2.0, 0.1, 5e5, 0, -2.0, 4e6)), "sheared"),
    "by half a pixel": (
        lambda s: replace(s, transform=(2.0, 0, 5e5 + 47, 0, -2.0, 4e6)),
        "overlap by no whole pixel of the coarser: HSI covers x 500000..500048, y 3999952..4000000",
    ),
    "of huge pixels": (
        lambda s: replace(s, transform=(1e4, 0, 5e5, 0, -1e4, 4e6)), "no whole pixel",
    ),
    "of tiny pixels": (
        lambda s: replace(s, transform=(1e-3, 0, 5e5, 0, -1e-3, 4e6)), "x 500000..500000.024",
    ),
    "beyond any coordinate": (
        lambda s: replace(s, transform=(2.0, 0, 5e13, 0, -2.0, 4e6)), "transform",
    ),
    "of other classes": (lambda s: replace(s, classes=("x", "y", "z")), "of other classes"),
    "elsewhere": (lambda s: replace(s, transform=(2.0, 0, 6e5, 0, -2.0, 4e6)), "do not overlap"),
    "touching": (lambda s: replace(s, transform=(2.0, 0, 5e5 + 48, 0, -2.0, 4e6)), "overlap"),
    "no georeference": (lambda s: replace(s, transform=None, crs=None), "the other has none"),
    "of one modality": (lambda s: only(s, "hsi"), "no `lidar`"),
}  # fmt: skip


def test_the_owner_whose_grid_is_rotated_is_named_unless_both_have_the_same() -> None:
    scene = tiny_scene()
    turned = replace(scene, transform=(1.7, 1.0, 5e5, 1.0, -1.7, 4e6))
    with pytest.raises(DataError, match="the HSI grid is rotated"):
        align(*both(turned, scene))
    with pytest.raises(DataError, match="the LiDAR grid is rotated"):
        align(*both(scene, turned))
    assert align(*both(turned, turned)).dataset.scenes[0].shape == (24, 24)
    with pytest.raises(DataError, match="the HSI grid is rotated"):
        align(*both(turned, replace(turned, transform=(1.7, 1.0, 5e5 + 2, 1.0, -1.7, 4e6))))


RESAMPLED: dict[str, tuple[Affine, tuple[int, int], str, str]] = {
    # LiDAR's transform, the common shape, and the support of HSI and of LiDAR.
    "pixels of 1.5 the side": ((3.0, 0, 5e5, 0, -3.0, 4e6), (16, 16), "neighbourhood", "pixel"),
    "pixels of two thirds": (
        (4 / 3, 0, 5e5, 0, -4 / 3, 4e6), (16, 16), "pixel", "neighbourhood",
    ),
    "longer than wide": ((2.0, 0, 5e5, 0, -4.0, 4e6), (12, 24), "pixel", "pixel"),
    "a side that drifts": (
        (2.0002, 0, 5e5, 0, -2.0002, 4e6), (24, 24), "pixel", "neighbourhood",
    ),
    "one pixel in common": ((2.0, 0, 5e5 + 46, 0, -2.0, 4e6), (24, 1), "pixel", "pixel"),
    "one pixel over all": ((48.0, 0, 5e5, 0, -48.0, 4e6), (1, 1), "pixel", "pixel"),
}  # fmt: skip


@pytest.mark.parametrize("case", RESAMPLED)
def test_scenes_of_other_sizes_are_resampled_and_the_alignment_says_so(case: str) -> None:
    transform, shape, *supports = RESAMPLED[case]
    scene = tiny_scene()
    found = align(*both(scene, replace(scene, transform=transform)))
    joined = found.dataset.scenes[0]
    assert joined.shape == shape
    assert [joined.modalities[name].support for name in ("hsi", "lidar")] == supports
    assert f"on a common grid of {shape[0]} × {shape[1]}" in found.how
    assert ("by area mean" in found.how) == (case != "one pixel in common")
    for name in ("hsi", "lidar"):
        original = scene.modalities[name].values
        mean = joined.modalities[name].values
        assert original.min() <= mean.min() <= mean.max() <= original.max()


@pytest.mark.parametrize(("hsi", "lidar"), [(2, 3), (2, 1), (1, 2)])
def test_stacks_need_the_same_number_of_rasters(hsi: int, lidar: int) -> None:
    scene = tiny_scene(transform=None)
    stacks = (
        Dataset(scenes=(only(scene, "hsi"),) * hsi),
        Dataset(scenes=(only(scene, "lidar"),) * lidar),
    )
    with pytest.raises(DataError, match="without a georeference to match them by"):
        align(*stacks)
    assert (
        len(align(stacks[0], Dataset(scenes=(only(scene, "lidar"),) * hsi)).dataset.scenes) == hsi
    )


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_matched_is_refused_in_words(case: str) -> None:
    change, word = REFUSED[case]
    scene = tiny_scene()
    with pytest.raises(DataError) as caught:
        align(data(only(scene, "hsi")), data(change(scene)))
    assert word in str(caught.value)
    assert "\n" not in f"{caught.value}{caught.value.hint}"


def test_scenes_without_georeference_need_one_shape() -> None:
    scene = tiny_scene(transform=None)
    assert align(*both(scene, scene)).dataset.scenes[0].shape == (24, 24)
    with pytest.raises(DataError, match="24 × 24 and LiDAR of 20 × 24"):
        align(*both(scene, cropped(scene, slice(0, 20), slice(0, 24))))


def table(pixels: int, rows: slice, *, place: bool = True) -> PixelTable:
    whole = tiny_table(pixels=pixels, bands=8, seed=0).table
    assert whole is not None
    position = np.stack(np.divmod(np.arange(pixels), 10), axis=1).astype(np.int32)
    return replace(
        whole,
        modalities={name: held.pick(rows) for name, held in whole.modalities.items()},
        label=whole.label[rows],
        region=None if whole.region is None else whole.region[rows],
        row_col=position[rows] if place else None,
    )


def test_tables_meet_at_the_positions_that_both_hold() -> None:
    whole, most = table(60, slice(None)), table(60, slice(6, 60))
    backwards = table(60, slice(60, 5, -1))
    for lidar in (most, backwards):
        found = align(Dataset(table=whole), Dataset(table=lidar))
        joined = found.dataset.table
        assert joined is not None
        assert np.array_equal(joined.row_col, most.row_col)
        for name in ("hsi", "lidar"):
            assert np.array_equal(joined.modalities[name].values, most.modalities[name].values)
        placed = found.on_hsi([np.full(54, 2, np.int16)])
        assert placed is not None
        assert placed[0].tolist() == [0] * 6 + [2] * 54


def test_tables_that_cannot_be_matched_are_refused() -> None:
    whole = table(60, slice(None))
    twice = replace(whole, row_col=np.zeros((60, 2), np.int32))
    far = replace(whole, row_col=np.asarray(whole.row_col) + 100)
    cases = {
        "occur twice": twice, "in common": far, "only one": table(60, slice(None), place=False),
    }  # fmt: skip
    for word, lidar in cases.items():
        with pytest.raises(DataError, match=word):
            align(Dataset(table=whole), Dataset(table=lidar))
    bare = table(60, slice(None), place=False)
    assert align(Dataset(table=bare), Dataset(table=bare)).dataset.table is not None
    with pytest.raises(DataError, match="60 × 1 and LiDAR of 50 × 1"):
        align(Dataset(table=bare), Dataset(table=table(60, slice(0, 50), place=False)))
    with pytest.raises(DataError, match="one file holds a table"):
        align(Dataset(table=bare), data(tiny_scene()))


def test_both_owners_compute_the_same_grid_and_only_grids_are_sent() -> None:
    """The one message has where the data lies; no value, label or class is in it."""
    assert [f.name for f in fields(GroundGrid)] == [
        "crs", "transform", "shapes", "positions", "valid",
    ]  # fmt: skip
    scene = tiny_scene()
    hsi, lidar = both(scene, cropped(scene, slice(4, 24), slice(2, 20)))
    pair = {"hsi": hsi, "lidar": lidar}
    sent = [encode(GroundGrid.of(part, name).to_message()) for name, part in pair.items()]
    assert all(len(message) < 300 for message in sent)
    at_hsi = common_grid(GroundGrid.of(hsi, "hsi"), GroundGrid.from_message(decode(sent[1])))
    at_lidar = common_grid(GroundGrid.from_message(decode(sent[0])), GroundGrid.of(lidar, "lidar"))
    assert (at_hsi.transform, at_hsi.shapes) == (at_lidar.transform, at_lidar.shapes)
    assert onto(hsi, "hsi", at_hsi).layout.names == ("hsi",)
    hidden = scene.modalities["hsi"]
    darker = {"hsi": replace(hidden, values=hidden.values * np.float32(0.5))}
    other = replace(scene, label=np.zeros_like(scene.label), modalities=darker)
    assert sent[0] == encode(GroundGrid.of(data(other), "hsi").to_message())
    # Gaps are in it, as one bit a pixel, and nothing else of the pixels is.
    gappy = GroundGrid.of(data(with_gaps(scene, "hsi", 0.1)), "hsi").to_message()
    assert {name for name in gappy if encode({name: gappy[name]}) not in sent_fields(hsi)} == {
        "valid"
    }
    assert np.asarray(gappy["valid"]).nbytes == 24 * 24 // 8


def sent_fields(hsi: Dataset) -> set[bytes]:
    message = GroundGrid.of(hsi, "hsi").to_message()
    return {encode({name: value}) for name, value in message.items()}


GOOD = GroundGrid.of(data(tiny_scene()), "lidar").to_message()
BAD: dict[str, dict[str, Value]] = {
    "a field more": {**GOOD, "mean": 0.5},
    "a field less": {key: value for key, value in GOOD.items() if key != "positions"},
    "another kind": {**GOOD, "kind": "plan"},
    "a long crs": {**GOOD, "crs": "x" * 100_000},
    "a short transform": {**GOOD, "transform": np.zeros(5)},
    "an infinite transform": {**GOOD, "transform": np.full(6, np.inf)},
    "a flat transform": {**GOOD, "transform": np.array([2.0, 0, 0, 0, 0, 0])},
    "a huge transform": {**GOOD, "transform": np.array([2.0, 0, 1e300, 0, -2.0, 0])},
    "a transform of integers": {**GOOD, "transform": np.zeros(6, dtype=np.int64)},
    "no shape": {**GOOD, "shapes": np.zeros((0, 2), dtype=np.int64)},
    "an empty shape": {**GOOD, "shapes": np.zeros((1, 2), dtype=np.int64)},
    "a flat shape": {**GOOD, "shapes": np.ones(2, dtype=np.int64)},
    "positions of another number": {**GOOD, "positions": np.ones((3, 2), dtype=np.int64)},
    "positions of five columns": {**GOOD, "positions": np.ones((24, 5), dtype=np.int64)},
    "a field of no bytes": {**GOOD, "valid": np.zeros(0)},
    "bytes in a table": {**GOOD, "valid": np.zeros((1, 72), dtype=np.uint8)},
    "too few bytes": {**GOOD, "valid": np.zeros(71, dtype=np.uint8)},
    "bits that say nothing": {**GOOD, "valid": np.full(72, 255, dtype=np.uint8)},
    "bits beyond the ground": {
        **GOOD,
        "shapes": np.array([[5, 5]]),
        "valid": np.array([0, 0, 0, 1], dtype=np.uint8),
    },
    "negative positions": {**GOOD, "positions": np.full((24, 2), -1, dtype=np.int64)},
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_grid_is_refused(case: str) -> None:
    with pytest.raises(DataError, match="not a grid"):
        GroundGrid.from_message(BAD[case])


@given(
    size=st.integers(1, 6),
    step=st.floats(1.0, 3.0),
    start=st.floats(0.0, 2.0),
)
def test_an_area_mean_keeps_constants_and_totals(size: int, step: float, start: float) -> None:
    axis = Axis(0, size, start, step)
    source = int(np.ceil(start + size * step)) + 1
    layer = np.random.default_rng(0).uniform(0, 1, (1, source, source)).astype(np.float32)
    assert np.allclose(resample(np.ones_like(layer), axis, axis), 1.0)
    # Mean × area is the integral of the source over the target's area, by the midpoint rule.
    fine = 200
    points = start + (np.arange(size * fine) + 0.5) * step / fine
    sampled = layer[0][np.ix_(points.astype(int), points.astype(int))]
    expected = sampled.reshape(size, fine, size, fine).mean(axis=(1, 3))
    assert np.allclose(resample(layer, axis, axis)[0], expected, atol=0.02)


def test_the_affine_of_a_grid_without_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="georeference"):
        _: Affine = GroundGrid.of(data(tiny_scene(transform=None)), "hsi").affine
