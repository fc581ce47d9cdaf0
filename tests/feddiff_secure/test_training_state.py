"""A training run that is stopped and resumed ends in the same bits as one that is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.model import training_state
from feddiff_secure.model.branch_config import BranchConfig
from feddiff_secure.model.diffusion import denoising_loss, update_average
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.training_state import (
    TrainingState,
    load_training_state,
    save_training_state,
)
from feddiff_secure.model.unet import UNet

CONFIG = BranchConfig(
    axes=1,
    in_channels=1,
    out_channels=1,
    patch=1,
    widths=(8, 16),
    heads=2,
    token_interaction=True,
    frequency_parser=True,
    classes=2,
)


@dataclass
class Run:
    """A small training whose data, labels, steps and noise all come from its generators."""

    branch: UNet
    average: UNet
    optimiser: torch.optim.Adam
    noise: torch.Generator
    data: np.random.Generator

    @staticmethod
    def begin(seed: int) -> Run:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            branch = UNet(CONFIG)
        optimiser = torch.optim.Adam(branch.parameters(), lr=1e-3 * (seed + 1), betas=(0.9, 0.99))
        return Run(
            branch,
            copy.deepcopy(branch),
            optimiser,
            torch.Generator().manual_seed(seed),
            np.random.default_rng(seed),
        )

    @property
    def state(self) -> TrainingState:
        return TrainingState(
            modules={"branch": self.branch, "average": self.average},
            optimiser=self.optimiser,
            generators={"noise": self.noise},
            numpy_generators={"data": self.data},
        )

    def train(self, first: int, last: int) -> None:
        for step in range(first, last):
            x0 = torch.from_numpy(self.data.standard_normal((5, 1, 8), dtype=np.float32))
            label = torch.from_numpy(self.data.integers(0, 3, size=5, dtype=np.int32)).long()
            self.optimiser.param_groups[0]["lr"] *= 0.9
            loss = denoising_loss(
                self.branch,
                linear_schedule(),
                x0,
                conditioning=torch.zeros(5, 0, 8),
                mask=torch.ones(1),
                generator=self.noise,
                label=label,
                label_dropout=0.2,
            )
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            update_average(self.average, self.branch, step)

    def everything(self) -> list[torch.Tensor]:
        saved = self.optimiser.state_dict()["state"]
        moments = [saved[i][key] for i in sorted(saved) for key in sorted(saved[i])]
        weights = [*self.branch.state_dict().values(), *self.average.state_dict().values()]
        last = torch.tensor([self.optimiser.param_groups[0]["lr"]], dtype=torch.float64)
        drawn = torch.from_numpy(self.data.integers(0, 2**62, size=3))
        return [*weights, *moments, self.noise.get_state(), last, drawn]


def test_six_steps_are_three_steps_a_checkpoint_and_three_more_bit_for_bit(tmp_path: Path) -> None:
    whole, half, resumed = Run.begin(0), Run.begin(0), Run.begin(1)
    whole.train(0, 6)
    half.train(0, 3)
    save_training_state(tmp_path / "checkpoint", half.state, 3)
    del half
    first = load_training_state(tmp_path / "checkpoint", resumed.state)
    assert first == 3
    resumed.train(first, 6)
    pairs = list(zip(whole.everything(), resumed.everything(), strict=True))
    assert len(pairs) > 100
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not (tmp_path / "checkpoint.partial").exists()


def test_half_a_word_left_over_in_a_numpy_generator_is_kept(tmp_path: Path) -> None:
    run, resumed = Run.begin(0), Run.begin(1)
    run.data.integers(0, 2**31, dtype=np.int32)
    assert run.data.bit_generator.state["has_uint32"] == 1
    save_training_state(tmp_path / "checkpoint", run.state, 0)
    load_training_state(tmp_path / "checkpoint", resumed.state)
    drawn = [each.data.integers(0, 2**31, size=3, dtype=np.int32) for each in (run, resumed)]
    assert np.array_equal(*drawn)


def test_a_run_can_be_saved_before_its_first_step(tmp_path: Path) -> None:
    save_training_state(tmp_path / "checkpoint", Run.begin(0).state, 0)
    resumed, whole = Run.begin(1), Run.begin(0)
    assert load_training_state(tmp_path / "checkpoint", resumed.state) == 0
    resumed.train(0, 2)
    whole.train(0, 2)
    pairs = zip(whole.everything(), resumed.everything(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_equal_states_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = Run.begin(0)
        run.train(0, 1)
        save_training_state(tmp_path / name, run.state, 1)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


Change = Callable[[dict[str, torch.Tensor], dict[str, Any]], None]


def rewritten(path: Path, change: Change) -> None:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    described = json.loads(header["__metadata__"]["state"])
    tensors = load_file(path)
    change(tensors, described)
    text = json.dumps(described, sort_keys=True, separators=(",", ":"))
    save_file(tensors, path, metadata={"state": text})


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("missing or unexpected", lambda t, _d: t.pop("module.branch.stem.weight")),
        ("missing or unexpected", lambda t, _d: t.update({"more": torch.zeros(1)})),
        ("missing or unexpected", lambda t, _d: t.pop("generator.noise")),
        ("incomplete", lambda t, _d: t.pop("optimiser.0.exp_avg")),
        ("there are", lambda t, _d: t.update({"optimiser.9999.exp_avg": torch.zeros(1)})),
        ("must be", lambda t, _d: t.update({"optimiser.0.exp_avg": torch.zeros(3)})),
        ("must be", lambda t, _d: t.update({"generator.noise": torch.zeros(3, dtype=torch.uint8)})),
        ("not finite", lambda t, _d: t["module.branch.stem.bias"].fill_(float("nan"))),
        ("format", lambda _t, d: d.update(format="feddiff-secure training state 2")),
        ("other fields", lambda _t, d: d.update(more=1)),
        ("step must be", lambda _t, d: d.update(step=-1)),
        ("step must be", lambda _t, d: d.update(step=True)),
        ("generators differ", lambda _t, d: d["numpy"].clear()),
        ("not a PCG64", lambda _t, d: d["numpy"]["data"].pop("inc")),
        ("exceeds 128 bits", lambda _t, d: d["numpy"]["data"].update(state=str(2**128))),
        ("exceeds 1 bits", lambda _t, d: d["numpy"]["data"].update(has_uint32="2")),
        ("exceeds 128 bits", lambda _t, d: d["numpy"]["data"].update(inc="01")),
        ("must have 1 groups", lambda _t, d: d.update(optimiser=[])),
        ("hyper-parameters", lambda _t, d: d["optimiser"][0].update(lr="fast")),
        ("hyper-parameters", lambda _t, d: d["optimiser"][0].update(amsgrad=True)),
        ("hyper-parameters", lambda _t, d: d["optimiser"][0].pop("betas")),
        ("not a number", lambda _t, d: d["optimiser"][0].update(lr=float("inf"))),
    ],
)
def test_a_tampered_checkpoint_is_refused_and_changes_nothing(
    tmp_path: Path, message: str, change: Change
) -> None:
    run, other = Run.begin(0), Run.begin(1)
    run.train(0, 1)
    path = tmp_path / "run.checkpoint"
    save_training_state(path, run.state, 1)
    rewritten(path, change)
    weights = [tensor.clone() for tensor in other.branch.state_dict().values()]
    with pytest.raises(DataError, match=message) as caught:
        load_training_state(path, other.state)
    assert "run.checkpoint" in str(caught.value)
    same = zip(weights, other.branch.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not other.optimiser.state


def test_files_that_are_no_checkpoints_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run = tmp_path / "checkpoint", Run.begin(0)
    with pytest.raises(DataError, match="cannot read"):
        load_training_state(path, run.state)
    save_training_state(path, run.state, 0)
    good = path.read_bytes()
    for bad in (b"", b"nonsense", good[:-1], good + b"\0"):
        path.write_bytes(bad)
        with pytest.raises(DataError, match="not a checkpoint"):
            load_training_state(path, run.state)
    path.write_bytes(good.replace(b'\\"step\\":0', b'\\"step\\":  0'[:10]))
    with pytest.raises(DataError):
        load_training_state(path, run.state)
    monkeypatch.setattr(training_state, "MOST_BYTES", 1000)
    path.write_bytes(good)
    with pytest.raises(DataError, match="1000 bytes at most"):
        load_training_state(path, run.state)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    save_training_state(tmp_path / "a", Run.begin(0).state, 0)
    run = Run.begin(0)
    other = TrainingState({"branch": run.branch}, run.optimiser)
    with pytest.raises(DataError, match="generators differ"):
        load_training_state(tmp_path / "a", other)


def test_a_generator_that_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    run = Run.begin(0)
    run.data = np.random.Generator(np.random.MT19937(0))
    with pytest.raises(UsageError, match="MT19937"):
        save_training_state(tmp_path / "a", run.state, 0)
    assert not list(tmp_path.iterdir())
