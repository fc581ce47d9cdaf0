"""From a plan and the sums of its releases to the model: the one derivation that there is.

The coordinator trains with it, a verifier repeats it from the sums it recomputed, and in encrypted
mode, where the coordinator does not see the sums, every owner keeps one: each decrypts the same
sums and applies the same public update rule, so all hold the same weights, and no one sends them.
An owner that missed a sum is out of step: its model hash differs, and it takes no further part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.aggregation.adapting import AdapterState, from_rows, to_rows
from feddiff_secure.aggregation.centring import CENTRE_ROWS, folded, released_centre
from feddiff_secure.aggregation.class_means import released_class_means
from feddiff_secure.aggregation.update import Iterates, UpdateRule
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.context import model_hash
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import check_room
from feddiff_secure.federation.step_size import update_rule

CENTRE = "centre"
CLASS_MEANS = "class_means"
_ADAPTER = ("adapter", "adapter_average")
_ITERATES = ("weights", "previous", "average")


@dataclass(frozen=True, slots=True, eq=False)
class ModelState:
    """A model between two releases, as it is kept on disk.

    Attributes:
        tiles: the public number of tiles; None before it is known, and then there is no array.
        round_index: training rounds done.
        arrays: float64: `weights`, `previous`, `average`, each (K, D), and `centre`, (2, D), once
            the mean is released; `class_means`, (K, D), once they are; where the plan adapts,
            `adapter` and `adapter_average`, (P,).
        prior_rounds: rounds of the adapter done.
    """

    tiles: int | None
    round_index: int
    arrays: Mapping[str, NDArray[np.float64]]
    prior_rounds: int = 0


class LocalModel:
    """Public state that follows from the sums alone.

    Args:
        plan: the accepted plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._origin = np.zeros((plan.classes, plan.features))
        self._iterates: Iterates | None = None
        self._centre: NDArray[np.float64] | None = None
        self._class_means: NDArray[np.float64] | None = None
        self._adapter: AdapterState | None = None
        self.tiles: int | None = None
        """The public number of tiles: nominal, or released by the count."""
        if plan.nominal_tiles is not None:
            self._begin(plan.nominal_tiles)

    @property
    def query(self) -> NDArray[np.float64]:
        """What the next release is computed on, if none of the plan's is left out."""
        return self.query_for("prior" if self._adapts else "train")

    def query_for(self, phase: str) -> NDArray[np.float64]:
        """What the next release, of this phase, is computed on: weights, zeros before training.

        (K, D). Once the mean of ψ is released two more rows follow: its mean and factor
        (`centring`); then the class means, once they are. Where the plan adapts, the last rows are
        the adapter (`adapting.to_rows`): while it is adapted the last iterate, then the released
        one.
        """
        rows = [self._origin if self._iterates is None else self._iterates.query]
        if self._centre is not None:
            rows.append(self._centre)
        if self._class_means is not None:
            rows.append(self._class_means)
        if self._adapter is not None:
            shown = self._adapter.values if phase == "prior" else self._adapter.average
            rows.append(to_rows(shown, self._plan.features))
        return np.concatenate(rows)

    def in_step(self, phase: str, round_index: int) -> bool:
        """Whether this owner has every sum that comes before a release."""
        if self._iterates is None:
            return phase == "count"
        if phase == "prior":
            return self._adapts and self._adapter_rounds == round_index
        if self._adapter is not None and not self._adapter_rounds:
            return False
        if self._awaits_mean:
            return phase == "mean"
        if self._plan.class_share_std is not None and self._class_means is None:
            return phase == "classes"
        return phase == "train" and round_index == self._iterates.round_index

    def apply(self, total: NDArray[np.int64], phase: str) -> None:
        """Take in the decoded sum of a release that was `in_step`.

        Raises:
            UsageError: the released number of tiles does not allow the plan.
        """
        plan = self._plan
        if phase == "count" or self._iterates is None:
            self._begin(released_tiles(plan, total))
        elif phase == "prior":
            assert self._adapter is not None
            assert plan.prior is not None
            noise = plan.total_noise("prior")
            self._adapter = self._adapter.after(total, noise, plan.prior.rounds)
        elif phase == "mean":
            assert plan.blocks is not None
            scale, noise = plan.grid("mean").scale, plan.total_noise("mean")
            self._centre = released_centre(total, plan.blocks, scale, noise)
        elif phase == "classes":
            assert plan.blocks is not None
            scale = plan.grid("classes").scale
            self._class_means = released_class_means(total, plan.blocks, scale)
        else:
            self._iterates.apply(total)

    @property
    def adapter(self) -> NDArray[np.float64] | None:
        """The released adapter of the HSI branch, (P,); None where the plan has none."""
        return None if self._adapter is None else self._adapter.average

    @property
    def _adapter_rounds(self) -> int:
        return 0 if self._adapter is None else self._adapter.rounds

    @property
    def _adapts(self) -> bool:
        """Whether the adapter may change yet: neither is it done, nor is anything after it."""
        prior, iterates = self._plan.prior, self._iterates
        if prior is None or iterates is None:
            return False
        begun = self._centre is not None or iterates.round_index > 0
        return not begun and self._adapter_rounds < prior.rounds

    @property
    def _awaits_mean(self) -> bool:
        return self._plan.blocks is not None and self._centre is None

    @property
    def rule(self) -> UpdateRule:
        """The update constants, once the number of tiles is known.

        Raises:
            RuntimeError: it is not.
        """
        if self._iterates is None:
            raise RuntimeError("update rule before the number of tiles")
        return self._iterates.rule

    def model(self, rounds: int | None = None) -> NDArray[np.float64]:
        """The trained weights on ψ itself, (K, D).

        Args:
            rounds: of training that the run has (`Course.rounds`); None for the plan's.

        Raises:
            RuntimeError: called before the last round.
        """
        if self._iterates is None:
            raise RuntimeError("model before the first round")
        weights = self._iterates.model(rounds)
        if self._plan.blocks is None or self._centre is None:
            return weights
        return folded(weights, self._centre, self._plan.blocks)

    def digest(self) -> bytes | None:
        """SHA-256 of the trained weights; None where a round is missing."""
        iterates = self._iterates
        if iterates is None or iterates.round_index != iterates.rule.rounds:
            return None
        return model_hash(self.model())

    def state(self) -> ModelState:
        """All that the next releases depend on, beside the plan."""
        if self._iterates is None:
            return ModelState(None, 0, {})
        released = {CENTRE: self._centre, CLASS_MEANS: self._class_means}
        means = {name: rows for name, rows in released.items() if rows is not None}
        state = self._adapter
        adapter = {} if state is None else dict(zip(_ADAPTER, state.arrays, strict=True))
        arrays = {**self._iterates.arrays(), **means, **adapter}
        return ModelState(self.tiles, self._iterates.round_index, arrays, self._adapter_rounds)

    @classmethod
    def restored(cls, plan: Plan, state: ModelState) -> LocalModel:
        """The model that `state` was taken of; it goes on bit for bit.

        Raises:
            ValueError: a state that no run of this plan has.
            UsageError: a number of tiles that does not allow the plan.
        """
        model = cls(plan)
        _check_state(plan, state)
        if state.tiles is None:
            return model
        model._begin(state.tiles)
        model._centre = state.arrays.get(CENTRE)
        model._class_means = state.arrays.get(CLASS_MEANS)
        if plan.prior is not None:
            values, average = (state.arrays[name] for name in _ADAPTER)
            model._adapter = AdapterState(state.prior_rounds, values, average)
        rule = update_rule(plan, state.tiles)
        model._iterates = Iterates.restored(rule, state.round_index, state.arrays)
        return model

    def _begin(self, tiles: int) -> None:
        check_room(self._plan, tiles)
        if self._plan.epsilon is not None and self._plan.delta >= 1 / tiles:
            raise UsageError(
                f"delta {self._plan.delta:g} is not below 1/{tiles} (tiles, released privately)",
                f"use a delta well below {1 / tiles:.1g}",
            )
        self.tiles = tiles
        self._iterates = Iterates(update_rule(self._plan, tiles), self._origin)
        if self._plan.prior is not None:
            self._adapter = AdapterState.begun(self._plan.prior.size)


