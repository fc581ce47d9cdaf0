"""Wrong inputs, one a line: the exit code of the contract, two helpful lines, and nothing left."""

from __future__ import annotations

import json
import math
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.hdf5_writer import write_scene
from scripts.make_tiny_table import tiny_table

USAGE, DATA, BUDGET, VERIFICATION = 2, 3, 5, 6
Change = Callable[[Any], None]
Arguments = list[object]


@dataclass(frozen=True)
class Place:
    """Where a case builds its input: an empty folder, a right file, a finished run."""

    folder: Path
    right: Path
    finished: Path

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, *more: object, data: object | None = None) -> Arguments:
        base = ["run", "--data", data or self.right, "--out", self.folder / "out", "--quiet"]
        return [*base, "--rounds", 2, "--delta", 1e-4, "--owners", 3, "--epsilon", "inf", *more]

    def spoilt(self, change: Change, name: str = "bad.h5") -> Arguments:
        """A run on a copy of the right file with a change."""
        path = self.folder / name
        shutil.copyfile(self.right, path)
        with h5py.File(path, "r+") as file:
            change(file)
        return self.run(data=path)

    def rasters(self, **arrays: Any) -> Arguments:
        """A run on a file of rasters."""
        path = self.folder / "bad.h5"
        rng = np.random.default_rng(0)
        whole = {
            "hsi": rng.random((12, 10, 5), np.float32),
            "label": np.tile(np.arange(12, dtype=np.uint8)[:, None] % 3 + 1, (1, 10)),
            **arrays,
        }
        with h5py.File(path, "w") as file:
            for key, values in whole.items():
                file[key] = values
        return self.run(data=path)

    def config(self, text: str) -> Arguments:
        return self.run("--config", self.file("bad.toml", text))

    def mat(self, **arrays: Any) -> Path:
        path = self.folder / "bad.mat"
        scipy.io.savemat(path, arrays)
        return path

    def predict(self, model: object, *more: object, data: object | None = None) -> Arguments:
        out = self.folder / "out.png"
        return ["predict", model, "--data", data or self.right, "--out", out, "--quiet", *more]


def put(name: str, values: Any) -> Change:
    """Replace a data set and keep its attributes."""

    def change(file: Any) -> None:
        attributes = dict(file[name].attrs) if name in file else {}
        if name in file:
            del file[name]
        file[name] = values
        for key, value in attributes.items():
            file[name].attrs[key] = value

    return change


def attribute(name: str, key: str, value: Any) -> Change:
    def change(file: Any) -> None:
        (file if name == "/" else file[name]).attrs[key] = value

    return change


def first(name: str, value: float) -> Change:
    def change(file: Any) -> None:
        file[name][0] = value

    return change


def remove(*names: str) -> Change:
    def change(file: Any) -> None:
        for name in names:
            del file[name]

    return change


def objects(file: Any) -> None:
    del file["hsi"]
    made = file.create_dataset("hsi", (240, 2), dtype=h5py.vlen_dtype(np.float32))
    made[0, 0] = np.ones(3, np.float32)


def pickled(file: Any) -> None:
    del file["hsi"]
    file["hsi"] = np.full((240, 2), np.void(b"\x80\x04K\x01."))


def huge(file: Any) -> None:
    del file["hsi"]
    file.create_dataset("hsi", (10**9, 4096), dtype="f4", chunks=(1, 4096))


def linked(file: Any) -> None:
    del file["hsi"]
    file["hsi"] = h5py.ExternalLink("/etc/passwd", "/hsi")


def cut(path: Path, target: Path) -> Path:
    target.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return target


def garbled_model(place: Place) -> Path:
    data = bytearray((place.finished / "model.safetensors").read_bytes())
    data[20] ^= 1
    return place.file("model.safetensors", bytes(data))


def other_bands(place: Place, bands: int = 21) -> Path:
    path = place.folder / "other.h5"
    write_scene(path, tiny_table(pixels=60, bands=bands, seed=3))
    return path


