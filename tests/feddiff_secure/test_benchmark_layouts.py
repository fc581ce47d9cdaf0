"""Ground truth and scenes in the forms that public benchmarks and their loaders use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from scipy.sparse import coo_array

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.data.mat5_nested import read_nested, read_nested_names
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.roi_text import read_roi_text
from feddiff_secure.data.rs_fusion import from_rs_fusion
from feddiff_secure.data.samples import as_samples, scene_from_samples
from feddiff_secure.errors import DataError, UsageError
from tests.support.rasters import CLASSES, COLOURS, arrays, as_geotiff, write_raster

CONTEST = "2013_IEEE_GRSS_DF_Contest"


def roi_text(label: np.ndarray[Any, Any], *, alternating: bool = False, columns: str = "") -> str:
    """What ENVI exports: the heads first and then the points, or each head before its points."""
    height, width = label.shape
    opening = ["; ENVI Output of ROIs (4.8) [Tue Oct 31 19:11:26 2023]"]
    opening += [f"; Number of ROIs: {len(CLASSES)}", f"; File Dimension: {width} x {height}", ";"]
    heads, blocks = [], []
    for number, name in enumerate(CLASSES, start=1):
        red, green, blue = COLOURS[number - 1]
        rows, cols = np.nonzero(label == number)
        head = [f"; ROI name: {name}", f"; ROI rgb value: {{{red}, {green}, {blue}}}"]
        heads.append([*head, f"; ROI npts: {rows.size}"])
        points = zip((cols + 1).tolist(), (rows + 1).tolist(), strict=True)
        blocks.append([f"{i:7d}{x:6d}{y:5d}{columns}" for i, (x, y) in enumerate(points, start=1)])
    lines = list(opening)
    if alternating:
        for head, block in zip(heads, blocks, strict=True):
            lines += [*head, f";    ID     X    Y{columns and '   B1'}", *block, ""]
    else:
        for head in heads:
            lines += [*head, ";"]
        lines[-1] = ";    ID     X    Y"
        for block in blocks:
            lines += [*block, ""]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("alternating", [False, True])
def test_roi_text_becomes_the_label_raster_it_was_exported_from(
    tmp_path: Path, alternating: bool
) -> None:
    label = arrays().label
    path = tmp_path / "roi.txt"
    path.write_text(roi_text(label, alternating=alternating, columns="   17.5"), encoding="utf-8")
    found = read_roi_text(path)
    assert np.array_equal(found.label, label)
    assert (found.classes, found.colours, found.ambiguous) == (CLASSES, COLOURS, 0)


def test_a_pixel_in_several_rois_is_left_unlabelled(tmp_path: Path) -> None:
    text = roi_text(np.array([[1, 2, 3]]))
    first, _, rest = text.partition("\n      1     2    1\n")
    assert rest
    path = tmp_path / "roi.txt"
    path.write_text(f"{first}\n      1     1    1\n{rest}", encoding="utf-8")
    found = read_roi_text(path)
    assert found.label.tolist() == [[0, 0, 3]]
    assert found.ambiguous == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("ENVI Output", "Output"), "no line of its head"),
        (
            lambda t: t.replace("File Dimension: 34", "File Dimension: 33"),
            r"X 34, Y \d+ lies outside",
        ),
        (lambda t: t.replace("x 21", "x 5"), "lies outside the raster of 34 samples × 5 lines"),
        (lambda t: t.replace("; File Dimension: 34 x 21\n", ""), "`File Dimension` is absent"),
        (lambda t: t[: len(t) // 2], "the file is cut short|`ROI npts` add up"),
        (lambda t: t.replace("npts: ", "npts: x"), "`ROI npts` is no number"),
        (lambda t: t.replace("ID     X", "Map X"), "no columns ID, X, Y"),
        (lambda t: t.replace("      2 ", "      7 ", 1), "do not count from 1"),
        (lambda t: t.replace("      2 ", "      b ", 1), "a point is no ID, X, Y"),
        (lambda t: t.replace("{10,", "{999,"), "a colour exceeds 255"),
        (lambda t: t.replace("ROI name: trees", "ROI name: grass"), "'grass' occurs twice"),
    ],
)
def test_wrong_roi_text_is_refused(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    text = roi_text(arrays().label)
    changed = change(text)
    assert changed != text
    path = tmp_path / "roi.txt"
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_roi_text(path)
    assert str(path) in str(caught.value)


def houston_tree(folder: Path) -> Path:
    """As `fetch_houston2013` leaves it: GeoTIFFs, headers and ROI text in 2013_DFTC."""
    place = folder / "2013_DFTC"
    place.mkdir()
    scene = arrays()
    write_raster(place / f"{CONTEST}_CASI.tif", scene.hsi.astype(np.uint16))
    (place / f"{CONTEST}_CASI.hdr").write_text(
        "ENVI\nfile type = TIFF\nwavelength units = nm\nwavelength = { 450, 550,\n 650, 750, 850 }",
        encoding="utf-8",
    )
    write_raster(place / f"{CONTEST}_LiDAR.tif", np.abs(scene.lidar[..., 0]))
    odd = np.indices(scene.label.shape).sum(axis=0) % 2 == 1
    for part, kept in (("TR", odd), ("VA", ~odd)):
        text = roi_text(np.where(kept, scene.label, 0), alternating=part == "TR")
        (place / f"{CONTEST}_Samples_{part}.txt").write_text(text, encoding="utf-8")
    return folder


def test_the_tree_of_houston_is_a_scene_with_both_sets_of_samples(tmp_path: Path) -> None:
    houston_tree(tmp_path)
    for path in (tmp_path, tmp_path / "2013_DFTC"):
        found = read_dataset(path)
        (scene,) = found.scenes
        assert np.array_equal(scene.label, arrays().label)
        assert (scene.classes, found.colours) == (CLASSES, COLOURS)
        assert scene.modalities["hsi"].wavelengths_nm == (450.0, 550.0, 650.0, 750.0, 850.0)
        assert scene.crs == "EPSG:32617"
    (tmp_path / "2013_DFTC" / f"{CONTEST}_Samples_VA.txt").unlink()
    assert 0 < (read_dataset(tmp_path).scenes[0].label > 0).sum() < (arrays().label > 0).sum()


def test_sets_of_samples_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    houston_tree(tmp_path)
    other = np.where(arrays().label == 0, 0, arrays().label % 3 + 1)
    path = tmp_path / "2013_DFTC" / f"{CONTEST}_Samples_VA.txt"
    path.write_text(roi_text(other), encoding="utf-8")
    with pytest.raises(DataError, match="pixels have another label here"):
        read_dataset(tmp_path)


def test_the_tree_of_trento_is_a_scene(tmp_path: Path) -> None:
    place = tmp_path / "Trento-b4afc449"
    place.mkdir()
    rng = np.random.default_rng(0)
    label = rng.integers(0, 7, (6, 9))
    scipy.io.savemat(place / "Italy_hsi.mat", {"data": rng.random((6, 9, 63))})
    scipy.io.savemat(place / "Italy_lidar.mat", {"data": rng.random((6, 9, 2))})
    scipy.io.savemat(place / "allgrd.mat", {"mask_test": label.astype(np.float64)})
    (scene,) = read_dataset(tmp_path).scenes
    assert np.array_equal(scene.label, label)
    assert scene.classes[0] == "Apple Trees"
    assert scene.modalities["hsi"].wavelengths_nm is not None
    assert scene.modalities["hsi"].wavelengths_nm[-1] == pytest.approx(989.09)


def test_a_tree_with_labels_apart_is_a_scene(tmp_path: Path) -> None:
    (tmp_path / "Trento").mkdir()
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, (6, 9))
    kept = rng.random((6, 9)) < 0.5
    stored = {
        "HSI": rng.random((6, 9, 5)),
        "LiDAR": rng.random((6, 9)),
        "TRLabel": np.where(kept, label, 0),
        "TSLabel": np.where(kept, 0, label),
    }
    for name, values in stored.items():
        scipy.io.savemat(tmp_path / "Trento" / f"{name}.mat", {f"{name}_x": values})
    assert np.array_equal(read_dataset(tmp_path).scenes[0].label, label)


def loader_tuple(**changes: Any) -> tuple[Any, ...]:
    """What `fetch_houston2013` returns, of a small scene."""
    scene = arrays()
    odd = np.indices(scene.label.shape).sum(axis=0) % 2 == 1
    named: dict[str, Any] = {
        "hsi": np.moveaxis(scene.hsi, -1, 0),
        "lidar": np.moveaxis(np.abs(scene.lidar), -1, 0),
        "train": coo_array(np.where(odd, scene.label, 0)),
        "test": coo_array(np.where(odd, 0, scene.label)),
        "info": {
            "name": "houston2013",
            "label_name": dict(enumerate(CLASSES, start=1)),
            "wavelength": np.array([450.0, 550.0, 650.0, 750.0, 850.0]),
        },
        **changes,
    }
    return tuple(value for value in named.values() if value is not None)


def test_a_loaders_tuple_is_a_scene_with_the_labels_asked_for() -> None:
    odd = np.indices(arrays().label.shape).sum(axis=0) % 2 == 1
    for subset, kept in (("all", np.ones_like(odd)), ("train", odd), ("test", ~odd)):
        (scene,) = from_rs_fusion(loader_tuple(), subset=subset).scenes  # type: ignore[arg-type]  # a literal
        assert np.array_equal(scene.label, np.where(kept, arrays().label, 0))
    assert np.allclose(
        np.moveaxis(scene.modalities["hsi"].values, 0, -1), arrays().hsi * np.float32(1e-4)
    )
    assert (scene.classes, scene.name) == (CLASSES, "houston2013")
    truth = coo_array(arrays().label.astype(np.float64))
    one = loader_tuple(train=truth, test=None)
    assert np.array_equal(from_rs_fusion(one).scenes[0].label, arrays().label)
    with pytest.raises(UsageError, match="one label array"):
        from_rs_fusion(one, subset="train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": coo_array((3, 4), dtype=np.uint8)}, r"train labels have shape \(3, 4\)"),
        (
            {"test": coo_array((arrays().label > 0).astype(np.uint8))},
            "train and test labels differ",
        ),
        ({"train": coo_array(arrays().label * 0.5)}, "train labels are of type float64"),
        (
            {"train": coo_array(([1, 1], ([0, 0], [0, 0])), shape=arrays().label.shape)},
            "hold a pixel twice",
        ),
        ({"hsi": np.zeros((3, 4))}, r"hsi is float64 of shape \(3, 4\)"),
        ({"info": {"label_name": {0: "a", 2: "b"}}}, "label_name does not name labels 1 to K"),
        ({"info": {"wavelength": [400.0, 500.0]}}, "2 wavelengths for 5 bands"),
        ({"info": 3}, "the last of type int"),
    ],
)
def test_a_wrong_tuple_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_rs_fusion(loader_tuple(**changes))


@pytest.mark.parametrize("side", [None, 8])
def test_samples_for_torchgeo_come_back_as_the_same_pixels(
    tmp_path: Path, side: int | None
) -> None:
    dataset = read_dataset(as_geotiff(tmp_path, arrays()))
    samples = list(as_samples(dataset, side))
    first = samples[-1]
    assert (first["image"].dtype, first["mask"].dtype) == (torch.float32, torch.int64)
    assert first["image"].shape[1:] == first["mask"].shape
    back = scene_from_samples(samples, dataset.layout, dataset.classes)
    assert back.layout == dataset.layout
    (scene,) = dataset.scenes
    assert scene.transform is not None
    for part in back.scenes:
        assert part.transform is not None
        row = round((part.transform[5] - scene.transform[5]) / scene.transform[4])
        col = round((part.transform[2] - scene.transform[2]) / scene.transform[0])
        at = slice(row, row + part.shape[0]), slice(col, col + part.shape[1])
        assert np.array_equal(part.label, scene.label[at])
        for name, modality in scene.modalities.items():
            assert np.array_equal(part.modalities[name].values, modality.values[:, *at])
    if side is None:
        assert len(cut_tiles(back, 4).blocks) == len(cut_tiles(dataset, 4).blocks)


def test_wrong_samples_are_refused(tmp_path: Path) -> None:
    dataset = read_dataset(as_geotiff(tmp_path, arrays()))
    good = next(as_samples(dataset))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"image": good["image"][:3]}, "the layout has 7 bands"),
        ({"mask": good["mask"].float()}, "mask is float32"),
        ({"mask": good["mask"] + 5}, r"leaves 0\.\.3"),
        ({"boxes": 1}, "its keys are"),
        ({"image": good["image"] * float("nan"), "valid": good["valid"] | True}, "NaN"),
    ]
    for change, message in wrong:
        with pytest.raises(DataError, match=message):
            scene_from_samples([{**good, **change}], dataset.layout, dataset.classes)
    with pytest.raises(UsageError, match="side is 0"):
        next(as_samples(dataset, 0))


def muufl_tree(folder: Path, *, compressed: bool = True) -> Path:
    """As `fetch_muufl` leaves it: everything in one structure, with a cell of LiDAR returns."""
    place = folder / "MUUFLGulfport-0.1" / "MUUFLGulfportSceneLabels"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, (6, 9))
    returns = np.empty((1, 2), dtype=object)
    for number in range(2):
        returns[0, number] = {"x": rng.random((6, 9)), "z": rng.random((6, 9, 2)) + number}
    names = np.array([[name] for name in CLASSES], dtype=object)
    hsi = {
        "info": {"description": "x", "wavelength": np.array([[400.0], [500.0], [600.0]])},
        "Data": rng.random((6, 9, 3)),
        "Lidar": returns,
        "sceneLabels": {
            "Materials_Type": names,
            "labels": np.where(label == 0, -1.0, label),
        },
    }
    path = place / "muufl_gulfport_campus_1_hsi_220_label.mat"
    scipy.io.savemat(path, {"hsi": hsi}, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_the_tree_of_muufl_is_a_scene(tmp_path: Path, compressed: bool) -> None:
    stored = scipy.io.loadmat(muufl_tree(tmp_path, compressed=compressed), squeeze_me=True)["hsi"]
    (scene,) = read_dataset(tmp_path).scenes
    label = stored["sceneLabels"].item()["labels"].item()
    assert np.array_equal(scene.label, np.maximum(label, 0))
    assert scene.classes == CLASSES
    assert scene.modalities["hsi"].wavelengths_nm == (400.0, 500.0, 600.0)
    values = stored["Data"].item().astype(np.float32)
    assert np.array_equal(np.moveaxis(scene.modalities["hsi"].values, 0, -1), values)
    heights = stored["Lidar"].item()[0]["z"].item()
    expected = np.tanh(np.arcsinh(heights.astype(np.float32)) / np.float32(6))
    found = np.moveaxis(scene.modalities["lidar"].values, 0, -1)
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hsi.Nothing", "there is no `Nothing`"),
        ("hsi.Lidar.2.z", "there is no `2`"),
        ("hsi.Lidar.z", "there is no `z`"),
        ("hsi.info.description", "is no array of real numbers"),
        ("hsi.Data.0", "there is no `0`"),
        ("other.Data", "holds no variable other"),
        ("hsi" + ".a" * 9, "more than 8 steps"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, name: str, message: str) -> None:
    path = muufl_tree(tmp_path)
    with pytest.raises(DataError, match=message):
        read_nested(path, name, DEFAULT_LIMITS)


def test_a_damaged_structure_is_never_more_than_a_refusal(tmp_path: Path) -> None:
    path = muufl_tree(tmp_path, compressed=False)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    places = [*range(128, 1200, 4), *rng.integers(1200, len(whole), 200).tolist()]
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        for read in (read_nested, read_nested_names):
            name = "hsi.Lidar.1.z" if read is read_nested else "hsi.sceneLabels.Materials_Type"
            with contextlib.suppress(DataError):
                read(path, name, DEFAULT_LIMITS)


def test_a_structure_that_inflates_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    path = muufl_tree(tmp_path)
    with pytest.raises(DataError, match="beyond 1000"):
        read_nested(path, "hsi.Data", replace(DEFAULT_LIMITS, array_bytes=1000))
