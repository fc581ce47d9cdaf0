"""Scenes from GeoTIFF, ENVI and manifests: the same tiles as from every other format."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.import_scene import import_scene
from feddiff_secure.data.raster.assembly import open_scene
from feddiff_secure.data.raster.folder import layers_of, scene_files
from feddiff_secure.data.raster.manifest import SceneFiles
from feddiff_secure.data.raster.wavelength_units import in_nanometres
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError, UsageError
from tests.support.rasters import (
    CLASSES,
    COLOURS,
    CRS,
    HEIGHT,
    NODATA,
    TRANSFORM,
    WAVELENGTHS,
    WIDTH,
    arrays,
    as_envi,
    as_geotiff,
    as_hdf5,
    as_mat5,
    as_mat73,
    manifest,
    write_raster,
)


def same_tiles(one: TileSet, other: TileSet) -> bool:
    """Bit for bit: values, missing pixels, labels, places, and the sensors' constants."""
    if len(one.blocks) != len(other.blocks) or one.layout != other.layout:
        return False
    return all(
        a.hsi is not None
        and b.hsi is not None
        and a.lidar is not None
        and b.lidar is not None
        and a.hsi.tobytes() == b.hsi.tobytes()
        and a.lidar.tobytes() == b.lidar.tobytes()
        and a.label.tobytes() == b.label.tobytes()
        and a.origin.tobytes() == b.origin.tobytes()
        and a.valid.keys() == b.valid.keys()
        and all(np.array_equal(a.valid[name], b.valid[name]) for name in a.valid)
        for a, b in zip(one, other, strict=True)
    )


def written(tmp_path: Path, kind: str) -> Path:
    scene = arrays()
    if kind == "geotiff":
        return as_geotiff(tmp_path, scene)
    if kind.startswith("envi"):
        _, interleave, unit = kind.split("-")
        return as_envi(tmp_path, scene, interleave, unit)
    makers: dict[str, Callable[..., Path]] = {"mat5": as_mat5, "mat73": as_mat73}
    return makers[kind](tmp_path / "scene.mat", scene)


KINDS = ("geotiff", "envi-bsq-Nanometers", "envi-bil-um", "envi-bip-Micrometers", "mat5", "mat73")


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_gives_identical_tiles_in_every_format(tmp_path: Path, kind: str) -> None:
    reference = cut_tiles(read_dataset(as_hdf5(tmp_path / "scene.h5", arrays())), 4)
    found = cut_tiles(read_dataset(written(tmp_path, kind)), 4)
    assert same_tiles(found, reference)
    assert found.shapes == ((HEIGHT, WIDTH),)
    wanted = arrays()
    stored = wanted.hsi[:4, :4].astype(np.float32) * np.float32(1e-4)
    block = next(block for block in found if block.height == block.width == 4)
    assert block.hsi is not None
    assert np.array_equal(np.moveaxis(block.hsi[0], 0, -1), stored)


@pytest.mark.parametrize("kind", ["geotiff", "envi-bsq-nm"])
def test_what_a_raster_file_says_is_kept(tmp_path: Path, kind: str) -> None:
    found = read_dataset(written(tmp_path, kind))
    (scene,) = found.scenes
    assert (scene.crs, scene.transform, scene.classes) == (CRS, TRANSFORM, CLASSES)
    assert found.colours == COLOURS
    assert scene.layout.modalities[0].wavelengths_nm == WAVELENGTHS
    missing = (arrays().lidar == NODATA).any(axis=-1)
    assert scene.modalities["lidar"].valid is not None
    assert np.array_equal(scene.modalities["lidar"].valid, ~missing)


def test_an_import_reads_back_as_the_scene_and_refuses_an_existing_file(tmp_path: Path) -> None:
    path = as_geotiff(tmp_path, arrays())
    files = scene_files(path)
    assert files is not None
    import_scene(files, tmp_path / "owner.h5")
    assert same_tiles(
        cut_tiles(read_dataset(tmp_path / "owner.h5"), 4), cut_tiles(read_dataset(path), 4)
    )
    assert read_dataset(tmp_path / "owner.h5").colours == COLOURS
    before = (tmp_path / "owner.h5").read_bytes()
    with pytest.raises(UsageError, match="exists"):
        import_scene(files, tmp_path / "owner.h5")
    assert (tmp_path / "owner.h5").read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_is_a_scene_by_the_names_of_its_files(tmp_path: Path) -> None:
    as_envi(tmp_path, arrays()).unlink()
    assert read_dataset(tmp_path).scenes[0].classes == CLASSES
    write_raster(tmp_path / "hsi.tif", arrays().hsi)
    with pytest.raises(DataError, match=r"hsi\.img and hsi\.tif could all be hsi"):
        read_dataset(tmp_path)


