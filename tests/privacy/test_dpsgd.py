"""Per-tile gradients of a torch module: clipped one by one, bounded, and blind to bad tiles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from feddiff_privacy.dpsgd import Call, clipped_gradient_sum
from feddiff_privacy.errors import MechanismError
from feddiff_secure.model.branch_config import BranchConfig
from feddiff_secure.model.unet import UNet

CONFIG = BranchConfig(axes=1, in_channels=1, out_channels=1, widths=(8, 16), patch=1, heads=2)


def v_loss(call: Call, x: Tensor, t: Tensor, v: Tensor) -> Tensor:
    """One tile's loss, averaged over its noise draws (multiplicity)."""
    return (call(x, t) - v).square().mean()


def branch(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    return UNet(CONFIG)


def tiles(count: int, draws: int = 2, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, draws, 1, 12, generator=generator)
    t = torch.randint(1, 500, (count, draws), generator=generator)
    return [x, t, torch.randn(count, draws, 1, 12, generator=generator)]


def one_by_one(module: nn.Module, data: list[Tensor], clip: float) -> Tensor:
    """The oracle: ordinary backward passes, a tile at a time."""
    total = torch.zeros(sum(p.numel() for p in module.parameters()), dtype=torch.float64)
    for tile in zip(*data, strict=True):
        module.zero_grad()
        v_loss(module, *tile).backward()  # type: ignore[no-untyped-call]  # torch's
        flat = torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.grad is not None])
        flat = flat.to(torch.float64)
        total += flat * min(1.0, clip / float(flat.norm()))
    return total


@pytest.mark.parametrize("clip", [1e-3, 0.1, 1e6])
def test_the_sum_is_that_of_ordinary_backward_passes_clipped_one_by_one(clip: float) -> None:
    module, data = branch(), tiles(7)
    total = clipped_gradient_sum(module, v_loss, data, clip=clip, chunk=3)
    torch.testing.assert_close(total, one_by_one(module, data, clip), rtol=1e-4, atol=1e-6 * clip)


def test_one_tile_moves_the_sum_by_at_most_the_clip() -> None:
    module, data = branch(), tiles(5)
    data[2][3] *= 1e4  # a tile whose gradient is enormous
    everyone = clipped_gradient_sum(module, v_loss, data, clip=0.5)
    without = [torch.cat([d[:3], d[4:]]) for d in data]
    rest = clipped_gradient_sum(module, v_loss, without, clip=0.5)
    moved = float((everyone - rest).norm())
    assert 0.499 < moved <= 0.5


def test_many_noise_draws_of_a_tile_are_clipped_together() -> None:
    """Multiplicity costs no privacy: sixteen draws move the sum by C, not by sixteen times C."""
    module, data = branch(), tiles(1, draws=16)
    data[2] *= 1e4
    total = clipped_gradient_sum(module, v_loss, data, clip=0.5)
    assert float(total.norm()) <= 0.5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_tile_that_is_not_finite_counts_as_zero(bad: float) -> None:
    module, data = branch(), tiles(4)
    spoiled = [d.clone() for d in data]
    spoiled[0][2, 0, 0, 5] = bad
    good = [torch.cat([d[:2], d[3:]]) for d in data]
    torch.testing.assert_close(
        clipped_gradient_sum(module, v_loss, spoiled, clip=0.1),
        clipped_gradient_sum(module, v_loss, good, clip=0.1),
    )


def test_parameters_that_are_frozen_take_no_part() -> None:
    module, data = branch(), tiles(3)
    for p in module.down.parameters():
        p.requires_grad_(False)
    total = clipped_gradient_sum(module, v_loss, data, clip=0.1)
    assert len(total) == sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_an_empty_batch_is_a_sum_of_zeros() -> None:
    module = branch()
    empty = [d[:0] for d in tiles(1)]
    assert not clipped_gradient_sum(module, v_loss, empty, clip=0.1).any()


def test_batchnorm_is_refused_with_the_reason() -> None:
    module = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2))
    with pytest.raises(MechanismError, match="1 is BatchNorm, which mixes the tiles"):
        clipped_gradient_sum(module, v_loss, tiles(2), clip=0.1)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan"), float("inf")])
def test_a_clip_that_bounds_nothing_is_refused(clip: float) -> None:
    with pytest.raises(MechanismError, match="clip"):
        clipped_gradient_sum(branch(), v_loss, tiles(2), clip=clip)


def test_tensors_of_different_lengths_are_refused() -> None:
    data = tiles(3)
    data[1] = data[1][:2]
    with pytest.raises(MechanismError, match="same number"):
        clipped_gradient_sum(branch(), v_loss, data, clip=0.1)
