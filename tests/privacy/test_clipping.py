"""One tile moves the sum by at most C, whatever it holds; the gradient is the right one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.clipping import TileExamples, clipped_sum, softmax_errors, tile_norms
from feddiff_privacy.errors import MechanismError


def problem(
    seed: int, tiles: int, most: int, classes: int = 4, width: int = 6
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels, tile ids and weights with tiles of 1 to `most` examples."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, tiles)
    tile = np.repeat(rng.permutation(1000)[:tiles], sizes)
    order = rng.permutation(len(tile))
    n = len(tile)
    return (
        rng.standard_normal((n, width)) * rng.choice([0.1, 1.0, 30.0], (n, 1)),
        rng.integers(0, classes, n),
        tile[order],
        rng.standard_normal((classes, width)),
    )


def reference(
    x: np.ndarray, y: np.ndarray, tile: np.ndarray, w: np.ndarray, clip: float
) -> np.ndarray:
    """Autograd on each tile's summed loss, clipped, summed: no shared code."""
    total = torch.zeros(w.shape, dtype=torch.float64)
    for one in np.unique(tile):
        weights = torch.tensor(w, requires_grad=True)
        inside = torch.tensor(x[tile == one]), torch.tensor(y[tile == one])
        loss = torch.nn.functional.cross_entropy(inside[0] @ weights.T, inside[1], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, weights)
        total += gradient * min(1.0, clip / float(gradient.norm()))
    return total.numpy()


@given(
    st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 6), st.sampled_from([0.05, 1.0, 50.0])
)
@settings(max_examples=30, deadline=None)
def test_the_sum_is_that_of_autograd(seed: int, tiles: int, most: int, clip: float) -> None:
    x, y, tile, w = problem(seed, tiles, most)
    examples = TileExamples.group(x, y, tile)
    got = clipped_sum(examples, w, clip, np.ones(examples.tiles, dtype=bool))
    np.testing.assert_allclose(got, reference(x, y, tile, w, clip), rtol=1e-9, atol=1e-9)


@given(
    st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 16), st.sampled_from([0.05, 0.3, 5.0])
)
@settings(max_examples=40, deadline=None)
def test_adding_a_tile_moves_the_sum_by_at_most_the_clip(
    seed: int, tiles: int, most: int, clip: float
) -> None:
    x, y, tile, w = problem(seed, tiles, most)
    gone = tile == tile[0]
    whole = TileExamples.group(x, y, tile)
    less = TileExamples.group(x[~gone], y[~gone], tile[~gone])
    moved = clipped_sum(whole, w, clip, np.ones(whole.tiles, dtype=bool)) - clipped_sum(
        less, w, clip, np.ones(less.tiles, dtype=bool)
    )
    assert np.linalg.norm(moved) <= clip * (1 + 1e-9)


def test_a_tile_full_of_aligned_examples_is_clipped_as_one() -> None:
    """Clipping each example instead would let 16 equal ones through at 16·C."""
    x = np.ones((16, 5))
    y = np.zeros(16, dtype=np.int64)
    examples = TileExamples.group(x, y, np.zeros(16, dtype=np.int64))
    got = clipped_sum(examples, np.zeros((3, 5)), 0.3, np.ones(1, dtype=bool))
    assert np.linalg.norm(got) == pytest.approx(0.3, rel=1e-9)


def test_the_norms_without_gradients_are_those_of_the_gradients() -> None:
    x, y, tile, w = problem(5, 9, 7)
    examples = TileExamples.group(x, y, tile)
    errors = softmax_errors(examples, w)
    ends = np.append(examples.starts[1:], len(examples.labels))
    direct = [
        np.linalg.norm(errors[a:b].T @ examples.features[a:b])
        for a, b in zip(examples.starts, ends, strict=True)
    ]
    np.testing.assert_allclose(tile_norms(examples, errors), direct, rtol=1e-10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_tile_that_is_not_finite_counts_as_zero_and_spoils_nothing(bad: float) -> None:
    x, y, tile, w = problem(3, 6, 3)
    spoiled = tile == tile[0]
    clean = TileExamples.group(x[~spoiled], y[~spoiled], tile[~spoiled])
    expected = clipped_sum(clean, w, 0.3, np.ones(clean.tiles, dtype=bool))
    x[np.flatnonzero(spoiled)[0], 0] = bad
    with np.errstate(over="ignore", invalid="ignore"):
        examples = TileExamples.group(x, y, tile)
        got = clipped_sum(examples, w, 0.3, np.ones(examples.tiles, dtype=bool))
    assert np.isfinite(got).all()
    assert np.linalg.norm(got - expected) <= 0.3 * (1 + 1e-9)
    if not np.isfinite(bad):
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_tiles_that_are_not_sampled_add_nothing() -> None:
    x, y, tile, w = problem(4, 8, 4)
    examples = TileExamples.group(x, y, tile)
    none = clipped_sum(examples, w, 0.3, np.zeros(examples.tiles, dtype=bool))
    assert not none.any()
    chosen = np.arange(examples.tiles) % 2 == 0
    parts = clipped_sum(examples, w, 0.3, chosen) + clipped_sum(examples, w, 0.3, ~chosen)
    whole = clipped_sum(examples, w, 0.3, np.ones(examples.tiles, dtype=bool))
    np.testing.assert_allclose(parts, whole, atol=1e-12)


def test_an_owner_without_examples_contributes_zero() -> None:
    empty = np.zeros(0, dtype=np.int64)
    examples = TileExamples.group(np.zeros((0, 6)), empty, empty)
    assert not clipped_sum(examples, np.ones((4, 6)), 0.3, np.zeros(0, dtype=bool)).any()


@pytest.mark.parametrize("clip", [0.0, -1.0, np.nan, np.inf])
def test_a_clip_that_does_not_bound_is_refused(clip: float) -> None:
    x, y, tile, w = problem(1, 2, 2)
    with pytest.raises(MechanismError):
        clipped_sum(TileExamples.group(x, y, tile), w, clip, np.ones(2, dtype=bool))