def other_classes(place: Place) -> Path:
    path = other_bands(place, 20)
    with h5py.File(path, "r+") as file:
        file.attrs["classes"] = ["first", "third", "second"]
    return path


def unfinished(place: Place) -> Path:
    path = place.folder / "x.partial"
    path.mkdir()
    shutil.copyfile(place.finished / "config.toml", path / "config.toml")
    return path


def changed_run(place: Place) -> Path:
    path = place.folder / "changed"
    shutil.copytree(place.finished, path)
    metrics = json.loads((path / "metrics.json").read_text())
    (path / "metrics.json").write_text(json.dumps({**metrics, "oa": 1.0}))
    return path


def spent(place: Place) -> Arguments:
    books = place.folder / "books"
    limited = ("--ledger", books, "--lifetime-epsilon", 2, "--quiet")
    return place.run(*limited, "--epsilon", 4)


def another_lifetime(place: Place) -> Arguments:
    books = place.folder / "books"
    books.mkdir(mode=0o700)
    path = books / "owner-001.default.jsonl"
    book = Ledger.open(
        path, owner="owner-001", holding="default", lifetime_epsilon=9, delta=1e-4, tiles=bytes(32)
    )
    with book:
        pass
    return place.run("--ledger", books, "--lifetime-epsilon", 20)


def occupied(place: Place) -> Arguments:
    (place.folder / "kept").mkdir()
    return [*place.run(), "--out", place.folder / "kept"]


