"""The parts a branch may gain: token interaction, frequency parser, class embedding."""

from __future__ import annotations

import cmath
import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from feddiff_privacy.dpsgd import Call, clipped_gradient_sum
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.model.attention import SelfAttention, TokenInteraction
from feddiff_secure.model.branch_config import PRIOR_BRANCHES, BranchConfig
from feddiff_secure.model.frequency_parser import KNOTS, FrequencyParser
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.unet import UNet

SPECTRAL = BranchConfig(axes=1, in_channels=3, out_channels=1, patch=4, widths=(8, 16), heads=2)
SPATIAL = BranchConfig(axes=2, in_channels=2, out_channels=2, patch=1, widths=(8, 16), heads=2)
PARTS = {"token_interaction": True, "frequency_parser": True, "classes": 3}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter drawn anew, so that no part is the no-op it starts as."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=seeded(seed)))
    return module


def branch(config: BranchConfig, seed: int = 0) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(config)


# ---------------------------------------------------------------------------- frequency parser


def interpolated(knots: Tensor, first: float, frequency: float) -> tuple[list[int], list[float]]:
    """Knots around a frequency and their weights, by the definition of linear interpolation."""
    at = (frequency - first) / (0.5 - first) * (len(knots) - 1)
    low = min(math.floor(at), len(knots) - 2)
    return [low, low + 1], [1.0 - (at - low), at - low]


def direct_parse(x: Tensor, parser: FrequencyParser) -> Tensor:
    """The parser of one sample (C, h, w) by sums of complex exponentials, nothing else."""
    channels, rows, cols = x.shape
    spatial = parser.transfer.dim() == 4
    transfer = parser.transfer.tolist()
    mixing = [[complex(*pair) for pair in row] for row in parser.mixing.tolist()]

    def gain(c: int, k1: int, k2: int) -> complex:
        fine = interpolated(torch.zeros(KNOTS), 0.0, k2 / cols)
        if not spatial:
            return sum(w * complex(*transfer[c][k]) for k, w in zip(*fine, strict=True))
        signed = k1 / rows if k1 < (rows + 1) // 2 else k1 / rows - 1.0
        coarse = interpolated(torch.zeros(2 * KNOTS - 1), -0.5, signed)
        return sum(
            u * w * complex(*transfer[c][j][k])
            for j, u in zip(*coarse, strict=True)
            for k, w in zip(*fine, strict=True)
        )

    def wave(k1: int, k2: int, r: int, s: int, sign: int) -> complex:
        return cmath.exp(sign * 2j * math.pi * (k1 * r / rows + k2 * s / cols))

    half = range(cols // 2 + 1)
    out = torch.zeros_like(x)
    for k1 in range(rows):
        for k2 in half:
            spectrum = [
                sum(
                    x[c, r, s].item() * wave(k1, k2, r, s, -1)
                    for r in range(rows)
                    for s in range(cols)
                )
                for c in range(channels)
            ]
            own = k2 == 0 or 2 * k2 == cols  # its mirror image lies in the same column
            for c in range(channels):
                parsed = gain(c, k1, k2) * sum(
                    m * f for m, f in zip(mixing[c], spectrum, strict=True)
                )
                for r in range(rows):
                    for s in range(cols):
                        term = (parsed * wave(k1, k2, r, s, 1)).real / (rows * cols)
                        out[c, r, s] += term if own else 2.0 * term
    return out


@pytest.mark.parametrize("sides", [(1, 1), (1, 2), (2, 1), (3, 4), (4, 3), (5, 5)])
def test_the_parser_equals_a_direct_complex_transform_over_tiles(sides: tuple[int, int]) -> None:
    parser = randomised(FrequencyParser(2, 8)).double()
    assert isinstance(parser, FrequencyParser)
    x = torch.randn((1, 8, *sides), generator=seeded(1), dtype=torch.float64)
    assert torch.allclose(parser.parse(x)[0], direct_parse(x[0], parser), atol=1e-10)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 24])
def test_the_parser_equals_a_direct_complex_transform_along_the_spectrum(length: int) -> None:
    parser = randomised(FrequencyParser(1, 8)).double()
    assert isinstance(parser, FrequencyParser)
    x = torch.randn((1, 8, length), generator=seeded(2), dtype=torch.float64)
    expected = direct_parse(x[0, :, None], parser)[:, 0]
    assert torch.allclose(parser.parse(x)[0], expected, atol=1e-10)


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("part", [0, 1])
def test_real_and_imaginary_part_of_the_parser_both_count(axes: int, part: int) -> None:
    parser = randomised(FrequencyParser(axes, 8))
    assert isinstance(parser, FrequencyParser)
    x = torch.randn((1, 8, *(6,) * axes), generator=seeded(3))
    for parameter in (parser.mixing, parser.transfer):
        before = parser.parse(x)
        with torch.no_grad():
            parameter[..., part] += 0.1
        assert not torch.allclose(parser.parse(x), before, atol=1e-3)


