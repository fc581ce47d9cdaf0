"""Reading: what is written comes back, and every bad file is a DataError that says why."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from feddiff_secure.data.hdf5 import read_hdf5
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.inspect import describe
from feddiff_secure.data.limits import Limits
from feddiff_secure.data.mat5 import list_variables, read_mat5
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset, Modality, PixelTable, Scene
from feddiff_secure.errors import DataError

WAVELENGTHS = [400.0, 500.0, 600.0]


def table_file(path: Path, attributes: dict[str, Any] | None = None, **fields: Any) -> Path:
    """A small valid table; `fields` replace its data sets (None leaves one out)."""
    rng = np.random.default_rng(0)
    stored: dict[str, Any] = {
        "hsi": rng.random((6, 3)).astype(np.float32),
        "lidar": rng.random((6, 2)).astype(np.float32),
        "label": np.array([0, 1, 2, 2, 1, 0], dtype=np.uint8),
        "region": np.array([0, 1, 2, 2, 1, 0], dtype=np.uint16),
        **fields,
    }
    with h5py.File(path, "w") as file:
        for name, values in stored.items():
            if values is not None:
                file[name] = values
        file.attrs["classes"] = ["grass", "water"]
        if "hsi" in file and file["hsi"].ndim > 1:
            file["hsi"].attrs["wavelengths_nm"] = WAVELENGTHS
            file["hsi"].attrs["support"] = "pixel"
        for key, value in (attributes or {}).items():
            owner, _, name = key.rpartition("/")
            (file[owner] if owner else file).attrs[name] = value
    return path


def scene_of(number: int = 0, **changes: Any) -> Scene:
    rng = np.random.default_rng(number)
    fields: dict[str, Any] = {
        "label": rng.integers(0, 3, (4, 5)).astype(np.int16),
        "classes": ("grass", "water"),
        "region": rng.integers(0, 3, (4, 5)).astype(np.int32),
        "group": number,
        "site": f"site {number}",
        **changes,
    }
    hsi = Modality(
        "hsi", rng.random((3, 4, 5)).astype(np.float32), ("a", "b", "c"), tuple(WAVELENGTHS)
    )
    lidar = Modality(
        "lidar", rng.random((2, 4, 5)).astype(np.float32), ("h", "i"), None, "neighbourhood"
    )
    return Scene({"hsi": hsi, "lidar": lidar}, **fields)


def same_modalities(one: Scene | PixelTable, other: Scene | PixelTable) -> bool:
    return all(
        np.array_equal(one.modalities[name].values, other.modalities[name].values)
        and one.modalities[name].layout == other.modalities[name].layout
        for name in ("hsi", "lidar")
    )


@pytest.mark.parametrize("count", [1, 3])
def test_scenes_come_back_as_they_were_written(tmp_path: Path, count: int) -> None:
    written = tuple(scene_of(number) for number in range(count))
    write_scene(tmp_path / "s.h5", Dataset(scenes=written))
    read = read_dataset(tmp_path / "s.h5").scenes
    assert len(read) == count
    for one, other in zip(written, read, strict=True):
        assert same_modalities(one, other)
        assert np.array_equal(one.label, other.label)
        assert np.array_equal(one.region, other.region)
        assert (one.classes, one.group, one.site) == (other.classes, other.group, other.site)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.h5"]


def test_a_georeference_comes_back(tmp_path: Path) -> None:
    placed = scene_of(crs="EPSG:32617", transform=(2.5, 0.0, 4e5, 0.0, -2.5, 3e6))
    write_scene(tmp_path / "s.h5", Dataset(scenes=(placed,)))
    (read,) = read_dataset(tmp_path / "s.h5").scenes
    assert (read.crs, read.transform) == (placed.crs, placed.transform)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = PixelTable(
        {
            "hsi": Modality("hsi", rng.random((4, 2)).astype(np.float32), ("a", "b")),
            "lidar": Modality("lidar", rng.random((4, 1)).astype(np.float32), ("h",)),
        },
        np.array([1, 2, 0, 1], dtype=np.int16),
        ("grass", "water"),
        region=np.arange(4, dtype=np.int32),
        group=np.zeros(4, dtype=np.int32),
        site=np.array(["Zürich", "b", "b", "c"]),
        row_col=np.arange(8, dtype=np.int32).reshape(4, 2),
    )
    write_scene(tmp_path / "t.h5", Dataset(table=table))
    read = read_dataset(tmp_path / "t.h5").table
    assert read is not None
    assert same_modalities(table, read)
    for name in ("label", "region", "group", "site", "row_col"):
        assert np.array_equal(getattr(table, name), getattr(read, name))


def test_stacks_that_do_not_fit_one_file_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    placed = (scene_of(0, crs="EPSG:4326"), scene_of(1))
    with pytest.raises(DataError, match="cannot share one file"):
        write_scene(tmp_path / "s.h5", Dataset(scenes=placed))
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "s.h5").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_scene(tmp_path / "s.h5", Dataset(scenes=(scene_of(),)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.h5"]


def test_integer_reflectance_is_scaled_by_a_constant_and_lidar_saturates(tmp_path: Path) -> None:
    path = table_file(
        tmp_path / "t.h5",
        hsi=np.full((6, 3), 5000, dtype=np.int16),
        lidar=np.array([[0.0, 10.0]] * 6),
    )
    table = read_hdf5(path).table
    assert table is not None
    assert np.allclose(table.modalities["hsi"].values, 0.5)
    assert table.modalities["lidar"].values[0].tolist() == pytest.approx(
        [0.0, np.tanh(np.arcsinh(10.0) / 6.0)]
    )
    assert table.modalities["lidar"].layout.scaling == "saturating"
    assert table.modalities["lidar"].support == "neighbourhood"


def test_a_stated_scale_multiplies_each_channel(tmp_path: Path) -> None:
    path = table_file(
        tmp_path / "t.h5", {"lidar/scale": [0.5, 0.01]}, lidar=np.array([[4, 100]] * 6)
    )
    table = read_hdf5(path).table
    assert table is not None
    assert np.allclose(table.modalities["lidar"].values, [2.0, 1.0])


def test_scaling_one_pixel_does_not_depend_on_another(tmp_path: Path) -> None:
    lidar = np.random.default_rng(0).normal(0, 50, (6, 2))
    before = read_hdf5(table_file(tmp_path / "a.h5", lidar=lidar)).table
    lidar[0] = 1e6
    after = read_hdf5(table_file(tmp_path / "b.h5", lidar=lidar)).table
    assert before is not None
    assert after is not None
    assert np.array_equal(
        before.modalities["lidar"].values[1:], after.modalities["lidar"].values[1:]
    )


NAN = np.full((6, 3), np.nan, dtype=np.float32)
BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"hsi": None, "lidar": None}, "neither `hsi` nor `lidar`"),
    ({"label": None}, "no `label`"),
    ({"hsi": NAN}, "`hsi`: 18 of 18 values are NaN"),
    ({"hsi": np.full((6, 3), 1e300)}, "18 of 18 values are NaN, infinite or beyond float32"),
    ({"hsi": np.ones((5, 3))}, r"`hsi` has shape \(5, 3\)"),
    ({"hsi": np.ones(6)}, r"`hsi` has shape \(6,\)"),
    ({"hsi": np.ones((0, 3))}, "outside 1"),
    ({"hsi": np.ones((6, 3), dtype=complex)}, "not numbers"),
    ({"hsi": np.ones((6, 3), dtype=bool)}, "not numbers"),
    ({"hsi": np.array([[b"x"] * 3] * 6)}, "not numbers"),
    ({"hsi": np.array([["x"] * 3] * 6, dtype=h5py.string_dtype())}, "not numbers"),
    ({"label": np.ones((6, 1), dtype=int)}, "has shape"),
    ({"label": np.ones(6)}, "float64 is not an integer type"),
    ({"label": np.array([0, 1, 3, 2, 1, 0])}, r"labels 0\.\.3 leave 0\.\.2"),
    ({"label": np.array([0, 1, -1, 2, 1, 0])}, r"values -1\.\.2 leave"),
    ({"label": np.full(6, 2**60)}, "leave"),
    ({"region": np.full(6, -1)}, "`region`: values"),
    ({"region": np.ones(5, dtype=int)}, "`region` has shape"),
    ({"region": np.ones(6)}, "`region`: type float64"),
    ({"group": np.ones(1, dtype=int)}, "`group` has shape"),
    ({"row_col": np.ones(6, dtype=int)}, "`row_col` has shape"),
    ({"site": np.ones((6, 2), dtype=int)}, "`site` has shape"),
    ({"site": np.array([b"a"])}, "1 names for 6 pixels"),
    ({"site": np.array([b"\xff"] * 6)}, "not UTF-8"),
    ({"site": np.array([b"a\x1b[2J"] * 6)}, "unprintable"),
    ({"gt": np.ones(6, dtype=int)}, "both `label` and `gt`"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_FIELDS)
def test_a_bad_field_is_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = table_file(tmp_path / "bad.h5", **fields)
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


BAD_ATTRIBUTES: list[tuple[dict[str, Any], str]] = [
    ({"classes": ["grass", "grass"]}, "occurs twice"),
    ({"classes": ["grass", ""]}, "name of 0 characters"),
    ({"classes": ["grass", "x" * 201]}, "201 characters"),
    ({"classes": ["grass", "wa\x1bter"]}, "unprintable"),
    ({"classes": [1.0, 2.0]}, "not a list of strings"),
    ({"classes": h5py.Empty("f")}, "is empty"),
    ({"hsi/wavelengths_nm": [400.0, 500.0]}, "2 wavelengths for 3 bands"),
    ({"hsi/wavelengths_nm": [400.0, 600.0, 500.0]}, "strictly increasing"),
    ({"hsi/wavelengths_nm": [400.0, np.nan, 500.0]}, "finite"),
    ({"hsi/wavelengths_nm": [0.0, 1.0, 2.0]}, "positive"),
    ({"hsi/wavelengths_nm": "visible"}, "not a number"),
    ({"hsi/scale": 0.0}, "scale"),
    ({"hsi/scale": np.inf}, "scale"),
    ({"hsi/scale": [1.0, 2.0]}, "2 values for 3 channels"),
    ({"hsi/support": "patch"}, "support 'patch' is unknown"),
    ({"hsi/support": ["pixel", "pixel"]}, "holds 2 strings"),
    ({"lidar/channels": ["h"]}, "1 names for 2 channels"),
    ({"crs": "EPSG:4326"}, "cannot place a table"),
]


@pytest.mark.parametrize(("attributes", "message"), BAD_ATTRIBUTES)
def test_a_bad_attribute_is_named(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    path = table_file(tmp_path / "bad.h5", attributes)
    with pytest.raises(DataError, match=message):
        read_dataset(path)


@pytest.mark.parametrize("transform", [[1.0] * 5, [0.0] * 6, [np.nan] * 6])
def test_a_bad_transform_is_refused(tmp_path: Path, transform: list[float]) -> None:
    path = tmp_path / "s.h5"
    write_scene(path, Dataset(scenes=(scene_of(),)))
    with h5py.File(path, "a") as file:
        file.attrs["transform"] = transform
    with pytest.raises(DataError, match="transform"):
        read_dataset(path)


def test_a_missing_file_a_folder_and_an_unknown_suffix_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "no.h5", tmp_path / "no.tif", tmp_path / "no.mat"):
        with pytest.raises(DataError, match="no such file"):
            read_dataset(path)
    (tmp_path / "dir.h5").mkdir()
    with pytest.raises(DataError, match="no such file"):
        read_dataset(tmp_path / "dir.h5")
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"suffix '\.npy'"):
        read_dataset(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", b"\0" * 600])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_dataset(path)


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".h5":
        table_file(path)
    else:
        scipy.io.savemat(path, {"hsi": np.ones((60, 3)), "label": np.ones((60, 1))})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    with pytest.raises(DataError):
        read_dataset(path)


def test_links_and_outside_storage_are_refused(tmp_path: Path) -> None:
    secret = table_file(tmp_path / "secret.h5")
    raw = tmp_path / "raw.bin"
    raw.write_bytes(np.ones((6, 3)).tobytes())
    layout = h5py.VirtualLayout((6, 3), np.float32)
    layout[:] = h5py.VirtualSource(secret, "hsi", (6, 3))

    def external(file: h5py.File) -> None:
        file["hsi"] = h5py.ExternalLink(str(secret), "hsi")

    def soft(file: h5py.File) -> None:
        file["hsi"] = h5py.SoftLink("/nowhere")

    def stored_outside(file: h5py.File) -> None:
        file.create_dataset("hsi", (6, 3), "f8", external=[(str(raw), 0, 144)])

    def virtual(file: h5py.File) -> None:
        file.create_virtual_dataset("hsi", layout)

    def group(file: h5py.File) -> None:
        file.create_group("hsi")

    for number, plant in enumerate((external, soft, stored_outside, virtual, group)):
        path = table_file(tmp_path / f"link{number}.h5", hsi=None)
        with h5py.File(path, "a") as file:
            plant(file)
        with pytest.raises(DataError, match=r"link|stored in another file|not a data set"):
            read_dataset(path)


def test_limits_are_checked_before_reading(tmp_path: Path) -> None:
    path = table_file(tmp_path / "t.h5")
    for limits, message in (
        (Limits(file_bytes=100), "exceed 100"),
        (Limits(array_bytes=10), "72 bytes"),
        (Limits(attribute_bytes=1), "exceeds 1 bytes"),
        (Limits(objects=2), "objects at the root"),
    ):
        with pytest.raises(DataError, match=message):
            read_dataset(path, limits)
    with h5py.File(tmp_path / "bomb.h5", "w") as file:  # 8 TiB declared, nothing stored
        file.create_dataset("hsi", (2**20, 2**20), "f8", chunks=(64, 64), compression="gzip")
    with pytest.raises(DataError, match="outside 1"):
        read_dataset(tmp_path / "bomb.h5")


def test_data_without_labels_can_be_read_for_prediction(tmp_path: Path) -> None:
    path = table_file(tmp_path / "t.h5", label=None)
    data = read_dataset(path, require_labels=False)
    assert data.table is not None
    assert not data.table.label.any()
    assert data.classes == ("grass", "water")


def test_absent_classes_are_numbered_and_the_owner_is_told(tmp_path: Path) -> None:
    path = table_file(tmp_path / "t.h5")
    with h5py.File(path, "a") as file:
        del file.attrs["classes"]
    data = read_dataset(path)
    assert data.classes == ("class 1", "class 2")
    assert any("classes" in note for note in data.notes)


def test_rasters_without_group_or_region_are_groups_of_their_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["lidar"] = np.ones((3, 4, 5, 1))
        file["label"] = np.ones((3, 4, 5), dtype=int)
    assert [s.group for s in read_dataset(tmp_path / "p.h5").scenes] == [1, 2, 3]


def test_one_lidar_layer_may_lack_its_channel_axis(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["lidar"] = np.ones((4, 5))
        file["label"] = np.ones((4, 5), dtype=int)
    assert read_dataset(tmp_path / "p.h5").scenes[0].modalities["lidar"].values.shape == (1, 4, 5)


def test_a_matlab_raster_and_table_are_read(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).random((4, 5, 3))
    label = np.tile([0.0, 1.0, 2.0, 2.0], 5).reshape(4, 5)
    scipy.io.savemat(tmp_path / "r.mat", {"HSI": cube, "LiDAR": cube[..., 0], "gt": label})
    (scene,) = read_dataset(tmp_path / "r.mat").scenes
    assert np.allclose(scene.modalities["hsi"].values, cube.transpose(2, 0, 1))
    assert scene.modalities["lidar"].values.shape == (1, 4, 5)
    assert np.array_equal(scene.label, label)
    scipy.io.savemat(
        tmp_path / "t.mat",
        {"data": cube.reshape(20, 3), "labels": label.reshape(20, 1), "wavelengths": WAVELENGTHS},
    )
    table = read_dataset(tmp_path / "t.mat").table
    assert table is not None
    assert table.modalities["hsi"].wavelengths_nm == tuple(WAVELENGTHS)


def test_a_version_73_matlab_file_is_transposed(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).random((4, 5, 3))
    path = tmp_path / "r.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["hsi"] = cube.transpose()
        file["hsi"].attrs["MATLAB_class"] = np.bytes_("double")
        file["label"] = np.ones((5, 4))
        file["#refs#"] = np.ones(1)
    (scene,) = read_dataset(path).scenes
    assert np.allclose(scene.modalities["hsi"].values, cube.transpose(2, 0, 1))
    with h5py.File(path, "a") as file:
        file["hsi"].attrs["MATLAB_class"] = np.bytes_("cell")
    with pytest.raises(DataError, match="class"):
        read_dataset(path)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"hsi": np.array([{"a": 1}], dtype=object), "label": [1]}, "of class cell"),
        ({"hsi": {"a": 1}, "label": [1]}, "of class struct"),
        ({"hsi": "text", "label": [1]}, "of class char"),
        ({"hsi": np.ones((4, 2)), "label": np.full((4, 1), 1.5)}, "fractions"),
        ({"hsi": np.ones((4, 2)), "label": np.full((4, 1), np.nan)}, "NaN"),
        ({"hsi": np.ones((4, 2)), "data": np.ones((4, 2)), "label": np.ones((4, 1))}, "both name"),
        ({"hsi": np.ones((4, 2)) * 1j, "label": np.ones((4, 1))}, "complex double"),
        ({"other": np.ones(3)}, "neither"),
    ],
)
def test_a_bad_matlab_file_is_refused(
    tmp_path: Path, variables: dict[str, Any], message: str
) -> None:
    scipy.io.savemat(tmp_path / "bad.mat", variables)
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / "bad.mat")


def test_inspection_tells_what_the_file_holds(tmp_path: Path) -> None:
    path = table_file(tmp_path / "t.h5", lidar_patch=np.ones((6, 2, 3, 3)))
    told = describe(read_dataset(path), path)
    assert told["kind"] == "table"
    assert told["classes"] == {"grass": 2, "water": 2}
    assert told["unlabelled"] == 2
    assert told["ignored"] == ["lidar_patch"]
    assert told["modalities"]["hsi"]["wavelengths_nm"] == [400.0, 600.0]
    assert told["modalities"]["lidar"]["scale"] == "tanh(asinh(x) / 6)"
    assert any("no pixel-level claim" in warning for warning in told["warnings"])


def test_real_data_is_read(real_data: Callable[[str], Path]) -> None:
    forest = read_dataset(real_data("idtrees_plots"))
    assert len(forest.scenes) == 50
    assert forest.scenes[0].modalities["hsi"].values.shape == (369, 20, 20)
    assert forest.scenes[0].modalities["hsi"].values.max() < 1.0
    assert {scene.site for scene in forest.scenes} == {"MLBS", "OSBS"}
    assert forest.ignored == ("crown", "origin_utm17n", "plot")
    houston = read_dataset(real_data("houston2013_pixels"))
    assert houston.table is not None
    assert houston.table.n_pixels == 1687
    assert houston.layout.support == "neighbourhood"
    trento = read_dataset(real_data("trento_lidar_labels"))
    assert trento.scenes[0].shape == (166, 600)
    assert trento.layout.names == ("lidar",)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_numeric_class_of_version_5_is_read_exactly(
    tmp_path: Path, dtype: str, compressed: bool
) -> None:
    values = np.arange(60).reshape(3, 4, 5).astype(dtype)
    path = tmp_path / "v.mat"
    scipy.io.savemat(path, {"hsi": values, "c": {"a": 1}, "t": "x"}, do_compression=compressed)
    read = read_mat5(path, {"hsi": "hsi"}, Limits())["hsi"]
    assert read.dtype == values.dtype
    assert np.array_equal(read, values)
    assert [variable.kind for variable in list_variables(path)][1:] == ["struct", "char"]


def test_a_compressed_array_that_inflates_beyond_its_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mat"
    scipy.io.savemat(path, {"hsi": np.zeros((2000, 1000))}, do_compression=True)
    content = bytearray(path.read_bytes())
    plain = bytearray(zlib.decompress(content[136:]))
    plain[24 + 8 : 24 + 12] = np.int32(2).tobytes()  # the stated shape shrinks to (2, 1000)
    packed = zlib.compress(bytes(plain))
    size = np.uint32(len(packed)).tobytes()
    path.write_bytes(bytes(content[:132]) + size + packed)
    with pytest.raises(DataError, match="another size than stated"):
        read_dataset(path, require_labels=False)


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_flipped_bytes_are_read_or_refused_but_never_raise_anything_else(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".h5":
        table_file(path)
    else:
        scipy.io.savemat(path, {"hsi": np.ones((6, 3)), "label": np.ones((6, 1)), "s": {"a": 1}})
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 4000), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_dataset(path)
        except DataError:
            refused += 1
    assert refused > 30