# Name: (exit code, words of the two lines, the arguments).
CASES: dict[str, tuple[int, tuple[str, ...], Callable[[Place], Arguments]]] = {
    # Files that are no data files.
    "a missing file": (DATA, ("none.h5", "no such"), lambda p: p.run(data=p.folder / "none.h5")),
    "a folder as a file": (DATA, ("error",), lambda p: p.run(data=p.folder)),
    "a folder named as a file": (
        DATA,
        ("x.h5",),
        lambda p: ((p.folder / "x.h5").mkdir(), p.run(data=p.folder / "x.h5"))[1],
    ),
    "an empty file": (DATA, ("bad.h5", "HDF5"), lambda p: p.run(data=p.file("bad.h5", b""))),
    "text under a name of HDF5": (DATA, ("bad.h5",), lambda p: p.run(data=p.file("bad.h5", "no"))),
    "an unknown suffix": (DATA, (".csv", "HDF5"), lambda p: p.run(data=p.file("bad.csv", "1,2"))),
    "a truncated HDF5 file": (
        DATA,
        ("bad.h5", "damaged"),
        lambda p: p.run(data=cut(p.right, p.folder / "bad.h5")),
    ),
    "a truncated MAT file": (
        DATA,
        ("cut.mat",),
        lambda p: p.run(
            data=cut(p.mat(hsi=np.ones((240, 4)), gt=np.ones((240, 1))), p.folder / "cut.mat")
        ),
    ),
    "a cell array in a MAT file": (
        DATA,
        ("bad.mat", "`hsi`"),
        lambda p: p.run(data=p.mat(hsi=np.array([[1], "a"], dtype=object), gt=np.ones((2, 1)))),
    ),
    "an external link": (DATA, ("`hsi`", "link"), lambda p: p.spoilt(linked)),
    "arrays of objects": (DATA, ("`hsi`", "not numbers"), lambda p: p.spoilt(objects)),
    "a pickle in opaque bytes": (DATA, ("`hsi`", "not numbers"), lambda p: p.spoilt(pickled)),
    "a claimed shape of 16 TB": (DATA, ("`hsi`", "bytes, outside"), lambda p: p.spoilt(huge)),
    "a name of another alphabet": (
        DATA,
        ("сцена-🌲.h5",),
        lambda p: p.run(data=p.folder / "сцена-🌲.h5"),
    ),
    "an escape sequence in a name": (DATA, ("�[31m",), lambda p: p.run(data="\x1b[31m.h5")),
    # Arrays that do not fit.
    "bands first": (
        DATA,
        ("`hsi` has shape (5, 12, 10)", "bands come first"),
        lambda p: p.rasters(hsi=np.ones((5, 12, 10), np.float32)),
    ),
    "labels transposed": (DATA, ("`label`",), lambda p: p.rasters(label=np.ones((10, 12), "u1"))),
    "modalities of different shape": (
        DATA,
        ("`lidar` has shape (12, 9)",),
        lambda p: p.rasters(lidar=np.ones((12, 9), np.float32)),
    ),
    "hsi of five axes": (DATA, ("`hsi`",), lambda p: p.spoilt(put("hsi", np.ones((2,) * 5)))),
    "labels of another length": (
        DATA,
        ("`label`",),
        lambda p: p.spoilt(put("label", np.ones(239, np.uint8))),
    ),
    "labels as floats": (
        DATA,
        ("`label`", "integer"),
        lambda p: p.spoilt(put("label", np.full(240, 1.5))),
    ),
    "labels below zero": (
        DATA,
        ("`label`", "-1"),
        lambda p: p.spoilt(put("label", np.full(240, -1))),
    ),
    "a label beyond the classes": (DATA, ("`label`", "9"), lambda p: p.spoilt(first("label", 9))),
    "nothing labelled": (
        DATA,
        ("no labelled pixel",),
        lambda p: p.spoilt(put("label", np.zeros(240, np.uint8))),
    ),
    "one class only": (
        DATA,
        ("one class",),
        lambda p: p.rasters(label=np.ones((12, 10), np.uint8)),
    ),
    "no labels": (DATA, ("no `label`",), lambda p: p.spoilt(remove("label"))),
    "no modality": (DATA, ("neither",), lambda p: p.spoilt(remove("hsi", "lidar"))),
    "NaN": (DATA, ("`hsi`", "NaN", "nodata"), lambda p: p.spoilt(first("hsi", math.nan))),
    "infinity": (DATA, ("`lidar`", "infinite"), lambda p: p.spoilt(first("lidar", math.inf))),
    "a band of NaN": (
        DATA,
        ("`hsi`", "NaN"),
        lambda p: p.rasters(
            hsi=np.stack([np.ones((12, 10)), np.full((12, 10), math.nan)], -1).astype("f4")
        ),
    ),
    "a modality that is missing everywhere": (
        DATA,
        ("`lidar`", "nodata"),
        lambda p: p.spoilt(
            lambda f: (
                put("lidar", np.full((240, 1), -9, "f4"))(f),
                attribute("lidar", "nodata", -9.0)(f),
            )[1]
        ),
    ),
    "wavelengths out of order": (
        DATA,
        ("bad.h5: hsi: wavelengths", "increasing"),
        lambda p: p.spoilt(attribute("hsi", "wavelengths_nm", np.linspace(900, 400, 20))),
    ),
    "too few wavelengths": (
        DATA,
        ("bad.h5: hsi: wavelengths", "19 wavelengths for 20 bands"),
        lambda p: p.spoilt(attribute("hsi", "wavelengths_nm", np.linspace(400, 900, 19))),
    ),
    "a scale of zero": (DATA, ("scale",), lambda p: p.spoilt(attribute("hsi", "scale", 0.0))),
    "a class named twice": (
        DATA,
        ("classes",),
        lambda p: p.spoilt(attribute("/", "classes", ["grass", "grass", "soil"])),
    ),
    "a class named by a control character": (
        DATA,
        ("classes",),
        lambda p: p.spoilt(attribute("/", "classes", ["grass", "\x07bell", "soil"])),
    ),
    "a CRS for a table": (DATA, ("crs",), lambda p: p.spoilt(attribute("/", "crs", "EPSG:32633"))),
    "test data of other bands": (
        DATA,
        ("other.h5", "hsi"),
        lambda p: p.run("--test", other_bands(p)),
    ),
    "test data of other classes": (
        DATA,
        ("other.h5", "classes"),
        lambda p: p.run("--test", other_classes(p)),
    ),
    "a topology for two sensors and data of one": (
        DATA,
        ("hsi only", "mixed"),
        lambda p: [*p.spoilt(remove("lidar")), "--topology", "mixed", "--holds", "hsi,lidar"],
    ),
    # Options.
    "no privacy at all": (USAGE, ("epsilon is 0", "0.01"), lambda p: p.run("--epsilon", 0)),
    "a negative epsilon": (USAGE, ("epsilon is -1",), lambda p: p.run("--epsilon", -1)),
    "an absurd epsilon": (USAGE, ("epsilon is 1e+09", "100"), lambda p: p.run("--epsilon", 1e9)),
    "an epsilon that is no number": (
        USAGE,
        ("epsilon is nan", "inf"),
        lambda p: p.run("--epsilon", "nan"),
    ),
    "an epsilon in words": (USAGE, ("--epsilon", "number"), lambda p: p.run("--epsilon", "lots")),
    "a delta of one": (USAGE, ("delta is 1",), lambda p: p.run("--delta", 1)),
    "a delta that publishes a tile": (
        USAGE,
        ("delta 0.1 is not below 1/180",),
        lambda p: p.run("--delta", 0.1, "--nominal-tiles", 180, "--epsilon", 8),
    ),
    "one owner": (USAGE, ("owners is 1", "2 to 100"), lambda p: p.run("--owners", 1)),
    "a hundred and one owners": (USAGE, ("owners is 101", "100"), lambda p: p.run("--owners", 101)),
    "colluders who leave nobody": (USAGE, ("colluders",), lambda p: p.run("--colluders", 3)),
    "an option that does not exist": (
        USAGE,
        ("--epsilom", "--epsilon"),
        lambda p: p.run("--epsilom", 8),
    ),
    "an option without its value": (USAGE, ("--epsilon",), lambda p: p.run("--epsilon")),
    "a partition by site without sites": (
        USAGE,
        ("site",),
        lambda p: p.run("--partition", "site"),
    ),
    "a tile that is too big": (USAGE, ("tile is 65", "1 to 64"), lambda p: p.run("--tile", 65)),
    "a tile of pixels without positions": (
        USAGE,
        ("tile", "row_col"),
        lambda p: p.run("--tile", 4),
    ),
    "a sensor nobody has": (
        USAGE,
        ("radar",),
        lambda p: p.run("--topology", "mixed", "--holds", "radar,hsi"),
    ),
    "holdings that leave a modality to nobody": (
        USAGE,
        ("holds", "lidar"),
        lambda p: p.run("--topology", "mixed", "--holds", "hsi"),
    ),
    "labels of an owner that is none": (
        USAGE,
        ("labels", "owner-009"),
        lambda p: p.run("--topology", "split", "--owners", 2, "--labels", "owner-009"),
    ),
    "labels without their topology": (
        USAGE,
        ("labels", "split"),
        lambda p: p.run("--labels", "all"),
    ),
    "a run directory that exists": (USAGE, ("out:", "exists"), occupied),
    "a run directory under a file": (
        USAGE,
        ("out:",),
        lambda p: [*p.run(), "--out", p.file("plain", "x") / "out"],
    ),
    "a run directory where nothing can be made": (
        USAGE,
        ("out:",),
        lambda p: [*p.run(), "--out", "/proc/feddiff-out"],
    ),
    "a ledger folder that is a file": (
        USAGE,
        ("ledger:", "books"),
        lambda p: p.run("--ledger", p.file("books", "x")),
    ),
    "a plan beyond the lifetime": (BUDGET, ("lifetime", "nothing was released"), spent),
    "another lifetime than the ledger's": (USAGE, ("lifetime",), another_lifetime),
    "a log under a file": (
        USAGE,
        ("log-file:",),
        lambda p: p.run("--log-file", p.file("plain", "x") / "log"),
    ),
    # Configuration files.
    "a configuration that is missing": (
        USAGE,
        ("none.toml",),
        lambda p: p.run("--config", p.folder / "none.toml"),
    ),
    "a folder as configuration": (USAGE, ("directory",), lambda p: p.run("--config", p.folder)),
    "no TOML": (USAGE, ("bad.toml", "not TOML"), lambda p: p.config("this is not TOML")),
    "binary configuration": (USAGE, ("bad.toml",), lambda p: p.config("\x00\x01")),
    "a key given twice": (USAGE, ("bad.toml",), lambda p: p.config("seed = 1\nseed = 2")),
    "a key that does not exist": (
        USAGE,
        ("bad.toml", "epsilom", "did you mean epsilon?"),
        lambda p: p.config("epsilom = 8"),
    ),
    "a number in quotes": (USAGE, ("epsilon", "number"), lambda p: p.config('epsilon = "8"')),
    "a fraction of a round": (USAGE, ("rounds", "integer"), lambda p: p.config("rounds = 2.5")),
    "a list of files": (USAGE, ("data", "text"), lambda p: p.config('data = ["a.h5"]')),
    "an edited copy of a resolved configuration": (
        USAGE,
        ("config_digest",),
        lambda p: p.config(
            (p.finished / "config.toml").read_text().replace("rounds = 2", "rounds = 3")
        ),
    ),
    "init over a file": (
        USAGE,
        ("kept.toml", "exists"),
        lambda p: ["init", "--out", p.file("kept.toml", "x")],
    ),
    # What comes after a run.
    "predict: other bands": (
        DATA,
        ("other.h5", "hsi"),
        lambda p: p.predict(p.finished, data=other_bands(p)),
    ),
    "predict: an unfinished run": (
        USAGE,
        ("x.partial",),
        lambda p: p.predict(unfinished(p)),
    ),
    "predict: a damaged model": (
        DATA,
        ("model.safetensors",),
        lambda p: p.predict(garbled_model(p)),
    ),
    "predict: no model": (DATA, ("nowhere",), lambda p: p.predict(p.folder / "nowhere")),
    "predict: a suffix without a format": (
        USAGE,
        ("out:", ".doc"),
        lambda p: p.predict(p.finished, "--out", p.folder / "out.doc"),
    ),
    "predict: a GeoTIFF without a CRS": (
        USAGE,
        ("out:", "CRS"),
        lambda p: p.predict(p.finished, "--out", p.folder / "out.tif"),
    ),
    "predict: into a folder that is not there": (
        USAGE,
        ("out:", "no directory"),
        lambda p: p.predict(p.finished, "--out", p.folder / "no" / "out.png"),
    ),
    "verify: nothing": (USAGE, ("nowhere",), lambda _: ["audit", "verify", "nowhere"]),
    "verify: an empty folder": (
        VERIFICATION,
        ("step 1",),
        lambda p: ["audit", "verify", p.folder],
    ),
    "verify: a file": (
        USAGE,
        ("plain",),
        lambda p: ["audit", "verify", p.file("plain", "")],
    ),
    "verify: a changed metric": (
        VERIFICATION,
        ("metrics.json",),
        lambda p: ["audit", "verify", changed_run(p)],
    ),
    "check-proof: garbage": (
        VERIFICATION,
        ("bad.tlog-proof",),
        lambda p: ["audit", "check-proof", p.file("bad.tlog-proof", "garbage")],
    ),
    "check-proof: nothing": (USAGE, ("nowhere",), lambda _: ["audit", "check-proof", "nowhere"]),
    "prove: an owner that is none": (
        USAGE,
        ("nobody", "owner-001"),
        lambda p: [
            *("audit", "prove", p.finished, "--owner", "nobody", "--round", 0),
            *("--out", p.folder / "out.tlog-proof"),
        ],
    ),
    "budget: nothing": (DATA, ("nowhere",), lambda _: ["budget", "nowhere"]),
    "budget: an empty folder": (DATA, ("no ledger",), lambda p: ["budget", p.folder]),
    "budget: garbage": (
        DATA,
        ("a.jsonl",),
        lambda p: ["budget", p.file("a.jsonl", "{}\n")],
    ),
    "data inspect: garbage": (
        DATA,
        ("bad.h5",),
        lambda p: ["data", "inspect", p.file("bad.h5", "garbage")],
    ),
    "node show: garbage": (DATA, ("k.key",), lambda p: ["node", "show", p.file("k.key", "k")]),
    "registry: half a key": (
        USAGE,
        ("public key", "64"),
        lambda p: ["node", "registry", "add", "a", "abcd", "--registry", p.folder / "out.json"],
    ),
    "attack: a run without a model": (
        DATA,
        ("x.partial",),
        lambda p: ["audit", "attack", unfinished(p), "--out", p.folder / "out.json"],
    ),
}


