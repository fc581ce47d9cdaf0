"""A party of a fused prediction: an owner with its partial scores, or the recipient of the sums.

The rules of the machine:

* A plan is accepted once, for the model this party holds, with the scale that follows from it.
* An owner puts in only pixels to which at least one other owner contributes: a sum over one
  contributor would be its part in clear. Other pixels of its own stay zero.
* Where the recipient holds the other modality of this owner's pixels, fused minus own is this
  owner's part. Such a plan is refused unless this owner has consented to that recipient.
* The sums go out in order, each once. The recipient adds a fresh pad to each and takes it off
  again; what anybody else sees of a sum is uniform.
* Nothing here is noised: the fused scores are outside every ε. What a node disclosed is counted in
  `disclosed`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.errors import CryptoError, HybridUnavailableError
from feddiff_crypto.fixedpoint import round_nearest
from feddiff_crypto.he.owner import EncryptedStart
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.mlkem import require_mlkem
from feddiff_crypto.randomness import SecureRandom
from feddiff_secure.federation.node import RefusalError, answered, take
from feddiff_secure.federation.prediction_plan import PredictionPlan, model_digest, score_scale
from feddiff_secure.federation.protocol_walk import ProtocolWalk
from feddiff_secure.model.model_file import Model
from feddiff_secure.transport.exchange import Message

Ring = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class PartialScores:
    """What one owner knows of the pixels to be predicted.

    Attributes:
        scores: W_m ψ_m of every pixel, (pixels, K) float64; rows of other owners' pixels are
            ignored.
        own: which pixels this owner holds, (pixels,).
        contributors: how many owners hold each pixel, (pixels,): public, from the alignment.
    """

    scores: NDArray[np.float64]
    own: NDArray[np.bool_]
    contributors: NDArray[np.int64]

    @property
    def given(self) -> NDArray[np.bool_]:
        """The pixels that this owner puts in, (pixels,)."""
        return self.own & (self.contributors >= 2)


class PredictionNode:
    """One party, as the coordinator's messages see it.

    Args:
        name: its name in the registry.
        model: the trained model, which all parties hold.
        part: its partial scores; None for a recipient that is no owner.
        identity: its signing key.
        registry: the pinned identities of all parties.
        random: secure randomness for keys and pads.
        consents: recipients to which this owner lets its own part go, where they could subtract
            theirs.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        part: PartialScores | None,
        *,
        identity: IdentityKey,
        registry: Registry,
        random: SecureRandom,
        consents: Collection[str] = (),
    ) -> None:
        self.name = name
        self.disclosed = 0
        """Pixels whose scores went into a sum."""
        self.fused: dict[int, NDArray[np.int64]] = {}
        """Of the recipient: the sums by number, each (pixels, K) in grid units."""
        self._model = model
        self._part = part
        self._identity = identity
        self._registry = registry
        self._random = random
        self._consents = frozenset(consents)
        self._plan: PredictionPlan | None = None
        self._next = 0
        self._pad: Ring | None = None
        self._vector: Ring | None = None
        self._walk: ProtocolWalk | None = None
        self._steps: dict[str, Callable[[Message], Message]] = {
            "prediction": self._accept,
            "scores": self._scores,
            "advertise": self._advertise,
            "share": lambda message: self._walking().share(message),
            "mask": self._mask,
            "consistency": lambda message: self._walking().sign(message),
            "unmask": lambda message: self._walking().reveal(message),
            "decrypt": self._decrypt,
            "fused": self._receive,
        }

    def handle(self, phase: str, message: Message) -> Message:
        """Answer one message; refusals are fixed codes."""
        return answered(self._steps, phase, message, self._forget)

    def _forget(self) -> None:
        self._vector = self._walk = self._pad = None

    def _accept(self, message: Message) -> Message:
        if self._plan is not None:
            raise RefusalError("plan_already_accepted")
        try:
            plan = PredictionPlan.from_json(take(message, "plan", bytes))
            plan.policy  # noqa: B018  # refuses numbers of parties that it does not know
            if plan.agreement is KeyAgreement.HYBRID:
                require_mlkem()
        except HybridUnavailableError:
            raise
        except (ValueError, CryptoError, RecursionError) as error:
            raise RefusalError("plan_refused") from error
        if plan.parties != self._registry.parties or (self._part is None) != (
            plan.held(self.name) is None
        ):
            raise RefusalError("roster_refused")
        weights = self._model.weights
        if plan.model != model_digest(self._model) or plan.classes != len(weights):
            raise RefusalError("model_refused")
        if plan.scale != score_scale(weights, len(plan.parties)):
            raise RefusalError("plan_refused")
        if self._part is not None and len(self._part.own) != plan.pixels:
            raise RefusalError("pixels_refused")
        if needs_consent(plan, self.name) and plan.recipient not in self._consents:
            raise RefusalError("consent_refused")
        self._plan = plan
        return {"accepted": plan.digest()}

    def _scores(self, message: Message) -> Message:
        """Put this party's vector of one sum together; it stays here until it is masked."""
        plan, number = self._agreed(), take(message, "number", int)
        if number != self._next or number >= plan.batches:
            raise RefusalError("attempt_refused")
        self._next += 1
        self._walk = self._pad = None
        vector = np.zeros(plan.dimension(number), dtype=np.uint32)
        if self._part is not None:
            rows = plan.rows(number)
            given = self._part.given[rows]
            scores = np.where(given[:, None], self._part.scores[rows], 0.0)
            vector = plan.grid.to_ring(round_nearest(scores.ravel(), plan.scale)).astype(np.uint32)
        if plan.recipient == self.name:
            pad = np.frombuffer(self._random.random_bytes(4 * len(vector)), dtype="<u4")
            self._pad = pad.astype(np.uint32)
            vector = vector + self._pad  # modulo 2³²
        self._vector = vector
        return {"ready": True}

    def _advertise(self, message: Message) -> Message:  # noqa: ARG002  # every step takes one
        plan, vector = self._agreed(), self._vector
        if vector is None or self._walk is not None:
            raise RefusalError("out_of_order")
        start = OwnerStart(
            party=self.name,
            identity=self._identity,
            registry=self._registry,
            policy=plan.policy,
            context=plan.context(self._next - 1),
            random=self._random,
            agreement=plan.agreement,
        )
        if plan.aggregation == "encrypted":
            self._walk = ProtocolWalk(EncryptedStart(start, dimension=len(vector)), vector)
        else:
            self._walk = ProtocolWalk(start, vector)
        return self._walk.advertise()

    def _mask(self, message: Message) -> Message:
        reply = self._walking().mask(message)
        if self._part is not None:
            self.disclosed += int(self._part.given[self._agreed().rows(self._next - 1)].sum())
        return reply

    def _decrypt(self, message: Message) -> Message:
        total, signature = self._walking().decrypt(message)
        if self._pad is not None:
            self._keep(total.astype(np.uint32))
        self._forget()
        return signature

    def _receive(self, message: Message) -> Message:
        """The recipient gets a sum that the coordinator unmasked; to it, too, it looked uniform."""
        plan = self._agreed()
        vector = message.get("vector")
        if plan.aggregation != "masked" or self._pad is None:
            raise RefusalError("out_of_order")
        if not isinstance(vector, np.ndarray) or vector.dtype != np.uint32:
            raise RefusalError("message_refused")
        if vector.shape != self._pad.shape:
            raise RefusalError("message_refused")
        self._keep(vector)
        self._forget()
        return {"received": True}

    def _keep(self, total: Ring) -> None:
        plan, number = self._agreed(), self._next - 1
        assert self._pad is not None
        self.fused[number] = plan.grid.from_ring(total - self._pad).reshape(-1, plan.classes)

    def labels(self) -> NDArray[np.int16]:
        """Of the recipient: the most likely class of every pixel, 1..K, (pixels,).

        Raises:
            RuntimeError: a sum is missing.
        """
        plan = self._agreed()
        if set(self.fused) != set(range(plan.batches)):
            raise RuntimeError(f"{len(self.fused)} of {plan.batches} sums")
        best = [self.fused[number].argmax(axis=1) + 1 for number in range(plan.batches)]
        return np.concatenate(best).astype(np.int16)

    def _agreed(self) -> PredictionPlan:
        if self._plan is None:
            raise RefusalError("no_plan")
        return self._plan

    def _walking(self) -> ProtocolWalk:
        if self._walk is None:
            raise RefusalError("out_of_order")
        return self._walk


def needs_consent(plan: PredictionPlan, owner: str) -> bool:
    """Whether the recipient could subtract its own part and be left with this owner's."""
    theirs, mine = plan.held(plan.recipient), plan.held(owner)
    return theirs is not None and mine is not None and owner != plan.recipient and theirs != mine
