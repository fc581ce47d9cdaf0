"""Bilateral connections: no-ops at first and without a partner, then both ways, within a tile."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from feddiff_privacy.dpsgd import Call, clipped_gradient_sum
from feddiff_secure.errors import UsageError
from feddiff_secure.model.branch_config import BranchConfig
from feddiff_secure.model.paired import PairedBranches
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.unet import UNet

SPECTRAL = BranchConfig(
    axes=1, in_channels=3, out_channels=1, patch=4, widths=(16, 16, 16), heads=2
)
SPATIAL = BranchConfig(axes=2, in_channels=2, out_channels=2, patch=1, widths=(16, 24), heads=2)
IMAGE = dataclasses.replace(SPATIAL, in_channels=12, out_channels=12, widths=(16, 16))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(hsi: BranchConfig = SPECTRAL, *, trained: bool = False) -> PairedBranches:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = PairedBranches(UNet(hsi), UNet(SPATIAL)).requires_grad_(False)
    if trained:
        for k, projection in enumerate([*made.to_hsi, *made.to_lidar]):
            for parameter in projection.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=seeded(k)))
    return made


def tiles(count: int, rows: int, cols: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    hsi = torch.randn((count, rows, cols, 3, 32), generator=seeded(seed))
    lidar = torch.randn((count, 2, rows, cols), generator=seeded(seed + 1))
    return hsi, lidar, torch.randint(1, 501, (count,), generator=seeded(seed + 2))


def alone(branches: PairedBranches, hsi: Tensor, lidar: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The branches without each other, pixel by pixel and tile by tile."""
    steps = t.repeat_interleave(hsi.shape[1] * hsi.shape[2])
    spectra = branches.hsi(hsi.flatten(0, 2), steps).reshape(*hsi.shape[:3], 1, -1)
    return spectra, branches.lidar(lidar, t)


@settings(max_examples=8)
@given(rows=st.integers(1, 9), cols=st.integers(1, 9), count=st.integers(1, 3))
def test_untrained_connections_change_nothing_bit_for_bit(rows: int, cols: int, count: int) -> None:
    branches, (hsi, lidar, t) = pair(), tiles(count, rows, cols)
    found, expected = branches(hsi, lidar, t), alone(branches, hsi, lidar, t)
    assert torch.equal(found.hsi, expected[0])
    assert torch.equal(found.lidar, expected[1])


@settings(max_examples=8)
@given(rows=st.integers(1, 9), cols=st.integers(1, 9), count=st.integers(1, 3))
def test_an_absent_modality_leaves_the_other_alone_bit_for_bit(
    rows: int, cols: int, count: int
) -> None:
    branches, (hsi, lidar, t) = pair(trained=True), tiles(count, rows, cols)
    expected = alone(branches, hsi, lidar, t)
    spectra, height = branches(hsi, None, t), branches(None, lidar, t)
    assert spectra.lidar is None
    assert height.hsi is None
    assert torch.equal(spectra.hsi, expected[0])
    assert torch.equal(height.lidar, expected[1])


def test_the_shipped_branches_can_be_paired() -> None:
    branches = PairedBranches(load_prior("hsi").branch, load_prior("lidar").branch)
    hsi, lidar = torch.zeros(1, 2, 3, 3, 96), torch.zeros(1, 2, 2, 3)
    with torch.no_grad():
        found = branches(hsi, lidar, torch.tensor([100]))
        levels = branches.encode(hsi, lidar, torch.tensor([100]))
    assert found.hsi.shape == (1, 2, 3, 1, 96)
    assert found.lidar.shape == lidar.shape
    assert [tuple(level.shape[:2]) for level in levels.hsi] == [(6, 48), (6, 64), (6, 96)]
    assert [tuple(level.shape[:2]) for level in levels.lidar] == [(1, 32), (1, 48)]
    assert [name for name, p in branches.named_parameters() if p.requires_grad] == [
        f"{side}.{i}.{part}"
        for side in ("to_hsi", "to_lidar")
        for i in range(2)
        for part in ("weight", "bias")
    ]


def test_trained_connections_carry_both_ways() -> None:
    branches, (hsi, lidar, t) = pair(trained=True), tiles(2, 4, 3)
    before = branches(hsi, lidar, t)
    assert not torch.allclose(branches(hsi, lidar + 1.0, t).hsi, before.hsi, atol=1e-4)
    assert not torch.allclose(branches(2.0 * hsi, lidar, t).lidar, before.lidar, atol=1e-4)


@pytest.mark.parametrize("side", ["to_hsi", "to_lidar"])
@pytest.mark.parametrize("level", [0, 1])
def test_every_connection_is_used_and_can_be_learnt(side: str, level: int) -> None:
    branches, (hsi, lidar, t) = pair(), tiles(2, 4, 3)
    projection = getattr(branches, side)[level].requires_grad_(True)
    found = branches(hsi, lidar, t)
    (found.hsi.square().sum() + found.lidar.square().sum()).backward()
    assert projection.weight.grad.abs().max() > 0.0