@pytest.fixture(scope="session")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "right.h5"
    write_scene(path, tiny_table(pixels=240, bands=20, seed=0))
    return path


@pytest.fixture(scope="session")
def finished(right: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = Place(tmp_path_factory.mktemp("runs"), right, right)
    assert run_cli([str(a) for a in place.run()]) == 0
    return place.folder / "out"


@pytest.fixture
def place(tmp_path: Path, right: Path, finished: Path) -> Place:
    return Place(tmp_path, right, finished)


def check_two_lines(err: str) -> str:
    lines = err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["error", "hint"], err
    assert all(len(line) > 12 for line in lines)
    assert "Traceback" not in err
    return " ".join(lines)


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_input_is_two_helpful_lines_and_leaves_nothing(
    case: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, words, build = CASES[case]
    arguments = [str(a) for a in build(place)]
    capsys.readouterr()
    code = run_cli(arguments)
    captured = capsys.readouterr()
    said = check_two_lines(captured.err)
    assert code == expected, said
    for word in words:
        assert word in said
    assert [p.name for p in place.folder.iterdir() if p.name.startswith("out")] == []
    if "verify" not in arguments:
        assert captured.out == ""


def test_the_table_has_forty_cases_and_every_kind_of_exit() -> None:
    assert len(CASES) >= 40
    assert {code for code, _, _ in CASES.values()} == {USAGE, DATA, BUDGET, VERIFICATION}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    cached = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # the interpreter would leave half a module in its cache
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = cached


@pytest.mark.parametrize("size", [0, 100])
def test_a_disk_that_is_full_before_a_release_leaves_nothing(
    size: int, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(a) for a in place.run()]
    with disk_of(size):
        code = run_cli(arguments)
    said = check_two_lines(capsys.readouterr().err)
    assert code == USAGE
    assert "out" in said
    assert list(place.folder.iterdir()) == []


def test_a_disk_that_fills_up_after_releases_keeps_their_record(place: Place) -> None:
    code = (
        "import resource, sys; from feddiff_secure.cli.entry import main;"
        "most = resource.getrlimit(resource.RLIMIT_FSIZE)[1];"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, most)); main()"
    )
    # A process of its own: the HDF5 library does not survive a file that it could not finish.
    # -B: nor does it leave half of a module in the interpreter's cache.
    arguments = [sys.executable, "-B", "-c", code, *(str(a) for a in place.run())]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=300)
    # Nor does it stay silent about it; the two lines are ours.
    ours = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
    said = check_two_lines("\n".join(ours))
    assert done.returncode == USAGE
    assert "out" in said
    assert not (place.folder / "out").exists()
    assert (place.folder / "out.partial" / "ledger").is_dir()


@pytest.mark.parametrize("command", ["predict", "init", "report"])
def test_a_full_disk_leaves_no_half_written_output(
    command: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place.folder / "out.png"
    report = [
        "audit",
        "report",
        place.finished,
        "--owner",
        "owner-001",
        "--out",
        place.folder / "o",
    ]
    arguments = {
        "predict": place.predict(place.finished),
        "init": ["init", "--out", out],
        "report": report,
    }[command]
    with disk_of(50):
        code = run_cli([str(a) for a in arguments])
    said = check_two_lines(capsys.readouterr().err)
    assert code == USAGE, said
    assert list(place.folder.iterdir()) == []
