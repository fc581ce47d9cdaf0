"""The adapter of the HSI branch: what it changes, and what one tile adds to its gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.tiles import TileBlock, TileSet
from feddiff_secure.federation.examples import Described
from feddiff_secure.federation.prior_phase import AdaptableTiles
from feddiff_secure.model.adapter import adapted_prior, adapter_size
from feddiff_secure.model.adapter_gradient import MULTIPLICITY, public_draws, spectrum_gradients
from feddiff_secure.model.features import hsi_features
from feddiff_secure.model.inputs import hsi_conditioning
from feddiff_secure.model.prior import Prior, load_prior
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.wavelengths import resampling, standardise
from scripts.make_tiny_table import tiny_table

Array = npt.NDArray[np.float64]

BANDS = 8
CLIP = 0.05
SAMPLING = resampling(BANDS, tuple(np.linspace(420.0, 980.0, BANDS)))
SHIPPED = load_prior("hsi")
SIZE = adapter_size(SHIPPED.branch.config)


def table(pixels: int = 5) -> TileSet:
    return cut_tiles(tiny_table(pixels=pixels, bands=BANDS, seed=0), 1)


FEATURES = FeatureMap.public(table().layout, tile=1, adapts=True)


def adaptable(tiles: TileSet) -> AdaptableTiles:
    return AdaptableTiles(FEATURES, Described(tiles, ()))


def with_block(tiles: TileSet, **changes: object) -> TileSet:
    (block,) = tiles.blocks
    return replace(tiles, blocks=(replace(block, **changes),))


def block_of(tiles: TileSet) -> TileBlock:
    (block,) = tiles.blocks
    return block


def spectra(rows: int, seed: int = 0) -> npt.NDArray[np.float32]:
    values = np.random.default_rng(seed).uniform(0.05, 0.6, (rows, BANDS)).astype(np.float32)
    return standardise(values, SAMPLING)


def some_adapter(seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(0, 0.05, SIZE)


def test_its_size_is_two_numbers_a_modulated_channel() -> None:
    channels = [n.norm_out.num_channels for n in SHIPPED.branch.modules() if hasattr(n, "norm_out")]
    assert 2 * sum(channels) == SIZE == 832


def test_zeros_are_exactly_the_shipped_branch() -> None:
    same = adapted_prior(SHIPPED, np.zeros(SIZE))
    for name, tensor in SHIPPED.branch.state_dict().items():
        assert torch.equal(tensor, same.branch.state_dict()[name]), name
    values = np.random.default_rng(0).uniform(0, 1, (3, BANDS)).astype(np.float32)
    pair = [hsi_features(prior, values, SAMPLING) for prior in (SHIPPED, same)]
    assert np.array_equal(*pair)
    assert not np.array_equal(
        pair[0], hsi_features(adapted_prior(SHIPPED, some_adapter()), values, SAMPLING)
    )


def test_the_shipped_branch_stays_as_it_is_when_another_is_made_of_it() -> None:
    before = {name: t.clone() for name, t in SHIPPED.branch.state_dict().items()}
    adapted_prior(SHIPPED, some_adapter())
    spectrum_gradients(SHIPPED, spectra(2), SAMPLING, some_adapter(), public_draws((0,), 96))
    for name, tensor in SHIPPED.branch.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    with pytest.raises(ValueError, match="another branch"):
        adapted_prior(SHIPPED, np.zeros(SIZE - 1))


def folded_weights(prior: Prior, adapter: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors that an adapter changes, by their names in the branch."""
    weights, start = {}, 0
    for name, module in prior.branch.named_modules():
        if name.endswith("norm_out"):
            width = module.get_parameter("weight").numel()
            scale, shift = adapter[start : start + 2 * width].reshape(2, width)
            weights[f"{name}.weight"] = module.get_parameter("weight") * (1 + scale)
            weights[f"{name}.bias"] = module.get_parameter("bias") * (1 + scale) + shift
            start += 2 * width
    assert start == SIZE
    return weights


def test_an_adapted_branch_has_the_folded_weights_and_no_other_changed() -> None:
    state = adapted_prior(SHIPPED, some_adapter()).branch.state_dict()
    wanted = folded_weights(SHIPPED, torch.tensor(some_adapter(), dtype=torch.float32))
    for name, tensor in SHIPPED.branch.state_dict().items():
        assert torch.equal(state[name], wanted.get(name, tensor)), name
        assert torch.equal(state[name], tensor) == (name not in wanted)


def one_gradient(prior: Prior, signal: npt.NDArray[np.float32], at: Array, seed: int) -> Array:
    """Of one spectrum by itself: autograd through the folded weights of an adapted branch."""
    draws, schedule = public_draws((seed,), signal.size), linear_schedule()
    adapter = torch.tensor(at, dtype=torch.float32, requires_grad=True)
    weights = folded_weights(prior, adapter)
    x0, covered = torch.from_numpy(signal)[None, None], torch.from_numpy(SAMPLING.covered)
    losses = []
    for step, noise in zip(draws.steps, torch.from_numpy(draws.noise), strict=True):
        a, b = float(schedule.signal(step)), float(schedule.noise(step))
        x_t = (a * x0 + b * noise) * covered
        inputs = torch.cat([x_t, torch.from_numpy(hsi_conditioning(SAMPLING))[None]], dim=1)
        v = functional_call(prior.branch, weights, (inputs, torch.tensor([step])))
        error = (v - (a * noise - b * x0)) * covered
        losses.append(torch.square(error).sum() / covered.sum())
    assert len(losses) == MULTIPLICITY
    (gradient,) = torch.autograd.grad(torch.stack(losses).mean(), adapter)
    return gradient.double().numpy()


