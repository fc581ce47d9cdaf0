"""Deformable convolution against the plain one, the gated fusion, and the three-output loss."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from feddiff_privacy.dpsgd import Call, clipped_gradient_sum
from feddiff_secure.errors import UsageError
from feddiff_secure.model.deformable import DeformableConvolution
from feddiff_secure.model.gated_fusion import (
    GatedFusion,
    Outputs,
    PairedHead,
    paired_loss,
    weight_norms,
)

KERNELS = [(1, 3), (3, 1), (1, 5), (3, 3), (1, 1)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def convolution(kernel: tuple[int, int]) -> DeformableConvolution:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = DeformableConvolution(3, 4, kernel).double()
    with torch.no_grad():
        made.bias.copy_(normal(4, seed=9))
    return made


@settings(max_examples=25)
@given(kernel=st.sampled_from(KERNELS), rows=st.integers(1, 8), cols=st.integers(1, 8))
def test_with_zero_offsets_it_is_the_plain_convolution(
    kernel: tuple[int, int], rows: int, cols: int
) -> None:
    deformable, x = convolution(kernel), normal(2, 3, rows, cols)
    weight = deformable.weight.unflatten(2, kernel)
    padding = (kernel[0] // 2, kernel[1] // 2)
    plain = functional.conv2d(x, weight, deformable.bias, padding=padding)
    assert torch.allclose(deformable(x), plain, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (-1, 1), (20, 0)])
def test_equal_whole_offsets_are_a_shift_of_the_input(
    kernel: tuple[int, int], down: int, right: int
) -> None:
    deformable, x = convolution(kernel), normal(1, 3, 5, 6)
    moves = torch.tensor([down, right]).view(1, 1, 2, 1, 1).expand(1, math.prod(kernel), 2, 5, 6)
    wide = functional.pad(x, (40, 40, 40, 40))
    shifted = wide.roll((-down, -right), dims=(2, 3))
    plain = functional.conv2d(
        shifted,
        deformable.weight.unflatten(2, kernel),
        deformable.bias,
        padding=(kernel[0] // 2, kernel[1] // 2),
    )
    found = deformable.sample(x, moves.double())
    assert torch.allclose(found, plain[:, :, 40:45, 40:46], atol=1e-10)


def test_a_fractional_offset_of_one_tap_interpolates_that_tap_alone() -> None:
    deformable, x = convolution((1, 3)), normal(1, 3, 4, 5)
    moves = torch.zeros(1, 3, 2, 4, 5).double()
    before = deformable.sample(x, moves)
    moves[0, 2, 0, 1, 2], moves[0, 2, 1, 1, 2] = 0.25, -0.5  # the right tap at row 1, column 2
    corners = [(1, 2, 0.75 * 0.5), (1, 3, 0.75 * 0.5), (2, 2, 0.25 * 0.5), (2, 3, 0.25 * 0.5)]
    value = torch.stack([share * x[0, :, r, c] for r, c, share in corners]).sum(dim=0)
    expected = before.clone()
    expected[0, :, 1, 2] += deformable.weight[:, :, 2] @ (value - x[0, :, 1, 3])
    assert torch.allclose(deformable.sample(x, moves), expected, atol=1e-10)


def test_gradients_are_those_of_finite_differences() -> None:
    deformable = convolution((1, 3))
    x = normal(1, 3, 2, 3).requires_grad_()
    moves = (0.3 * torch.rand((1, 3, 2, 2, 3), generator=seeded(3)).double() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, moves, _w, _b: deformable.sample(x, moves),
        (x, moves, deformable.weight, deformable.bias),
    )


def test_offsets_are_predicted_from_the_input_and_learnt() -> None:
    deformable, x = convolution((3, 1)), normal(2, 3, 4, 4)
    deformable(x).square().sum().backward()
    assert deformable.offset.weight.grad is not None
    assert deformable.offset.weight.grad.abs().max() > 0.0
    before = deformable(x)
    with torch.no_grad():
        deformable.offset.weight += 0.2
    assert not torch.allclose(deformable(x), before, atol=1e-3)


@pytest.mark.parametrize("kernel", [(2, 1), (1, 0), (1, -3)])
def test_an_even_kernel_is_refused(kernel: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="deformable kernel"):
        DeformableConvolution(1, 1, kernel)


def fusion() -> GatedFusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GatedFusion(6).double()


def test_the_fusion_follows_its_formula() -> None:
    fused, hsi, lidar = fusion(), normal(2, 6, 3, 4), normal(2, 6, 3, 4, seed=1)

    def pointwise(layers: nn.Module, x: Tensor) -> Tensor:
        for layer in layers.children():
            assert isinstance(layer, nn.Conv2d)
            x = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], x)
            assert layer.bias is not None
            x = x + layer.bias.view(-1, 1, 1)
        return x

    high = pointwise(fused.bottleneck_hsi, hsi)
    low = pointwise(fused.bottleneck_lidar, lidar)
    expected = 2.0 * low
    for part, padding in ((fused.column, (1, 0)), (fused.row, (0, 1))):
        scores = functional.conv2d(
            low, part.weight.unflatten(2, part.kernel), part.bias, padding=padding
        )
        expected = expected + high / (1.0 + torch.exp(-scores))
    assert torch.allclose(fused(hsi, lidar), expected, atol=1e-10)


def test_the_gates_come_from_the_lidar_and_act_on_the_hsi() -> None:
    fused, hsi, lidar = fusion(), normal(1, 6, 3, 3), normal(1, 6, 3, 3, seed=1)
    slope = fused(2.0 * hsi, lidar) - fused(hsi, lidar)
    again = fused(3.0 * hsi, lidar) - fused(2.0 * hsi, lidar)
    assert torch.allclose(slope, again, atol=1e-10)  # affine in the HSI
    lidar_slope = fused(hsi, 2.0 * lidar) - fused(hsi, lidar)
    lidar_again = fused(hsi, 3.0 * lidar) - fused(hsi, 2.0 * lidar)
    assert not torch.allclose(lidar_slope, lidar_again, atol=1e-4)  # not in the LiDAR


def head() -> PairedHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PairedHead(5, 3, 8, 4).double()


def test_each_single_output_needs_its_own_modality_only() -> None:
    scores, hsi, lidar = head(), normal(1, 5, 2, 3), normal(1, 3, 2, 3, seed=1)
    before = scores(hsi, lidar)
    other_lidar, other_hsi = scores(hsi, lidar + 1.0), scores(hsi + 1.0, lidar)
    assert before.fused.shape == before.hsi.shape == before.lidar.shape == (1, 4, 2, 3)
    assert torch.equal(before.hsi, other_lidar.hsi)
    assert torch.equal(before.lidar, other_hsi.lidar)
    assert not torch.allclose(before.fused, other_hsi.fused)
    assert not torch.allclose(before.fused, other_lidar.fused)


def test_the_loss_is_the_sum_of_its_four_terms_over_labelled_pixels() -> None:
    scores = head()
    outputs = Outputs(*(normal(2, 4, 1, 2, seed=k) for k in range(3)))
    label = torch.tensor([[[2, 0]], [[4, 1]]])
    places = [(0, 0, 0, 2), (1, 0, 0, 4), (1, 0, 1, 1)]
    fit, agree = 0.0, 0.0
    for b, r, c, k in places:
        one, two, three = (o[b, :, r, c] for o in outputs)
        fit += (torch.logsumexp(one, 0) - one[k - 1]).item() / 3
        agree += ((two - one).square().mean() + (three - one).square().mean()).item() / 3
    norms = sum(
        math.sqrt(parameter.square().sum().item())
        for name, parameter in scores.named_parameters()
        if not name.endswith("bias")
    )
    found = paired_loss(scores, outputs, label).item()
    assert found == pytest.approx(fit + agree + 0.01 * norms, rel=1e-12)
    assert norms > 1.0


def test_the_weight_penalty_is_real_and_has_a_finite_gradient_at_zero_weights() -> None:
    scores = head()
    weight_norms(scores).backward()
    for name, parameter in scores.named_parameters():
        if name.endswith("bias"):
            assert parameter.grad is None
            continue
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        if ".offset." not in name:  # zero at first, where the norm's subgradient is zero
            unit = parameter / torch.linalg.vector_norm(parameter)
            assert torch.allclose(parameter.grad, unit, atol=1e-12)


def test_without_a_labelled_pixel_only_the_penalty_is_left() -> None:
    scores = head()
    outputs = scores(normal(1, 5, 2, 2), normal(1, 3, 2, 2))
    loss = paired_loss(scores, outputs, torch.zeros(1, 2, 2, dtype=torch.long))
    assert loss.item() == pytest.approx(0.01 * weight_norms(scores).item())


def test_the_head_learns_a_rule_that_needs_both_modalities() -> None:
    """Two signs, one a modality, make four classes: each alone can tell two pairs apart."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        scores = PairedHead(2, 2, 16, 4)
    hsi, lidar = (torch.randn((64, 2, 2, 2), generator=seeded(k)).sign() for k in (1, 2))
    label = 1 + 2 * (hsi[:, 0] > 0).long() + (lidar[:, 0] > 0).long()
    optimiser = torch.optim.Adam(scores.parameters(), lr=2e-2)
    for _ in range(120):
        optimiser.zero_grad()
        paired_loss(scores, scores(hsi, lidar), label).backward()
        optimiser.step()
    outputs = scores(hsi, lidar)
    right = [(o.argmax(dim=1) + 1 == label).float().mean().item() for o in outputs]
    assert right[0] > 0.9
    assert max(right[1:]) < 0.7