def test_a_quarter_turn_of_every_phase_makes_a_sine_of_a_cosine() -> None:
    parser = FrequencyParser(1, 8)
    with torch.no_grad():
        parser.mixing[:, :, 1] = -torch.eye(8)  # W = −i: the Hilbert transform
    at = 2.0 * math.pi * 3.0 * torch.arange(32) / 32.0
    turned = parser.parse(at.cos().expand(1, 8, 32))
    assert torch.allclose(turned, at.sin().expand(1, 8, 32), atol=1e-5)


# -------------------------------------------------------------------------- token interaction


def test_attention_scores_use_the_interacted_keys() -> None:
    attention = randomised(SelfAttention(2, 8, 2, token_interaction=True)).double()
    assert isinstance(attention, SelfAttention)
    assert attention.interaction is not None
    x = torch.randn((1, 8, 3, 2), generator=seeded(4), dtype=torch.float64)
    # Heads interleave: head h owns rows 12h…12h+11 of the projection, q then k then v.
    projected = attention.qkv(attention.norm(x)).reshape(2, 3, 4, 3, 2)
    keys = projected[:, 1].reshape(1, 8, 3, 2)
    weight = attention.interaction.neighbours.weight
    moved = keys.clone()
    for r in range(3):
        for s in range(2):
            for i in range(3):
                for j in range(3):
                    near = keys[0, :, min(max(r + i - 1, 0), 2), min(max(s + j - 1, 0), 1)]
                    moved[0, :, r, s] += weight[:, 0, i, j] * near
    mixed = []
    for head in range(2):
        q, v = projected[head, 0].flatten(1), projected[head, 2].flatten(1)
        k = moved.reshape(2, 4, 6)[head]
        scores = torch.softmax(q.T @ k / 2.0, dim=1)
        mixed.append(v @ scores.T)
    expected = x + attention.out(torch.cat(mixed).reshape(1, 8, 3, 2))
    assert torch.allclose(attention(x), expected, atol=1e-12)


def test_interaction_reaches_neighbours_and_no_further() -> None:
    interaction = randomised(TokenInteraction(1, 8))
    x = torch.randn((1, 8, 9), generator=seeded(5))
    other = x.clone()
    other[0, :, 4] += 1.0
    changed = (interaction(x) != interaction(other)).any(dim=1)[0]
    assert changed.tolist() == [3 <= i <= 5 for i in range(9)]


# ------------------------------------------------------------------------------------ branches


@pytest.mark.parametrize("modality", ["hsi", "lidar"])
def test_a_shipped_branch_that_gains_every_part_computes_what_it_did(modality: str) -> None:
    plain = load_prior(modality).branch
    grown = branch(dataclasses.replace(plain.config, **PARTS))
    missing = grown.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    x = torch.randn((2, plain.config.in_channels, *(8,) * plain.config.axes), generator=seeded(6))
    t, label = torch.tensor([3, 400]), torch.tensor([1, 0])
    with torch.no_grad():
        assert torch.equal(grown(x, t, label), plain(x, t))


@settings(max_examples=12)
@given(height=st.integers(1, 9), width=st.integers(1, 9), points=st.sampled_from([4, 8, 96, 128]))
def test_a_branch_with_every_part_keeps_any_shape(height: int, width: int, points: int) -> None:
    spatial = randomised(branch(dataclasses.replace(SPATIAL, **PARTS)))
    spectral = randomised(branch(dataclasses.replace(SPECTRAL, **PARTS)))
    t, label = torch.tensor([1, 500]), torch.tensor([0, 3])
    tile, spectrum = torch.ones(2, 2, height, width), torch.ones(2, 3, points)
    with torch.no_grad():
        assert spatial(tile, t, label).shape == tile.shape
        assert spectral(spectrum, t, label).shape == (2, 1, points)


@pytest.mark.parametrize("part", sorted(PARTS))
@pytest.mark.parametrize("config", [SPECTRAL, SPATIAL])
def test_every_part_learns(config: BranchConfig, part: str) -> None:
    grown = branch(dataclasses.replace(config, **{part: PARTS[part]}))
    plain = {name for name, _ in branch(config).named_parameters()}
    x = torch.randn((2, config.in_channels, *(32, 8)[: config.axes]), generator=seeded(7))
    label = torch.tensor([1, 2]) if part == "classes" else None
    grown(x, torch.tensor([3, 400]), label).square().sum().backward()
    # W = 0 hides G from the gradient at first; W itself is never hidden.
    added = {n: p for n, p in grown.named_parameters() if n not in plain}
    moved = [n for n, p in added.items() if p.grad is not None and p.grad.abs().max() > 0]
    expected = {"classes": "label", "frequency_parser": "mixing", "token_interaction": "neighbours"}
    assert any(expected[part] in name for name in moved)