@pytest.mark.parametrize("at", [np.zeros(SIZE), some_adapter()], ids=["shipped", "adapted"])
def test_gradients_of_many_are_those_of_autograd_one_at_a_time(at: Array) -> None:
    signal = spectra(3)
    found = spectrum_gradients(SHIPPED, signal, SAMPLING, at, public_draws((5,), 96))
    for row, gradient in zip(signal, found, strict=True):
        wanted = one_gradient(SHIPPED, row, at, 5)
        assert np.linalg.norm(gradient - wanted) < 1e-4 * np.linalg.norm(wanted)
        assert np.linalg.norm(wanted) > 1e-3


def test_a_gradient_depends_on_its_spectrum_alone_bit_for_bit() -> None:
    signal, draws = spectra(70), public_draws((0,), 96)
    whole = spectrum_gradients(SHIPPED, signal, SAMPLING, some_adapter(), draws)
    order = np.random.default_rng(3).permutation(70)
    moved = spectrum_gradients(SHIPPED, signal[order], SAMPLING, some_adapter(), draws)
    assert np.array_equal(whole[order], moved)
    alone = spectrum_gradients(SHIPPED, signal[67:68], SAMPLING, some_adapter(), draws)
    assert np.array_equal(whole[67:68], alone)


def test_draws_are_public_and_cover_all_steps() -> None:
    draws, again = public_draws((2,), 96), public_draws((2,), 96)
    assert draws.steps == again.steps
    assert np.array_equal(draws.noise, again.noise)
    assert draws.steps != public_draws((3,), 96).steps
    quarters = [(step - 1) * MULTIPLICITY // 500 for step in draws.steps]
    assert quarters == list(range(MULTIPLICITY))


def test_the_sum_is_of_clipped_means_over_a_tiles_pixels_and_draws() -> None:
    tiles = table(4)
    (block,) = tiles.blocks
    shared = with_block(tiles, unit=np.array([7, 3, 7, 7]))  # two units of a table's grid cells
    assert block.hsi is not None
    signal = standardise(block.hsi[:, :, 0, 0], SAMPLING)
    own = np.stack([one_gradient(SHIPPED, row, np.zeros(SIZE), 0) for row in signal])
    wanted = np.zeros(SIZE)
    for mean in (own[[0, 2, 3]].mean(axis=0), own[1]):
        assert np.linalg.norm(mean) > 0.01  # so that this clip is at work
        wanted += mean * min(1.0, 0.01 / np.linalg.norm(mean))
    found = adaptable(shared).clipped_gradients(np.zeros(SIZE), 0.01, 0)
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)


ODD = st.sampled_from([0.0, 0.3, 5.0, 1e4, 1e30, np.nan, np.inf, -1e30])


@settings(max_examples=8, deadline=None)
@given(
    value=st.lists(ODD, min_size=BANDS, max_size=BANDS),
    seed=st.integers(0, 5),
    far=st.booleans(),
)
def test_one_tile_moves_the_sum_by_at_most_the_clip(
    value: list[float], seed: int, far: bool
) -> None:
    tiles = table(4)
    (block,) = tiles.blocks
    assert block.hsi is not None
    hsi = block.hsi.copy()
    hsi[1, :, 0, 0] = np.array(value, dtype=np.float32)
    changed = with_block(tiles, hsi=hsi)
    without = replace(tiles, blocks=(block_of(changed).take(np.array([0, 2, 3])),))
    at = some_adapter(seed) * (40 if far else 1)  # whatever adapter a coordinator shows
    both = [adaptable(part).clipped_gradients(at, CLIP, 0) for part in (changed, without)]
    assert all(np.isfinite(part).all() for part in both)
    assert np.linalg.norm(both[0] - both[1]) <= CLIP
    if np.isnan(value).any():
        assert np.array_equal(*both)  # it counts as zero, as in training


def test_labels_are_not_read_and_unlabelled_tiles_count() -> None:
    tiles = table(4)
    at = np.zeros(SIZE)
    labelled = adaptable(tiles).clipped_gradients(at, CLIP, 0)
    bare = with_block(tiles, label=np.zeros_like(block_of(tiles).label))
    assert np.array_equal(labelled, adaptable(bare).clipped_gradients(at, CLIP, 0))
    fewer = replace(tiles, blocks=(block_of(bare).take(np.array([0, 1, 2])),))
    assert np.linalg.norm(labelled - adaptable(fewer).clipped_gradients(at, CLIP, 0)) > CLIP / 2


def test_missing_pixels_are_left_out_and_owners_without_hsi_send_zeros() -> None:
    tiles = table(4)
    at = np.zeros(SIZE)
    there = np.array([True, False, True, True]).reshape(4, 1, 1)
    gaps = with_block(tiles, valid={"hsi": there})
    fewer = replace(tiles, blocks=(block_of(tiles).take(np.array([0, 2, 3])),))
    found = [adaptable(part).clipped_gradients(at, CLIP, 0) for part in (gaps, fewer)]
    assert np.array_equal(*found)
    lidar = replace(tiles, blocks=tuple(block.only({"lidar"}) for block in tiles.blocks))
    assert not adaptable(lidar).clipped_gradients(at, CLIP, 0).any()
    assert adaptable(lidar).size == SIZE
