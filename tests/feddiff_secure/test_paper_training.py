"""The networks of the paper profile: what they start as, what they read, that they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.scene import Dataset
from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.federation.prepare import tile_side
from feddiff_secure.federation.progress import Silent
from feddiff_secure.model.diffusion import noised
from feddiff_secure.model.gated_fusion import paired_loss
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.paper import paper_run
from feddiff_secure.paper.branch_training import branch_config, train_branches
from feddiff_secure.paper.connected_head import ConnectedHead
from feddiff_secure.paper.encoder_features import block_features, tile_features
from feddiff_secure.paper.head_training import OwnerView, train_head
from feddiff_secure.paper.schedule import REDUCED, PaperSchedule

SMALL = PaperSchedule(
    widths=(8, 16), branch_rounds=2, branch_steps=5, batch=16, timesteps=(5, 50), head_width=8
)


def values(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def head() -> ConnectedHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConnectedHead(SMALL, 3)


def test_bilateral_connections_start_as_nothing_and_join_the_same_timestep_only() -> None:
    made = head()
    hsi = torch.from_numpy(values(2, SMALL.features, 3, 3))
    lidar = torch.from_numpy(values(2, SMALL.features, 3, 3, seed=1))
    plain = made.paired(made.norm_hsi(hsi), made.norm_lidar(lidar))
    for one, two in zip(plain, made(hsi, lidar), strict=True):
        assert torch.equal(one, two)
    first = next(iter(made.to_hsi))
    torch.nn.init.ones_(first.weight)
    found: list[torch.Tensor] = []
    made.paired.enter_hsi.register_forward_pre_hook(lambda _m, given: found.append(given[0]))
    made(hsi, lidar)
    joined, alone = found  # the fused path, then HSI alone
    half = SMALL.features // 2
    assert not torch.equal(joined[:, :half], alone[:, :half])
    assert torch.equal(joined[:, half:], alone[:, half:])
    step = made.norm_lidar(lidar)[:, :half]  # LiDAR's features of the same timestep
    torch.testing.assert_close(joined[:, :half], alone[:, :half] + first(step))


def test_the_outputs_of_one_modality_do_not_see_the_other() -> None:
    made = head()
    for module in (*made.to_hsi, *made.to_lidar):
        torch.nn.init.normal_(module.weight)
    hsi = torch.from_numpy(values(2, SMALL.features, 2, 2))
    one = made(hsi, torch.from_numpy(values(2, SMALL.features, 2, 2, seed=1)))
    two = made(hsi, torch.from_numpy(values(2, SMALL.features, 2, 2, seed=2)))
    assert torch.equal(one.hsi, two.hsi)
    assert not torch.equal(one.fused, two.fused)
    assert torch.equal(one.hsi, made.alone(hsi, None))


def test_the_weight_penalty_is_part_of_the_loss_that_is_trained() -> None:
    made = head()
    outputs = made(*(torch.zeros(1, SMALL.features, 1, 1) for _ in range(2)))
    label = torch.ones(1, 1, 1, dtype=torch.int16)
    assert paired_loss(made, outputs, label) > paired_loss(None, outputs, label) + 0.01


def test_the_branch_has_the_published_parts() -> None:
    config = branch_config(144, REDUCED)
    assert (config.axes, config.in_channels, config.out_channels) == (2, 144, 144)
    assert config.token_interaction
    assert config.frequency_parser
    assert REDUCED.rank * 4 == REDUCED.features


def test_branches_learn_the_noise_from_owners_that_hold_different_tiles() -> None:
    ramp = np.linspace(-1, 1, 6, dtype="f4")[None, :, None, None]
    owners = [[ramp * sign + 0.05 * values(40, 6, 2, 2, seed=k)] for k, sign in ((0, 1), (1, -1))]
    schedule = PaperSchedule(
        widths=(48,), branch_rounds=3, branch_steps=40, branch_rate=1e-2, batch=1
    )
    branch = train_branches(owners, schedule, rng=np.random.default_rng(0), advance=lambda: None)
    t = torch.full((40,), 400)
    for (block,) in owners:  # the one branch serves both
        noise = torch.from_numpy(values(40, 6, 2, 2, seed=9))
        with torch.inference_mode():
            guess = branch(noised(linear_schedule(), torch.from_numpy(block), noise, t), t)
        error = float((guess - noise).abs().mean())
        assert error < 0.6  # nothing learnt: E|N(0, 1)| = 0.80


def test_a_tiles_features_depend_on_that_tile_alone() -> None:
    blocks = [values(5, 6, 4, 4)]
    branch = train_branches([blocks], SMALL, rng=np.random.default_rng(0), advance=lambda: None)
    whole = block_features(branch, blocks, SMALL)[0]
    changed = [np.concatenate([blocks[0][:1], 9 * blocks[0][1:]])]
    np.testing.assert_array_equal(whole[0], block_features(branch, changed, SMALL)[0][0])
    again = tile_features(branch, torch.from_numpy(blocks[0]), SMALL)
    np.testing.assert_allclose(again.detach().numpy(), whole, atol=1e-5)
    assert whole.shape == (5, SMALL.features, 4, 4)


def test_the_head_learns_what_neither_modality_shows_alone() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (2, 200))
    label = (1 + (bits[0] ^ bits[1])).astype("i2")[:, None, None]
    maps = [values(200, SMALL.features, 1, 1, seed=k) * 0.3 for k in (1, 2)]
    for features, bit in zip(maps, bits, strict=True):
        features[:, ::2] += (2 * bit - 1)[:, None, None, None]
    view = OwnerView([maps[0]], [maps[1]], [label])
    losses: list[float] = []
    made = train_head(
        [view, view],
        2,
        PaperSchedule(widths=(8, 16), timesteps=(5, 50), head_width=16, head_rate=1e-2),
        rounds=40,
        rng=np.random.default_rng(0),
        log=lambda line: losses.append(float(str(line["loss"]))),
        advance=lambda: None,
    )
    with torch.inference_mode():
        scores = made(torch.from_numpy(maps[0]), torch.from_numpy(maps[1])).fused
    assert losses[-1] < losses[0]
    assert (scores.argmax(dim=1).numpy() + 1 == label).mean() > 0.9


@pytest.fixture(scope="module")
def scene_run() -> tuple[paper_run.PaperResult, list[OwnerView]]:
    """A run on the simulated scene with a small schedule, and what owners trained the head on."""
    seen: list[OwnerView] = []
    real = train_head

    def watching(views: list[OwnerView], *args: Any, **kwargs: Any) -> ConnectedHead:
        seen.extend(views)
        return real(views, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper_run, "train_head", watching)
        config = RunConfig(**with_profile_defaults({"profile": "paper", "rounds": 2}))
        result = paper_run.run_paper(
            config, log=lambda _line: None, progress=Silent(), schedule=SMALL
        )
    return result, seen


def test_owners_train_on_the_factors_they_received_and_on_their_own_features(
    scene_run: tuple[paper_run.PaperResult, list[OwnerView]],
) -> None:
    result, views = scene_run
    first, second = result.prepared.names[:2]
    for view, held, sent, own in ((views[0], "hsi", second, 0), (views[1], "lidar", first, 1)):
        other = "lidar" if held == "hsi" else "hsi"
        exact = result.model.features(result.prepared.owners[own], held)
        np.testing.assert_allclose(getattr(view, held)[0], exact[0], atol=1e-5)
        received = result.exchanged.of(sent)
        assert received.modality == other
        rows = getattr(view, other)[0].transpose(0, 2, 3, 1).reshape(-1, SMALL.features)
        np.testing.assert_array_equal(rows, received.factors.features())
    np.testing.assert_array_equal(views[0].label[0], views[1].label[0])


def test_eight_owners_hold_label_skewed_parts_of_one_sensor_each(
    scene_run: tuple[paper_run.PaperResult, list[OwnerView]],
) -> None:
    prepared = scene_run[0].prepared
    assert [tiles.layout.names[0] for tiles in prepared.owners] == ["hsi", "lidar"] * 4
    assert prepared.tile == 8
    shares = []
    for tiles in prepared.owners[::2]:
        counts = tiles.units.class_counts.sum(axis=0)
        shares.append(counts / counts.sum())
    apart = [np.abs(a - b).sum() / 2 for a in shares for b in shares]
    assert max(apart) > 0.3


def test_a_run_is_the_same_again_from_its_seed(
    scene_run: tuple[paper_run.PaperResult, list[OwnerView]],
) -> None:
    first = scene_run[0]
    again = paper_run.run_paper(
        first.config, log=lambda _line: None, progress=Silent(), schedule=SMALL
    )
    for one, two in zip(first.exchanged.owners, again.exchanged.owners, strict=True):
        np.testing.assert_array_equal(one.factors.left, two.factors.left)
    np.testing.assert_array_equal(first.test_predicted, again.test_predicted)


def test_rasters_are_cut_into_the_published_patches_unless_a_tile_is_given() -> None:
    data = Dataset(scenes=(simulated_scene(0, side=32),))
    paper = RunConfig(**with_profile_defaults({"profile": "paper"}))
    given = RunConfig(**with_profile_defaults({"profile": "paper", "tile": 5}))
    assert [tile_side(c, data) for c in (paper, given, RunConfig())] == [8, 5, 4]