@pytest.mark.parametrize("level", [0, 1])
def test_there_is_a_parser_behind_every_encoder_block(level: int) -> None:
    grown = branch(dataclasses.replace(SPATIAL, frequency_parser=True))
    x, t = torch.randn((2, 2, 4, 4), generator=seeded(11)), torch.tensor([3, 400])
    time = grown.embed(t)
    with torch.no_grad():
        before = grown(x, t)
        plain = grown.encode(x, time)
        randomised(grown.parsers[level])
        assert not torch.allclose(grown(x, t), before, atol=1e-4)
        parsed = grown.encode(x, time)
    # The skip of its own level is taken before the parser; all that is coarser comes after it.
    assert torch.equal(parsed[0], plain[0])
    assert not torch.allclose(parsed[1], plain[1], atol=1e-4)


def test_parts_do_not_mix_the_samples_of_a_batch() -> None:
    grown = randomised(branch(dataclasses.replace(SPATIAL, **PARTS)))
    x = torch.randn((3, 2, 5, 4), generator=seeded(8))
    other = x.clone()
    other[1] += 1.0
    t, label = torch.tensor([5, 50, 500]), torch.tensor([0, 1, 2])
    with torch.no_grad():
        before, after = grown(x, t, label), grown(other, t, label)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_no_class_is_exactly_the_unconditioned_branch_and_stays_so() -> None:
    grown = branch(dataclasses.replace(SPECTRAL, classes=3))
    x, t = torch.randn((2, 3, 16), generator=seeded(9)), torch.tensor([3, 400])
    optimiser = torch.optim.Adam(grown.parameters(), lr=1e-2)
    for label in (torch.tensor([1, 0]), torch.tensor([0, 3])):
        optimiser.zero_grad()
        grown(x, t, label).square().sum().backward()
        optimiser.step()
    with torch.no_grad():
        assert torch.equal(grown(x, t, torch.tensor([0, 0])), grown(x, t))
        assert not torch.equal(grown(x, t, torch.tensor([1, 3])), grown(x, t))


def test_a_label_for_a_branch_without_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="knows no classes"):
        branch(SPECTRAL)(torch.zeros(1, 3, 8), torch.tensor([1]), torch.tensor([1]))


def test_per_tile_gradients_of_every_part_add_up_to_the_plain_gradient() -> None:
    """What a federated DP adaptation of parsers or class embeddings needs."""
    grown = randomised(branch(dataclasses.replace(SPATIAL, **PARTS)))
    x = torch.randn((3, 1, 2, 4, 4), generator=seeded(10))
    t, label = torch.tensor([[5], [50], [500]]), torch.tensor([[0], [1], [2]])

    def loss(call: Call, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return call(x, t, label).square().mean()

    total = clipped_gradient_sum(grown, loss, (x, t, label), clip=1e9)
    for i in range(3):
        grown(x[i], t[i], label[i]).square().mean().backward()
    plain = torch.cat([p.grad.flatten() for p in grown.parameters() if p.grad is not None]).double()
    assert torch.allclose(total, plain, rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------------------------- the config


def test_an_old_config_is_canonical_and_has_none_of_the_parts() -> None:
    text = '{"axes":1,"heads":4,"in_channels":3,"out_channels":1,"patch":4,"widths":[48,64,96]}'
    assert BranchConfig.from_json(text) == PRIOR_BRANCHES["hsi"]
    assert PRIOR_BRANCHES["hsi"].to_json() == text


@settings(max_examples=20)
@given(interaction=st.booleans(), parser=st.booleans(), classes=st.sampled_from([0, 1, 12, 255]))
def test_a_config_with_parts_reads_back(interaction: bool, parser: bool, classes: int) -> None:
    config = dataclasses.replace(
        SPATIAL, token_interaction=interaction, frequency_parser=parser, classes=classes
    )
    assert BranchConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "added",
    [
        '"token_interaction":false',
        '"token_interaction":1',
        '"frequency_parser":"yes"',
        '"classes":0',
        '"classes":256',
        '"classes":true',
        '"classes":1.0',
        '"dropout":1',
    ],
)
def test_a_part_that_is_absent_wrong_or_unknown_is_refused(added: str) -> None:
    fields = sorted([*SPATIAL.to_json()[1:-1].replace("[8,16]", "[8;16]").split(","), added])
    text = "{" + ",".join(fields).replace(";", ",") + "}"
    with pytest.raises(DataError, match="branch config"):
        BranchConfig.from_json(text)