def test_a_manifest_overrides_what_a_file_says(tmp_path: Path) -> None:
    as_geotiff(tmp_path, arrays())
    (tmp_path / "scene.toml").write_text(
        """
        labels = "labels.tif"
        classes = ["a", "b", "c"]
        site = "Gulfport"
        [hsi]
        file = "hsi.tif"
        scale = 2e-4
        wavelengths = [0.5, 0.6, 0.7, 0.8, 0.9]
        wavelength_units = "um"
        support = "neighbourhood"
        channels = ["v", "w", "x", "y", "z"]
        [lidar]
        file = "lidar.tif"
        scale = [0.1, 0.2]
        """,
        encoding="utf-8",
    )
    (scene,) = read_dataset(tmp_path / "scene.toml").scenes
    hsi = scene.modalities["hsi"]
    assert (scene.classes, scene.site) == (("a", "b", "c"), "Gulfport")
    assert (hsi.channels, hsi.support) == (tuple("vwxyz"), "neighbourhood")
    assert hsi.wavelengths_nm == (500.0, 600.0, 700.0, 800.0, 900.0)
    assert hsi.values[0, 0, 0] == np.float32(arrays().hsi[0, 0, 0]) * np.float32(2e-4)
    assert scene.modalities["lidar"].scaling.factors == (0.1, 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('hsi = "hsi.tif"\nlabel = "labels.tif"', "unknown key 'label'"),
        ('hsi = {file = "hsi.tif", no_data = 0}', "unknown key 'no_data'"),
        ('labels = {file = "labels.tif", scale = 1}\nhsi = "hsi.tif"', "unknown key 'scale'"),
        ("hsi = 3", "hsi is 3"),
        ('labels = "labels.tif"', "neither `hsi` nor `lidar`"),
        ('hsi = "hsi.tif"\ngrid = "lidar"', "grid is 'lidar'"),
        ('hsi = "hsi.tif"\nclasses = "grass"', "classes is 'grass'"),
        ('hsi = {file = "hsi.tif", nodata = "x"}', "nodata is 'x'"),
        ('hsi = {file = "hsi.tif", wavelength_units = "GHz"}', "wavelength_units is 'GHz'"),
        ('hsi = {file = "absent.tif"}', r"absent\.tif: no such file"),
        ('hsi = {file = "hsi.tif", dataset = "x"}', "`dataset` is for HDF5 and MATLAB"),
        ("hsi = [", "not TOML"),
    ],
)
def test_a_wrong_manifest_is_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    as_geotiff(tmp_path, arrays())
    (tmp_path / "scene.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / "scene.toml")


def test_a_finer_lidar_becomes_area_means_and_labels_the_nearest(tmp_path: Path) -> None:
    scene = arrays()
    write_raster(tmp_path / "hsi.tif", scene.hsi)
    half = (1.25, 0.0, TRANSFORM[2], 0.0, -1.25, TRANSFORM[5])
    dsm = np.repeat(np.repeat(scene.lidar[..., 0], 2, 0), 2, 1)
    dsm[::2] += np.where(dsm[::2] == NODATA, 0, np.float32(1.0))
    dsm[1::2] -= np.where(dsm[1::2] == NODATA, 0, np.float32(1.0))
    write_raster(tmp_path / "lidar.tif", dsm, transform=half, nodata=NODATA)
    third = (2.5 / 3, 0.0, TRANSFORM[2], 0.0, -2.5 / 3, TRANSFORM[5])
    gt = np.zeros((3 * HEIGHT, 3 * WIDTH), dtype=np.uint8)
    gt[1::3, 1::3] = scene.label  # the centre of each pixel of the HSI; the rest is 0
    write_raster(tmp_path / "labels.tif", gt, transform=third)
    found = read_dataset(manifest(tmp_path, ".tif", 'classes = ["a", "b", "c"]')).scenes[0]
    lidar = found.modalities["lidar"]
    there = scene.lidar[..., 0] != NODATA
    assert lidar.valid is not None
    assert np.array_equal(lidar.valid, there)
    expected = np.tanh(np.arcsinh(scene.lidar[..., 0]) / 6)[there]
    assert np.allclose(lidar.values[0][there], expected, atol=1e-6)
    assert lidar.support == "pixel"
    assert np.array_equal(found.label, scene.label)


def test_means_are_taken_over_the_pixels_that_are_there(tmp_path: Path) -> None:
    write_raster(tmp_path / "hsi.tif", arrays(1, 3).hsi)
    half = (1.25, 0.0, TRANSFORM[2], 0.0, -1.25, TRANSFORM[5])
    gap = NODATA
    dsm = np.array([[1, 2, gap, 4, gap, gap], [3, 6, 6, gap, gap, 8]], dtype=np.float32)
    write_raster(tmp_path / "lidar.tif", dsm, transform=half, nodata=NODATA)
    (tmp_path / "scene.toml").write_text(
        'hsi = "hsi.tif"\nlidar = {file = "lidar.tif", scale = 1}', encoding="utf-8"
    )
    found = read_dataset(tmp_path / "scene.toml", require_labels=False).scenes[0]
    lidar = found.modalities["lidar"]
    assert lidar.values.tolist() == [[[3.0, 5.0, 0.0]]]  # of four, of two, of one: too few
    assert lidar.valid is not None
    assert lidar.valid.tolist() == [[True, True, False]]


def test_a_lidar_that_covers_a_part_leaves_the_rest_missing(tmp_path: Path) -> None:
    scene = arrays()
    write_raster(tmp_path / "hsi.tif", scene.hsi)
    shifted = (2.5, 0.0, TRANSFORM[2] + 10 * 2.5, 0.0, -2.5, TRANSFORM[5] - 4 * 2.5)
    heights = np.abs(scene.lidar[..., :1])
    write_raster(tmp_path / "lidar.tif", heights, transform=shifted)
    (tmp_path / "scene.toml").write_text('hsi = "hsi.tif"\nlidar = "lidar.tif"', encoding="utf-8")
    found = read_dataset(tmp_path / "scene.toml", require_labels=False)
    lidar = found.scenes[0].modalities["lidar"]
    covered = np.zeros((HEIGHT, WIDTH), dtype=bool)
    covered[4:, 10:] = True
    assert lidar.valid is not None
    assert np.array_equal(lidar.valid, covered)
    picked = heights[: HEIGHT - 4, : WIDTH - 10, 0]
    expected = np.tanh(np.arcsinh(picked) / np.float32(6))
    assert np.array_equal(lidar.values[0][4:, 10:], expected)
    assert any("covers 57.1% of hsi" in note for note in found.notes)


def test_the_grid_may_be_that_of_the_lidar(tmp_path: Path) -> None:
    scene = arrays(20, 30)
    write_raster(tmp_path / "hsi.tif", scene.hsi)
    double = (5.0, 0.0, TRANSFORM[2], 0.0, -5.0, TRANSFORM[5])
    write_raster(tmp_path / "lidar.tif", np.abs(scene.lidar[:10, :15]), transform=double)
    (tmp_path / "scene.toml").write_text(
        'hsi = "hsi.tif"\nlidar = "lidar.tif"\ngrid = "lidar"', encoding="utf-8"
    )
    found = read_dataset(tmp_path / "scene.toml", require_labels=False).scenes[0]
    assert (found.shape, found.transform) == ((10, 15), double)
    blocks = scene.hsi.reshape(10, 2, 15, 2, 5).mean(axis=(1, 3))
    values = np.moveaxis(found.modalities["hsi"].values, 0, -1)
    assert np.allclose(values, blocks * 1e-4, atol=1e-7)  # the integer's factor, not the float's


@pytest.mark.parametrize("window", [(7, 11), (5, 34), (21, 3)])
def test_windows_put_together_are_the_scene_bit_for_bit(
    tmp_path: Path, window: tuple[int, int]
) -> None:
    """With a LiDAR of other pixels, a shift and gaps, which are the hard cases."""
    scene = arrays()
    write_raster(tmp_path / "hsi.tif", scene.hsi)
    odd = (0.7, 0.0, TRANSFORM[2] + 3.1, 0.0, -0.9, TRANSFORM[5] - 2.3)
    fine = arrays(50, 110, seed=5).lidar
    fine[:, 30:] = np.abs(fine[:, 30:])  # most windows have no gap
    write_raster(tmp_path / "lidar.tif", fine, transform=odd, nodata=NODATA)
    write_raster(tmp_path / "labels.tif", scene.label)
    files = scene_files(manifest(tmp_path, ".tif", 'classes = ["a", "b", "c"]'))
    assert files is not None
    with open_scene(files) as opened:
        whole = opened.dataset(require_labels=True).scenes[0]
        assert whole.modalities["lidar"].support == "neighbourhood"  # pixels lie across others
        assert whole.modalities["hsi"].support == "pixel"
        for top in range(0, HEIGHT, window[0]):
            for left in range(0, WIDTH, window[1]):
                rows = slice(top, min(top + window[0], HEIGHT))
                cols = slice(left, min(left + window[1], WIDTH))
                part = opened.window(rows, cols, CLASSES).scenes[0]
                assert np.array_equal(part.label, whole.label[rows, cols])
                for name, modality in whole.modalities.items():
                    mine = part.modalities[name]
                    assert mine.layout == modality.layout
                    wanted = np.ascontiguousarray(modality.values[:, rows, cols])
                    assert mine.values.tobytes() == wanted.tobytes()
                    if modality.valid is not None:
                        there = np.ones(mine.pixels, bool) if mine.valid is None else mine.valid
                        assert np.array_equal(there, modality.valid[rows, cols])


def test_wavelengths_without_a_unit_are_told_by_their_range_or_refused() -> None:
    assert in_nanometres([0.4, 2.5], None, "f")[0] == (400.0, 2500.0)
    assert in_nanometres([400.0, 2500.0], "Unknown", "f")[0] == (400.0, 2500.0)
    with pytest.raises(DataError, match="have no unit"):
        in_nanometres([40.0, 250.0], None, "f")
    with pytest.raises(DataError, match="'GHz'"):
        in_nanometres([40.0], "GHz", "f")


def test_a_single_raster_is_the_hsi_of_a_scene_without_labels(tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.img", arrays().hsi)
    for name in ("scene.img", "scene.hdr"):
        found = read_dataset(tmp_path / name, require_labels=False)
        assert found.layout.names == ("hsi",)
    with pytest.raises(DataError, match="holds no `label`"):
        read_dataset(tmp_path / "scene.img")


def test_missing_rasterio_is_said_in_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raster(tmp_path / "hsi.tif", arrays().hsi)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UsageError, match="needs rasterio") as caught:
        read_dataset(path)
    assert "feddiff-secure[geo]" in caught.value.hint


def test_a_scene_of_single_files_needs_a_modality(tmp_path: Path) -> None:
    files: SceneFiles = layers_of(lidar=tmp_path / "dsm.tif")
    assert files.grid == "lidar"
    with pytest.raises(ValueError, match="neither"):
        layers_of(labels=tmp_path / "gt.tif")


def test_no_sidecar_file_changes_what_a_raster_says(tmp_path: Path) -> None:
    path = as_geotiff(tmp_path, arrays())
    before = read_dataset(path)
    (tmp_path / "hsi.tif.aux.xml").write_text(
        '<PAMDataset><SRS>EPSG:4326</SRS><PAMRasterBand band="1">'
        f"<NoDataValue>{arrays().hsi[0, 0, 0]}</NoDataValue></PAMRasterBand></PAMDataset>",
        encoding="utf-8",
    )
    (tmp_path / "hsi.tfw").write_text("9\n0\n0\n-9\n7\n7\n", encoding="utf-8")
    after = read_dataset(path)
    assert after.scenes[0].crs == before.scenes[0].crs == CRS
    assert after.scenes[0].modalities["hsi"].valid is None
    assert same_tiles(cut_tiles(after, 4), cut_tiles(before, 4))


def test_a_header_beside_a_tiff_gives_wavelengths_only_if_it_is_of_that_image(
    tmp_path: Path,
) -> None:
    path = write_raster(tmp_path / "hsi.tif", arrays().hsi)
    wavelengths = "wavelength units = nm\nwavelength = {400, 500, 600, 700, 800}\n"
    for head, found in (
        ("ENVI\nsamples = 34\nlines = 21\nbands = 5\n", (400.0, 500.0, 600.0, 700.0, 800.0)),
        ("ENVI\nsamples = 99\n", None),
        ("BYTEORDER I\nNROWS 21\n", None),  # an ESRI header
    ):
        (tmp_path / "hsi.hdr").write_text(head + wavelengths, encoding="utf-8")
        layout = read_dataset(path, require_labels=False).layout
        assert layout.modalities[0].wavelengths_nm == found


def test_nodata_of_labels_is_unlabelled(tmp_path: Path) -> None:
    label = np.where(arrays().label == 0, 255, arrays().label).astype(np.uint8)
    write_raster(tmp_path / "hsi.tif", arrays().hsi)
    write_raster(tmp_path / "labels.tif", label, nodata=255)
    (tmp_path / "scene.toml").write_text(
        'hsi = "hsi.tif"\nlabels = "labels.tif"\nclasses = ["a", "b", "c"]', encoding="utf-8"
    )
    assert np.array_equal(read_dataset(tmp_path / "scene.toml").scenes[0].label, arrays().label)
    write_raster(tmp_path / "labels.tif", label)
    (tmp_path / "scene.toml").write_text(
        'hsi = "hsi.tif"\nlabels = [{file = "labels.tif", nodata = 255}, "labels.tif"]',
        encoding="utf-8",
    )
    joined = read_dataset(tmp_path / "scene.toml").scenes[0].label
    assert np.array_equal(joined, label)  # to the second file 255 is a class
