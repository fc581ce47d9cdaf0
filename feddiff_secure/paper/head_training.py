"""Federated training of the fusion head: every owner on its own and its partner's features.

The two owners of one ground hold a modality each. Either trains on its own exact features and on
the rank-k ones its partner sent; after every round all heads are averaged, in proportion to
labelled pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from feddiff_secure.model.gated_fusion import paired_loss
from feddiff_secure.paper.averaging import synchronise
from feddiff_secure.paper.connected_head import ConnectedHead
from feddiff_secure.paper.schedule import PaperSchedule

RoundLog = Callable[[dict[str, object]], None]


@dataclass(frozen=True, slots=True, eq=False)
class OwnerView:
    """What one owner trains the head on, block by block.

    Attributes:
        hsi: features (T, F, h, w) of each block, exact or received.
        lidar: likewise.
        label: (T, h, w) integers of each block, 0 = unlabelled.
    """

    hsi: Sequence[NDArray[np.float32]]
    lidar: Sequence[NDArray[np.float32]]
    label: Sequence[NDArray[np.int16]]

    @property
    def labelled(self) -> int:
        """Labelled pixels."""
        return int(sum(np.count_nonzero(label) for label in self.label))


def train_head(
    views: Sequence[OwnerView],
    classes: int,
    schedule: PaperSchedule,
    *,
    rounds: int,
    rng: np.random.Generator,
    log: RoundLog,
    advance: Callable[[], None],
) -> ConnectedHead:
    """Train the head for a number of rounds and return the one all owners end with.

    Args:
        views: what each owner trains on.
        classes: K.
        schedule: the constants.
        rounds: averages, each after one pass over an owner's tiles.
        rng: of the start and of the order of tiles.
        log: receives one line a round.
        advance: called once a round.
    """
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**62)))
        start = ConnectedHead(schedule, classes)
    heads = [copy.deepcopy(start) for _ in views]
    optimisers = [torch.optim.Adam(head.parameters(), lr=schedule.head_rate) for head in heads]
    weights = [float(view.labelled) for view in views]
    for done in range(rounds):
        losses = []
        for head, optimiser, view in zip(heads, optimisers, views, strict=True):
            optimiser.param_groups[0]["lr"] = schedule.head_rate * (1.0 - done / rounds)
            losses.append(_pass(head, optimiser, view, schedule, rng))
        synchronise(heads, weights)
        log({"phase": "head", "round": done, "loss": float(np.average(losses, weights=weights))})
        advance()
    return heads[0].eval()


def _pass(
    head: ConnectedHead,
    optimiser: torch.optim.Adam,
    view: OwnerView,
    schedule: PaperSchedule,
    rng: np.random.Generator,
) -> float:
    """One pass over an owner's tiles that have a label; returns the mean loss."""
    losses = []
    for hsi, lidar, label in zip(view.hsi, view.lidar, view.label, strict=True):
        known = np.flatnonzero((label > 0).any(axis=(1, 2)))
        order = rng.permutation(known)
        size = schedule.batch_of(*label.shape[1:])
        for at in range(0, len(order), size):
            rows = order[at : at + size]
            outputs = head(torch.from_numpy(hsi[rows]), torch.from_numpy(lidar[rows]))
            loss = paired_loss(head, outputs, torch.from_numpy(label[rows]))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            losses.append(float(loss.detach()))
    return float(np.mean(losses)) if losses else 0.0