def test_per_tile_gradients_of_the_head_add_up_to_the_plain_gradient() -> None:
    scores = head()
    with torch.no_grad():
        scores.fusion.column.offset.weight += 0.1
    hsi, lidar = normal(3, 1, 5, 2, 3), normal(3, 1, 3, 2, 3, seed=1)
    label = torch.tensor([[[[1, 0, 2], [3, 4, 0]]], [[[0] * 3] * 2], [[[2] * 3] * 2]])

    def loss(call: Call, hsi: Tensor, lidar: Tensor, label: Tensor) -> Tensor:
        return paired_loss(None, Outputs(*call(hsi, lidar)), label)

    total = clipped_gradient_sum(scores, loss, (hsi, lidar, label), clip=1e9)
    for i in range(3):
        paired_loss(None, scores(hsi[i], lidar[i]), label[i]).backward()
    plain = torch.cat([p.grad.flatten() for p in scores.parameters() if p.grad is not None])
    assert torch.allclose(total, plain, atol=1e-9)


def test_the_fusion_does_not_mix_tiles() -> None:
    scores, hsi, lidar = head(), normal(3, 5, 2, 2), normal(3, 3, 2, 2, seed=1)
    with torch.no_grad():
        scores.fusion.row.offset.weight += 0.1
    other = lidar.clone()
    other[1] += 1.0
    before, after = scores(hsi, lidar).fused, scores(hsi, other).fused
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True, False, True]
