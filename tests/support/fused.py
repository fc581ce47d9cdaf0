"""Fused predictions for tests: a small model, owners' partial scores, a recording transport."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_secure.federation.prediction_node import PartialScores, PredictionNode
from feddiff_secure.federation.prediction_plan import PredictionPlan, model_digest, score_scale
from feddiff_secure.model.model_file import Model
from feddiff_secure.model.psi import FeatureMap
from scripts.make_tiny_table import tiny_table
from tests.support.federations import RecordingExchange

CLASSES = 3


def small_model(seed: int = 0) -> Model:
    """Random weights on public features of the tiny table, without diffusion."""
    data = tiny_table(pixels=60, bands=8, seed=0)
    features = FeatureMap.public(data.layout, tile=1, learned=False)
    width = sum(features.widths.values())
    weights = np.random.default_rng(seed).normal(0, 4, (CLASSES, width))
    return Model(features, weights, data.classes)


@dataclass
class FusedParties:
    """All parties of one prediction."""

    plan: PredictionPlan
    registry: Registry
    nodes: dict[str, PredictionNode]
    exchange: RecordingExchange
    scores: dict[str, NDArray[np.float64]]

    @classmethod
    def of(
        cls,
        holds: dict[str, str],
        recipient: str,
        *,
        pixels: int = 200,
        consents: tuple[str, ...] = (),
        aggregation: str = "masked",
        key_agreement: str = "x25519",
        batch: int | None = None,
        seed: int = 1,
        shift: float = 0.0,
    ) -> FusedParties:
        """Parties whose partial scores are random; the first pixel has one contributor only.

        Scores lie on the grid; `shift` moves so much from the LiDAR owners' to the HSI owners'.
        """
        model = small_model()
        rng = np.random.default_rng(seed)
        owners = tuple(sorted(holds))
        plan = PredictionPlan(
            session=bytes(16).hex(),
            model=model_digest(model),
            owners=owners,
            holds=tuple(holds[name] for name in owners),
            recipient=recipient,
            aggregation=aggregation,
            key_agreement=key_agreement,
            pixels=pixels,
            classes=CLASSES,
            batch=batch or pixels,
            scale=score_scale(model.weights, len({*owners, recipient})),
        )
        own = {}
        for modality in ("hsi", "lidar"):
            peers = [name for name in owners if holds[name] == modality]
            for number, name in enumerate(peers):
                own[name] = np.arange(pixels) % len(peers) == number
                if modality == "lidar":
                    own[name][0] = False
        contributors = np.sum(list(own.values()), axis=0)
        scores = {
            name: np.rint(rng.normal(0, 3, (pixels, CLASSES)) * plan.scale) / plan.scale
            + (shift if holds[name] == "hsi" else -shift)
            for name in owners
        }
        keys = {name: IdentityKey.generate(SecureRandom()) for name in plan.parties}
        registry = Registry({name: key.public for name, key in keys.items()})
        nodes = {
            name: PredictionNode(
                name,
                model,
                PartialScores(scores[name], own[name], contributors) if name in own else None,
                identity=key,
                registry=registry,
                random=SecureRandom(),
                consents=[recipient] if name in consents else [],
            )
            for name, key in keys.items()
        }
        return cls(plan, registry, nodes, RecordingExchange(nodes), scores)

    def offer(self, **change: object) -> dict[str, str]:
        """Offer a changed plan; party → refusal, or `ok`."""
        wrong = replace(self.plan, **change)  # type: ignore[arg-type]  # wrong on purpose
        replies = self.exchange.exchange(
            "prediction", {name: {"plan": wrong.to_json()} for name in self.nodes}, 1.0
        )
        return {name: str(reply.get("refused", "ok")) for name, reply in replies.items()}

    def given(self, name: str) -> NDArray[np.float64]:
        """An owner's part as it lies on the grid: what is in a sum, in units of score."""
        part = self.nodes[name]._part
        assert part is not None
        rows = np.where(part.given[:, None], self.scores[name], 0.0)
        rounded: NDArray[np.float64] = np.rint(rows * self.plan.scale)
        return rounded
