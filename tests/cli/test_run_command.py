"""`run` on small data: what it leaves behind, and what wrong input leaves behind (nothing)."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem

from feddiff_crypto.he.seal import load_seal
from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.load import config_digest, load_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.errors import UsageError
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=20, seed=0))
    return path


def small(tiny: Path, out: Path, *more: object) -> list[object]:
    base = ["run", "--data", tiny, "--out", out, "--rounds", 4, "--delta", 1e-4, "--owners", 3]
    return [*base, *more]


@pytest.fixture(scope="session")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    assert run_cli([str(a) for a in small(tiny, out, "--epsilon", 8, "--quiet")]) == 0
    return out


def test_a_run_leaves_the_files_of_the_contract(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "attestation.json", "config.toml", "ledger", "map.png", "metrics.json", "metrics.jsonl",
        "model.safetensors", "privacy.json", "privacy.md", "privacy_card.json", "report.html",
        "transcript",
    ]  # fmt: skip
    metrics = json.loads((finished / "metrics.json").read_text())
    for key in (
        "oa", "aa", "kappa", "per_class", "n_test", "seconds", "bytes_up_per_owner_per_round",
        "communication_parameters", "epsilon_target", "deployment",
    ):  # fmt: skip
        assert key in metrics
    assert metrics["deployment"] == "simulated"
    assert metrics["n_test"] > 0
    assert 0.0 <= metrics["oa"] <= 1.0
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["count", "mean", *["train"] * 4]


def test_the_privacy_file_says_what_the_contract_asks(finished: Path) -> None:
    privacy = json.loads((finished / "privacy.json").read_text())
    for key in (
        "epsilon_target", "epsilon", "delta", "unit", "adjacency", "mechanism", "noise_multiplier",
        "sampling_rate", "rounds", "phases", "accountant", "cross_check", "adversaries", "levels",
        "lifetime_epsilon", "assumptions", "not_covered",
    ):  # fmt: skip
        assert key in privacy
    assert 0.99 * 8 <= privacy["epsilon"] <= 8
    assert privacy["cross_check"]["agrees"] is True
    rows = {row["name"]: row for row in privacy["adversaries"]}
    assert list(rows) == [
        "outsider", "coordinator", "curious_owner", "coordinator_and_colluders", "masks_broken",
    ]  # fmt: skip
    assert rows["coordinator_and_colluders"]["epsilon"] == privacy["epsilon"]
    assert privacy["levels"]["tile"] == privacy["epsilon"]
    assert privacy["levels"]["pixel"] == rows["coordinator_and_colluders"]["epsilon_replace_one"]
    assert [phase["phase"] for phase in privacy["phases"]] == ["count", "mean", "train"]
    text = (finished / "privacy.md").read_text()
    assert "simulated" in text
    assert "hypothetical" in text


def test_the_resolved_configuration_runs_again_and_notices_edits(
    finished: Path, tmp_path: Path
) -> None:
    text = (finished / "config.toml").read_text()
    config = load_config(finished / "config.toml", {})
    assert config_digest(config) in text
    edited = tmp_path / "edited.toml"
    edited.write_text(text.replace("rounds = 4", "rounds = 5"))
    with pytest.raises(UsageError, match="config_digest"):
        load_config(edited, {})
    assert load_config(finished / "config.toml", {"epsilon": 1.0}).epsilon == 1.0


def test_json_is_one_object_on_stdout(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    code, out, err = cli(*small(tiny, tmp_path / "r", "--epsilon", "inf", "--json"))
    assert code == 0
    record = json.loads(out)
    assert record["privacy"]["epsilon"] is None
    assert {row["epsilon"] for row in record["privacy"]["adversaries"]} == {None}
    assert record["privacy"]["cross_check"] is None
    assert "secure rounds" in err
    assert "No privacy guarantee" in (tmp_path / "r" / "privacy.md").read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("--noise", "local"),
        ("--noise", "local", "--aggregation", "plain"),
        ("--owners", 2),
        ("--owners", 5, "--dropouts", 1),
        ("--sampling-rate", 0.5),
        ("--nominal-tiles", 180),
        ("--partition", "dirichlet:0.5"),
        ("--partition", "region"),
        ("--unit", "pixel"),
        ("--aggregation", "encrypted"),
        ("--aggregation", "encrypted", "--custodian"),
        ("--aggregation", "encrypted", "--owners", 5, "--dropouts", 1),
        ("--ring-bits", 64),
        ("--rounding", "stochastic"),
        ("--key-agreement", "hybrid"),
        ("--spectra", "fine"),
    ],
)
def test_every_offered_mode_runs_and_meets_its_target(
    cli: Cli, tiny: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    code, out, err = cli(*small(tiny, tmp_path / "r", "--epsilon", 4, "--json", *options))
    assert code == 0, err
    privacy = json.loads(out)["privacy"]
    assert 0.99 * 4 <= privacy["epsilon"] <= 4
    assert privacy["cross_check"]["agrees"] is True
    said = "encrypted (CKKS)" in " ".join(privacy["assumptions"])
    assert said == ("encrypted" in options)


def test_every_way_of_summing_gives_the_same_model_without_noise(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    models = {}
    modes: list[tuple[object, ...]] = [
        ("masked",), ("plain",), ("encrypted",), ("encrypted", "--custodian"),
        ("masked", "--ring-bits", 64), ("plain", "--ring-bits", 64),
        ("masked", "--key-agreement", "hybrid"), ("encrypted", "--key-agreement", "hybrid"),
    ]  # fmt: skip
    for i, mode in enumerate(modes):
        out = tmp_path / str(i)
        options = ("--epsilon", "inf", "--nominal-tiles", 180, "--aggregation", *mode)
        assert cli(*small(tiny, out, *options))[0] == 0
        models[mode] = (out / "model.safetensors").read_bytes()
    assert len(set(models.values())) == 1


def test_without_tenseal_encrypted_mode_is_refused_in_two_lines(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_seal.cache_clear()
    monkeypatch.setitem(sys.modules, "tenseal.sealapi", None)  # as if it were not installed
    try:
        refusal = cli(*small(tiny, tmp_path / "r", "--aggregation", "encrypted"))
    finally:
        load_seal.cache_clear()
    check_refusal(refusal, 2, tmp_path)
    assert "TenSEAL cannot be imported" in refusal[2]
    assert "--aggregation masked" in refusal[2]


def test_without_mlkem_the_hybrid_is_refused_in_two_lines(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, mlkem.__name__, None)  # as in an older release
    monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mlkem")
    refusal = cli(*small(tiny, tmp_path / "r", "--key-agreement", "hybrid"))
    check_refusal(refusal, 2, tmp_path)
    assert "has no ML-KEM-768" in refusal[2]
    assert "--key-agreement x25519" in refusal[2]


def test_without_memory_files_encrypted_mode_is_refused_in_two_lines(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_seal.cache_clear()
    monkeypatch.delattr(os, "memfd_create")
    try:
        refusal = cli(*small(tiny, tmp_path / "r", "--aggregation", "encrypted"))
    finally:
        load_seal.cache_clear()
    check_refusal(refusal, 2, tmp_path)
    assert "memory files" in refusal[2]


def test_a_separate_test_file_is_used_whole(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    write_scene(other, tiny_table(pixels=90, bands=20, seed=3))
    code, out, _ = cli(*small(tiny, tmp_path / "r", "--epsilon", "inf", "--test", other, "--json"))
    assert code == 0
    assert json.loads(out)["n_test"] == 90


WRONG_OPTIONS = [
    ("--epsilon", 0), ("--epsilon", -1), ("--epsilon", "nan"), ("--epsilon", "many"),
    ("--epsilon", 1e6), ("--delta", 0), ("--delta", 1), ("--delta", "nan"), ("--owners", 1),
    ("--owners", 101), ("--owners", 2.5), ("--rounds", 0), ("--partition", "alphabet"),
    ("--partition", "dirichlet:-1"), ("--partition", "dirichlet:nan"), ("--partition", "site"),
    ("--topology", "star"), ("--holds", "both"), ("--topology", "mixed", "--holds", "radar"),
    ("--topology", "split", "--holds", "both,hsi"), ("--labels", "all"),
    ("--topology", "split", "--labels", "nobody"), ("--aggregation", "trust me"),
    ("--noise", "none"), ("--aggregation", "plain"), ("--colluders", 3, "--owners", 3),
    ("--dropouts", 9),
    ("--nominal-tiles", 10**6, "--delta", 1e-5), ("--nominal-tiles", 0), ("--tile", 0),
    ("--unit", "owner"), ("--unit", "pixel", "--tile", 4), ("--profile", "public"),
    ("--prior", ""), ("--prior", "dp", "--engine", "flare"),
    ("--prior", "dp", "--aggregation", "encrypted"), ("--prior", "dp", "--topology", "split"),
    ("--prior", "dp", "--profile", "paper"), ("--engine", "flare", "--aggregation", "encrypted"),
    ("--engine", "cloud"), ("--device", "abacus"), ("--seed", -1),
    ("--sampling-rate", 0), ("--sampling-rate", 1.5), ("--no-such-option",), ("--epsilon",),
    ("--test", ""), ("--delta", 0.4), ("--tile", 4), ("--custodian",), ("--rounding", "up"),
    ("--ring-bits", 16), ("--aggregation", "encrypted", "--ring-bits", 64),
    ("--key-agreement", "sike"), ("--spectra", "finest"),
    ("--key-agreement", "hybrid", "--aggregation", "plain", "--noise", "local"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_OPTIONS, ids=lambda wrong: " ".join(map(str, wrong)))
def test_a_wrong_option_is_two_lines_and_exit_2_and_leaves_nothing(
    cli: Cli, tiny: Path, tmp_path: Path, wrong: tuple[object, ...]
) -> None:
    expected = 3 if wrong == ("--test", "") else 2
    check_refusal(cli(*small(tiny, tmp_path / "r", *wrong)), expected, tmp_path)


def check_refusal(outcome: tuple[int, str, str], expected: int, folder: Path) -> str:
    code, out, err = outcome
    lines = [line for line in err.splitlines() if not line.endswith("steps")]
    assert code == expected, err
    assert len(lines) == 2, err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert out == ""
    assert not (folder / "r").exists()
    assert not (folder / "r.partial").exists()
    return lines[0]


def spoil(source: Path, target: Path, change: Callable[[Any], None]) -> Path:
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "r+") as file:
        change(file)
    return target


def put(name: str, values: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        attributes = dict(file[name].attrs) if name in file else {}
        if name in file:
            del file[name]
        file[name] = values
        for key, value in attributes.items():
            file[name].attrs[key] = value

    return change


def set_first(name: str, value: float) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        file[name][0] = value

    return change


WRONG_DATA: dict[str, Callable[[Any], None]] = {
    "nan in hsi": set_first("hsi", math.nan),
    "infinite lidar": set_first("lidar", math.inf),
    "a label outside the classes": set_first("label", 9),
    "a negative label": put("label", np.full(240, -1)),
    "labels of another length": put("label", np.ones(239, dtype=np.uint8)),
    "labels as floats": put("label", np.full(240, 1.5)),
    "no modality": lambda file: (file.__delitem__("hsi"), file.__delitem__("lidar"))[0],
    "no labels": lambda file: file.__delitem__("label"),
    "hsi of five axes": put("hsi", np.ones((2, 2, 2, 2, 2))),
    "hsi and lidar of different length": put("lidar", np.ones((3, 1), dtype=np.float32)),
    "text where numbers belong": put("hsi", np.array([b"x"] * 240)),
    "nothing labelled": put("label", np.zeros(240, dtype=np.uint8)),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_data_is_two_lines_and_exit_3_and_leaves_nothing(
    cli: Cli, tiny: Path, tmp_path: Path, case: str
) -> None:
    bad = spoil(tiny, tmp_path / "bad.h5", WRONG_DATA[case])
    assert "bad.h5" in check_refusal(cli(*small(bad, tmp_path / "r")), 3, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not HDF5", None], ids=["empty", "text", "missing"])
def test_a_file_that_is_no_data_file_is_exit_3(
    cli: Cli, tmp_path: Path, content: bytes | None
) -> None:
    bad = tmp_path / "bad.h5"
    if content is not None:
        bad.write_bytes(content)
    assert "bad.h5" in check_refusal(cli(*small(bad, tmp_path / "r")), 3, tmp_path)


def test_a_truncated_file_is_exit_3(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(tiny.read_bytes()[: tiny.stat().st_size // 2])
    check_refusal(cli(*small(bad, tmp_path / "r")), 3, tmp_path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("epsilom = 8", "did you mean epsilon"),
        ("epsilon = 'eight'", "a number"),
        ("rounds = 2.5", "an integer"),
        ("rounds = true", "an integer"),
        ("this is not TOML", "not TOML"),
        ("epsilon = nan", "epsilon is nan"),
        ("data = 3", "text"),
    ],
)
def test_a_wrong_configuration_file_is_exit_2(
    cli: Cli, tiny: Path, tmp_path: Path, text: str, word: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    code, out, err = cli("run", "--data", tiny, "--out", tmp_path / "r", "--config", config)
    check_refusal((code, out, err), 2, tmp_path)
    assert word in err


def test_an_existing_run_directory_is_refused_and_untouched(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    for name in ("r", "r.partial"):
        kept = tmp_path / name / "kept"
        kept.parent.mkdir()
        kept.write_text("precious")
        code, _, err = cli(*small(tiny, tmp_path / "r"))
        assert code == 2
        assert err.startswith("error: out:")
        assert kept.read_text() == "precious"
        kept.unlink()
        kept.parent.rmdir()


def test_options_win_over_the_configuration_file() -> None:
    assert RunConfig(epsilon=1.0).to_dict()["epsilon"] == 1.0


def test_predict_writes_a_map_and_refuses_what_does_not_fit(
    cli: Cli, finished: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.h5"
    code, text, err = cli("predict", finished, "--data", tiny, "--out", out, "--json")
    assert code == 0, err
    assert json.loads(text)["accuracy"]["n_test"] == 240
    with h5py.File(out) as file:
        assert file["label"].shape == (240,)
        assert set(np.unique(file["label"][...])) <= {1, 2, 3}
    assert cli("predict", finished, "--data", tiny, "--out", out)[0] == 2  # it exists
    assert cli("predict", finished, "--data", tiny, "--out", tmp_path / "m.doc")[0] == 2
    assert cli("predict", finished, "--data", tiny, "--out", tmp_path / "m.tif")[0] == 2
    assert cli("predict", tmp_path, "--data", tiny, "--out", tmp_path / "m.png")[0] == 3
    other = tmp_path / "other.h5"
    write_scene(other, tiny_table(pixels=30, bands=21, seed=3))
    assert cli("predict", finished, "--data", other, "--out", tmp_path / "m.png")[0] == 3
    damaged = tmp_path / "model.safetensors"
    content = bytearray((finished / "model.safetensors").read_bytes())
    content[20] ^= 1
    damaged.write_bytes(bytes(content))
    assert cli("predict", damaged, "--data", tiny, "--out", tmp_path / "m.png")[0] == 3
    assert not (tmp_path / "m.png").exists()


def test_a_model_of_fine_spectra_predicts_and_verifies(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "fine", tmp_path / "map.h5"
    code, _, err = cli(*small(tiny, run, "--epsilon", "inf", "--spectra", "fine"))
    assert code == 0, err
    code, text, err = cli("predict", run, "--data", tiny, "--out", out, "--json")
    assert code == 0, err
    assert json.loads(text)["accuracy"]["n_test"] == 240
    assert "hsi log shape" in (run / "privacy.md").read_text(encoding="utf-8")
    code, _, err = cli("audit", "verify", run)
    assert code == 0, err


def test_predict_serves_an_owner_of_one_modality(
    cli: Cli, finished: Path, tiny: Path, tmp_path: Path
) -> None:
    for missing in ("hsi", "lidar"):
        one = spoil(tiny, tmp_path / f"no-{missing}.h5", lambda f, m=missing: f.__delitem__(m))
        code, _, err = cli("predict", finished, "--data", one, "--out", tmp_path / f"{missing}.png")
        assert code == 0, err


def test_data_inspect_shows_what_was_understood(cli: Cli, tiny: Path) -> None:
    code, out, _ = cli("data", "inspect", tiny, "--json")
    assert code == 0
    assert json.loads(out)["modalities"]["hsi"]["channels"] == 20
    assert cli("data", "inspect", "missing.h5")[0] == 3


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version")[1].startswith("feddiff-secure ")
    code, out, _ = cli("run", "--help")
    assert code == 0
    assert "--epsilon" in out
