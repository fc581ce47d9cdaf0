"""Canary tiles: the tiles whose presence the mechanism hides worst.

A canary is an ordinary tile of an owner, given to the real code as features and labels; nothing
of the mechanism is replaced. It is the worst case that (ε, δ) is stated for, because

* its gradient is clipped to norm C in every round: its pixels have one ψ and one label, so
  their gradients add up to several times C;
* its gradient direction is orthogonal to that of every other canary: the gradient of a linear
  head is e ⊗ ψ, and the ψ of different canaries are orthonormal (scaled), so canaries do not hide
  in one another whatever the model has become;
* ψ is short (‖ψ‖ = C), so that the class scores of a canary barely move while it is trained on,
  and its gradient does not fade away as that of a fitted tile does.

ψ is drawn in the space of the communication module, not computed from pixels: the guarantee does
not rest on what ψ can be, so an audit may use all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.clipping import TileExamples, softmax_errors, tile_norms
from feddiff_secure.aggregation.centring import Block, centred, columns_of
from feddiff_secure.errors import UsageError

LEAST_CANARIES = 20
PIXELS = 4  # examples of one canary: with ‖ψ‖ = C the gradient's norm is 4·C·‖e‖ before the clip


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """Canary tiles and their coins.

    Attributes:
        tiles: all m canaries, those that are left out too; tile j is canary j.
        included: (m,), which of them are put into the training data.
    """

    tiles: TileExamples
    included: NDArray[np.bool_]

    @classmethod
    def draw(
        cls,
        count: int,
        *,
        classes: int,
        features: int,
        clip: float,
        rng: np.random.Generator,
        blocks: Sequence[Block] | None = None,
    ) -> Canaries:
        """Random orthonormal directions, labels and fair coins.

        Args:
            count: m, from 20 to D: there are no more orthogonal directions.
            blocks: of the plan; each canary then lies in one block, away from the constants, so
                that centring stretches it and nothing else.
            classes: K.
            features: D.
            clip: C of the plan.
            rng: simulation randomness.

        Raises:
            UsageError: m outside its range.
        """
        rooms = [slice(0, features)]
        if blocks is not None:
            rooms = [at for block, at in columns_of(blocks) if not block.constant]
        most = sum(room.stop - room.start for room in rooms)
        if not LEAST_CANARIES <= count <= most:
            raise UsageError(
                f"canaries is {count}",
                f"give a number from {LEAST_CANARIES} to {most}, the width of psi: canaries "
                "need orthogonal directions",
            )
        directions = _orthonormal(count, features, rooms, rng)
        tile = np.repeat(np.arange(count), PIXELS)
        labels = rng.integers(0, classes, count)[tile]
        tiles = TileExamples.group(directions[tile] * clip, labels, tile)
        return cls(tiles, rng.random(count) < 0.5)

    def joined(self, held: TileExamples) -> TileExamples:
        """An owner's tiles together with the canaries that are in."""
        sizes = np.diff(np.append(held.starts, len(held.labels)))
        chosen = np.repeat(self.included, PIXELS)
        canary = np.repeat(np.arange(len(self.included)), PIXELS) + held.tiles
        return TileExamples.group(
            np.concatenate([held.features, self.tiles.features[chosen]]),
            np.concatenate([held.labels, self.tiles.labels[chosen]]),
            np.concatenate([np.repeat(np.arange(held.tiles), sizes), canary[chosen]]),
        )

    def centred(
        self, centre: NDArray[np.float64] | None, blocks: Sequence[Block] | None
    ) -> Canaries:
        """The canaries as an owner trains on them, once the mean of ψ is released."""
        if centre is None or blocks is None:
            return self
        features = centred(self.tiles.features, centre, blocks)
        return replace(self, tiles=self.tiles.with_features(features))

    def project(
        self, weights: NDArray[np.float64], clip: float, released: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How much of every canary's clipped gradient is in a released sum.

        Args:
            weights: the model the gradients are taken at, (K, D).
            clip: C.
            released: the sum, in units of the gradient, (K, D).

        Returns:
            The inner products with the clipped gradients, and the squared norms of those, (m,).
        """
        errors = softmax_errors(self.tiles, weights)
        norms = tile_norms(self.tiles, errors)
        factor = np.minimum(1.0, clip / np.maximum(norms, 1e-300))
        products = np.einsum("nk,nk->n", errors, self.tiles.features @ released.T)
        inner = np.add.reduceat(products, self.tiles.starts)
        return factor * inner, np.square(factor * norms)


def _orthonormal(
    count: int, features: int, rooms: Sequence[slice], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Orthonormal rows (count, D), each in one of the ranges of columns, shared out in turn."""
    found = np.zeros((count, features))
    free = [room.stop - room.start for room in rooms]
    given = [0] * len(rooms)
    for _ in range(count):
        emptiest = min(range(len(rooms)), key=lambda r: given[r] / free[r])
        given[emptiest] += 1
    row = 0
    for room, size, many in zip(rooms, free, given, strict=True):
        directions, _ = np.linalg.qr(rng.standard_normal((size, many)))
        found[row : row + many, room] = directions.T
        row += many
    return found
