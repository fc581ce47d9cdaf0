"""What the paper profile exchanges: low-rank factors, their file, averages and scaling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.paper.averaging import synchronise
from feddiff_secure.paper.channel_range import ChannelRange
from feddiff_secure.paper.encoder_features import from_rows, to_rows
from feddiff_secure.paper.exchange import (
    Exchanged,
    OwnerFeatures,
    exchange_bytes,
    load_exchange,
)
from feddiff_secure.paper.low_rank import LowRankFeatures


def features(rows: int, columns: int, rank: int, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))).astype("f4")


@given(st.integers(1, 30), st.integers(1, 20), st.integers(1, 25), st.integers(0, 9))
def test_the_factors_are_as_good_as_the_best_of_their_rank(
    rows: int, columns: int, rank: int, seed: int
) -> None:
    whole = np.random.default_rng(seed).standard_normal((rows, columns)).astype("f4")
    found = LowRankFeatures.compress(whole, rank)
    kept = min(rank, rows, columns)
    assert found.values.size == kept
    singular = np.linalg.svd(whole.astype("f8"), compute_uv=False)
    least = np.sqrt(np.square(singular[kept:]).sum())  # Eckart and Young 1936
    assert np.linalg.norm(whole - found.features()) == pytest.approx(least, abs=2e-4)
    assert (np.diff(found.values) <= 1e-4).all()


def test_features_of_low_rank_survive_the_exchange_and_cost_less() -> None:
    whole = features(300, 80, 12)
    found = LowRankFeatures.compress(whole, 20)
    np.testing.assert_allclose(found.features(), whole, atol=2e-3)
    assert found.numbers == 20 * (300 + 80 + 1)
    assert found.dense_numbers / found.numbers > 3


def payload() -> Exchanged:
    return Exchanged(
        (
            OwnerFeatures("owner-001", "hsi", LowRankFeatures.compress(features(9, 6, 3), 2)),
            OwnerFeatures("owner-002", "lidar", LowRankFeatures.compress(features(9, 6, 3, 1), 2)),
        )
    )


def test_the_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "exchange.safetensors"
    path.write_bytes(exchange_bytes(payload()))
    assert exchange_bytes(load_exchange(path)) == path.read_bytes()
    with safe_open(path, framework="numpy") as file:
        assert "no privacy guarantee" in file.metadata()["exchange"]


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """The payload's file with its tensors or its description changed."""
    path.write_bytes(exchange_bytes(payload()))
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = json.loads(file.metadata()["exchange"])
    change(tensors, described)
    path.write_bytes(save(tensors, {"exchange": json.dumps(described)}))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, _d: t.pop("owner-001.left"), "owner-001.left"),
        (lambda t, _d: t.update(more=np.zeros(1, "f4")), "more"),
        (lambda t, _d: t.update({"owner-001.values": np.zeros(3, "f4")}), "owner-001"),
        (lambda t, _d: t.update({"owner-001.values": np.zeros(2, "f8")}), "float32"),
        (lambda t, _d: t["owner-002.left"].fill(np.nan), "owner-002"),
        (lambda _t, d: d.update(format="feddiff-secure feature exchange 2"), "format"),
        (lambda _t, d: d.update(guarantee="epsilon 1"), "guarantee"),
        (lambda _t, d: d.pop("guarantee"), "fields"),
        (lambda _t, d: d["owners"].pop(), "owners"),
        (lambda _t, d: d["owners"][0].update(name="../up"), "no name"),
        (lambda _t, d: d["owners"][0].update(name="owner-002"), "twice"),
        (lambda _t, d: d["owners"][0].update(modality="radar"), "radar"),
        (lambda _t, d: d.update(owners=[{"name": f"o{i}"} for i in range(101)]), "owners"),
    ],
)
def test_a_payload_that_was_tampered_with_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None], message: str
) -> None:
    path = rewritten(tmp_path / "exchange.safetensors", change)
    with pytest.raises(DataError, match=message) as refused:
        load_exchange(path)
    assert "exchange.safetensors" in str(refused.value)


def test_a_payload_that_is_missing_too_large_or_no_file_of_its_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "exchange.safetensors"
    with pytest.raises(DataError, match="no such file"):
        load_exchange(path)
    path.write_bytes(b"\x80\x04not a tensor file")
    with pytest.raises(DataError, match="not a safetensors file"):
        load_exchange(path)
    path.write_bytes(exchange_bytes(payload()))
    monkeypatch.setattr("feddiff_secure.paper.exchange.MOST_BYTES", 100)
    with pytest.raises(DataError, match="larger than 100"):
        load_exchange(path)


def test_shared_layers_hold_the_weighted_mean_in_every_copy() -> None:
    copies = [torch.nn.Linear(2, 1) for _ in range(3)]
    for value, module in enumerate(copies):
        torch.nn.init.constant_(module.weight, float(value))
        torch.nn.init.constant_(module.bias, -float(value))
    synchronise(copies, [1.0, 0.0, 3.0])
    for module in copies:
        assert module.weight.detach().numpy() == pytest.approx(1.5)
        assert module.bias.detach().numpy() == pytest.approx(-1.5)
    with pytest.raises(UsageError, match="copies"):
        synchronise(copies, [0.0, 0.0, 0.0])


def test_scaling_uses_the_given_extremes_and_can_be_undone() -> None:
    found = ChannelRange(np.array([0.0, 2.0], "f4"), np.array([4.0, 2.0], "f4"))
    values = np.array([[[[0.0]], [[2.0]]], [[[8.0]], [[2.0]]]], "f4")
    scaled = found.scale(values)
    # a test value beyond the training extremes is scaled by them and not by its own
    assert scaled[:, 0, 0, 0] == pytest.approx([-1.0, 3.0])
    np.testing.assert_allclose(found.unscale(scaled), values, atol=1e-5)
    with pytest.raises(DataError, match="minimum"):
        ChannelRange(np.ones(1, "f4"), np.zeros(1, "f4"))


def test_rows_of_tiles_go_back_to_the_tiles_they_came_from() -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal(shape).astype("f4") for shape in ((3, 5, 2, 4), (2, 5, 1, 1))]
    back = from_rows(to_rows(blocks), [(3, 2, 4), (2, 1, 1)])
    for one, two in zip(blocks, back, strict=True):
        np.testing.assert_array_equal(one, two)
        assert torch.from_numpy(two).stride() == torch.zeros(two.shape).stride()