def test_the_first_exchange_is_the_projection_of_the_partners_level() -> None:
    branches, (hsi, lidar, t) = pair(trained=True), tiles(1, 2, 2)
    branches.to_hsi[1].weight.zero_()
    branches.to_lidar[1].weight.zero_()
    plain = branches.hsi.encode_level(
        0, branches.hsi.stem(hsi.flatten(0, 2)), branches.hsi.embed(t).repeat_interleave(4, 0)
    )
    heights = branches.lidar.encode_level(0, branches.lidar.stem(lidar), branches.lidar.embed(t))
    levels = branches.encode(hsi, lidar, t)
    for pixel, (row, col) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        to_hsi, to_lidar = branches.to_hsi[0], branches.to_lidar[0]
        added = to_hsi.weight[:, :, 0, 0] @ heights[0, :, row, col] + to_hsi.bias
        assert torch.allclose(levels.hsi[0][pixel], plain[pixel] + added[:, None], atol=1e-5)
        added = to_lidar.weight[:, :, 0, 0] @ plain[pixel].mean(dim=1) + to_lidar.bias
        assert torch.allclose(
            levels.lidar[0][0, :, row, col], heights[0, :, row, col] + added, atol=1e-5
        )


def test_what_is_exchanged_stays_within_the_tile() -> None:
    branches, (hsi, lidar, t) = pair(trained=True), tiles(3, 3, 2)
    before = branches(hsi, lidar, t)
    other_hsi, other_lidar = copy.deepcopy(hsi), copy.deepcopy(lidar)
    other_hsi[1, 0, 0] += 1.0
    other_lidar[1] -= 1.0
    after = branches(other_hsi, other_lidar, t)
    for one, two in zip(before, after, strict=True):
        same = [torch.equal(a, b) for a, b in zip(one, two, strict=True)]
        assert same == [True, False, True]


def test_the_step_of_a_tile_is_that_of_its_pixels() -> None:
    branches, (hsi, lidar, _) = pair(trained=True), tiles(2, 2, 2)
    both = branches(hsi, lidar, torch.tensor([7, 480]))
    for i, step in enumerate((7, 480)):
        one = branches(hsi[i : i + 1], lidar[i : i + 1], torch.tensor([step]))
        assert torch.allclose(both.hsi[i], one.hsi[0], atol=1e-5)
        assert torch.allclose(both.lidar[i], one.lidar[0], atol=1e-5)


def test_per_tile_gradients_of_the_connections_add_up_to_the_plain_gradient() -> None:
    branches, (hsi, lidar, t) = pair(trained=True), tiles(3, 2, 2)
    branches.to_hsi.requires_grad_(True)
    branches.to_lidar.requires_grad_(True)

    def loss(call: Call, hsi: Tensor, lidar: Tensor, t: Tensor) -> Tensor:
        found = call(hsi, lidar, t)
        return found[0].square().mean() + found[1].square().mean()

    singles = (hsi[:, None], lidar[:, None], t[:, None])
    total = clipped_gradient_sum(branches, loss, singles, clip=1e9)
    for one in zip(*singles, strict=True):
        loss(branches, *one).backward()
    plain = torch.cat([p.grad.flatten() for p in branches.parameters() if p.grad is not None])
    assert torch.allclose(total, plain.double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (5, 3), (8, 8)])
def test_a_spatial_hsi_branch_is_connected_too(rows: int, cols: int) -> None:
    """FedDiff's own case: both branches see the tile as an image."""
    _, lidar, t = tiles(2, rows, cols)
    hsi = torch.randn((2, 12, rows, cols), generator=seeded(9))
    untrained, trained = pair(IMAGE), pair(IMAGE, trained=True)
    assert torch.equal(untrained(hsi, lidar, t).hsi, untrained.hsi(hsi, t))
    assert torch.equal(trained(hsi, None, t).hsi, trained.hsi(hsi, t))
    found = trained(hsi, lidar, t)
    assert found.hsi.shape == hsi.shape
    assert not torch.allclose(found.hsi, trained.hsi(hsi, t), atol=1e-4)


@pytest.mark.parametrize(
    ("hsi", "lidar"),
    [
        (None, None),
        (torch.zeros(2, 3, 3, 3, 32), torch.zeros(2, 2, 3, 4)),
        (torch.zeros(2, 3, 3, 3, 32), torch.zeros(1, 2, 3, 3)),
        (torch.zeros(18, 3, 32), torch.zeros(2, 2, 3, 3)),
    ],
)
def test_tiles_that_do_not_belong_together_are_refused(
    hsi: Tensor | None, lidar: Tensor | None
) -> None:
    with pytest.raises(UsageError):
        pair()(hsi, lidar, torch.tensor([5, 5]))


def test_a_spectral_lidar_branch_is_refused() -> None:
    with pytest.raises(UsageError, match="not spatial"):
        PairedBranches(UNet(SPECTRAL), UNet(SPECTRAL))
