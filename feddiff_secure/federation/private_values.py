"""What an owner's releases are made of: its private values, before rounding and noise.

Every value is a sum with one term a tile, each of a norm that the plan bounds: a clipped gradient
of the module, a clipped gradient of the adapter, a mean of ψ (in the row of a class, or not), or 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples, clipped_class_sum, clipped_mean_sum, clipped_sum
from feddiff_secure.aggregation.centring import centred
from feddiff_secure.aggregation.class_means import class_scores, with_constants
from feddiff_secure.federation.local_model import Query, split_query
from feddiff_secure.federation.node import RefusalError
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prior_phase import AdaptableTiles

Array = NDArray[np.float64]


class PrivateValues:
    """One owner's data, as its releases read it.

    Args:
        examples: its labelled tiles, under the shipped branches.
        adaptable: all its tiles, for plans that adapt a branch; None where it takes part in none.
    """

    def __init__(self, examples: TileExamples, adaptable: AdaptableTiles | None) -> None:
        self._examples = examples
        self._adaptable = adaptable
        self._centred: tuple[bytes, TileExamples] | None = None
        self._held: NDArray[np.bool_] | None = None

    def check(self, plan: Plan, owner: str) -> None:
        """Refuse a plan that is not of these features.

        Raises:
            RefusalError: another number of columns, values in columns that the owner is said not to
                hold, or an adapter that it has no branch for.
        """
        features = self._examples.features
        if plan.features != features.shape[1]:
            raise RefusalError("features_refused")
        if plan.holdings is not None:
            # The plan may leave this owner without noise in columns that it does not hold.
            self._held = plan.holdings.held(owner)
            if features[:, ~self._held].any():
                raise RefusalError("holds_refused")
        size = None if plan.prior is None else plan.prior.size
        if size is not None and (self._adaptable is None or self._adaptable.size != size):
            raise RefusalError("prior_refused")

    def value(
        self, plan: Plan, release: tuple[str, int], query: Array, random: SecureRandom
    ) -> Array:
        """The private value of a release, computed on what the coordinator shows.

        Args:
            plan: one that `check` let through.
            release: its phase, and its round within it.
            query: weights, centre and adapter (`LocalModel.query_for`).
            random: secure randomness for sampling.

        Raises:
            RefusalError: a query whose adapter is not the plan's.
        """
        phase, round_index = release
        if phase == "count":
            return np.array([float(self._examples.tiles)])
        try:
            shown = split_query(query, plan)
        except ValueError as error:
            raise RefusalError("weights_refused") from error
        if phase == "prior":
            assert self._adaptable is not None
            assert plan.prior is not None
            assert shown.adapter is not None
            return self._adaptable.clipped_gradients(shown.adapter, plan.prior.clip, round_index)
        examples = self._adapted(shown.adapter)
        if phase == "mean":
            return clipped_mean_sum(examples)
        if phase == "classes":
            assert plan.blocks is not None
            assert shown.centre is not None
            features = with_constants(examples.features, shown.centre, plan.blocks)
            return clipped_class_sum(examples.with_features(features), plan.classes).ravel()
        sampled = plan.sampler(phase).draw(examples.tiles, random)
        if shown.centre is not None:
            examples = self._centred_by(plan, examples, shown.centre, shown.adapter)
        besides = None if shown.means is None else self._scores_besides(plan, shown)
        return clipped_sum(examples, shown.weights, plan.clip, sampled, besides).ravel()

    def _scores_besides(self, plan: Plan, shown: Query) -> Array:
        """What the modality that this owner lacks says of each class, (K, K)."""
        assert plan.blocks is not None
        assert shown.means is not None
        assert self._held is not None  # such a plan says who holds what
        noise = plan.total_noise("classes")[: plan.features] / plan.grid("classes").scale
        return class_scores(shown.weights, shown.means, noise, plan.blocks, self._held)

    def _adapted(self, adapter: Array | None) -> TileExamples:
        if adapter is None or self._adaptable is None:
            return self._examples
        return self._adaptable.examples(adapter)

    def _centred_by(
        self, plan: Plan, examples: TileExamples, centre: Array, adapter: Array | None
    ) -> TileExamples:
        """The examples with centred features; made once, as all rounds share one centre."""
        assert plan.blocks is not None  # only such a plan has a centre
        key = centre.tobytes() + (b"" if adapter is None else adapter.tobytes())
        if self._centred is None or self._centred[0] != key:
            features = centred(examples.features, centre, plan.blocks)
            self._centred = key, examples.with_features(features)
        return self._centred[1]