def _check_state(plan: Plan, state: ModelState) -> None:
    """Refuse a state that no run of the plan has; ValueError says why."""
    if not 0 <= state.round_index <= plan.rounds:
        raise ValueError(f"round {state.round_index} of {plan.rounds}")
    if plan.nominal_tiles is not None and state.tiles != plan.nominal_tiles:
        raise ValueError(f"{state.tiles} tiles, the plan has {plan.nominal_tiles}")
    most = 0 if plan.prior is None else plan.prior.rounds
    if not 0 <= state.prior_rounds <= most:
        raise ValueError(f"round {state.prior_rounds} of {most} of the adapter")
    wanted: dict[str, tuple[int, ...]] = {}
    if state.tiles:
        wanted |= dict.fromkeys(_ITERATES, (plan.classes, plan.features))
        wanted |= {} if plan.prior is None else dict.fromkeys(_ADAPTER, (plan.prior.size,))
    if CENTRE in state.arrays and plan.blocks is not None and state.tiles is not None:
        wanted[CENTRE] = (CENTRE_ROWS, plan.features)
        if CLASS_MEANS in state.arrays and plan.class_share_std is not None:
            wanted[CLASS_MEANS] = (plan.classes, plan.features)
    if state.arrays.keys() != wanted.keys():
        raise ValueError(f"arrays {sorted(state.arrays)}, not {sorted(wanted)}")
    if state.round_index and plan.blocks is not None and CENTRE not in wanted:
        raise ValueError("training rounds without the mean that comes before")
    if state.round_index and plan.class_share_std is not None and CLASS_MEANS not in wanted:
        raise ValueError("training rounds without the class means that come before")
    for name, shape in wanted.items():
        array = state.arrays[name]
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not finite float64 {shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What a release is computed on.

    Attributes:
        weights: (K, D). centre: (2, D), once the mean is released. means: of the classes, (K, D),
            once they are. adapter: (P,), in a plan with one, after the count.
    """

    weights: NDArray[np.float64]
    centre: NDArray[np.float64] | None
    means: NDArray[np.float64] | None
    adapter: NDArray[np.float64] | None


def split_query(query: NDArray[np.float64], plan: Plan) -> Query:
    """The parts of what a release after the count is computed on.

    Raises:
        ValueError: the rows of the adapter hold more than it.
    """
    weights, rest = query[: plan.classes], query[plan.classes :]
    adapter = None
    if plan.prior is not None:
        place = len(rest) - plan.adapter_rows
        rest, adapter = rest[:place], from_rows(rest[place:], plan.prior.size)
    centre, means = rest[:CENTRE_ROWS], rest[CENTRE_ROWS:]
    return Query(
        weights,
        centre if len(centre) else None,
        means if len(means) else None,
        adapter,
    )


def released_tiles(plan: Plan, total: NDArray[np.int64]) -> int:
    """The public number of tiles that a decoded count stands for: at least one an owner."""
    return max(len(plan.owners), int(total[0]))
