"""Inversion of one owner's first update in the private profile: gradient → ψ → spectrum.

The attacker is the coordinator, who shows weights and centre of its choice: weights 0, and a centre
that leaves ψ as it is. So with K classes a pixel's gradient is (1/K − [label]) ⊗ ψ. The row of a
class that the owner has no tile of, less the row of class k, is Σψ over the pixels of class k:
exact, whatever the labels. A decoder trained on all tiles that the attacker knows turns the HSI
part of ψ into a spectrum.

The target holds one tile of one label for each class but one, drawn from its own; the attacker
knows every tile of the other owners, and which class is absent. It sees, through the owners' and
the protocol's real code,

* the plain update: what would leave an owner without masks and noise;
* the noised aggregate of the recorded plan, less all it knows (`observer.py`);
* one masked vector, of a round without noise: only the masks protect it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.clipping import TileExamples, softmax_errors, tile_norms
from feddiff_secure.attack.decoder import RidgeDecoder
from feddiff_secure.attack.observer import ObservedFederation
from feddiff_secure.attack.reconstruction import InversionScore, Reconstruction, candidate_count
from feddiff_secure.attack.shadows import take_tiles
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.agreement import agree
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.round import Attempt, secure_sum

Floats = NDArray[np.float64]
_MOST_ROWS = 4000  # pixels that a decoder is trained on
PLAIN, NOISED, MASKED = "one plain update", "noised aggregate", "one masked vector"


@dataclass(frozen=True, slots=True, eq=False)
class HeldSpectra:
    """One owner's labelled pixels, with the spectra that ψ was computed from.

    Attributes:
        examples: ψ, labels and tiles.
        spectra: (examples, B), rows in the order of `examples`.
    """

    examples: TileExamples
    spectra: Floats

    @property
    def tile_of(self) -> NDArray[np.int64]:
        """The tile of every example."""
        sizes = np.diff(np.append(self.examples.starts, len(self.examples.labels)))
        return np.repeat(np.arange(self.examples.tiles), sizes)

    def pure_label(self) -> NDArray[np.int64]:
        """The label of each tile, −1 where its pixels have several; (tiles,)."""
        starts, labels = self.examples.starts, self.examples.labels
        low, high = np.minimum.reduceat(labels, starts), np.maximum.reduceat(labels, starts)
        return np.where(low == high, low, -1)

    def tile_spectra(self) -> Floats:
        """The mean spectrum of the labelled pixels of each tile, (tiles, B)."""
        sizes = np.diff(np.append(self.examples.starts, len(self.examples.labels)))
        sums = np.add.reduceat(self.spectra, self.examples.starts, axis=0)
        return np.asarray(sums / sizes[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class _Secret:
    """What the target holds in one trial.

    Attributes:
        tiles: chosen tile of each attacked class. candidates: class → tiles it was drawn from.
        absent: a class without a tile.
    """

    tiles: Mapping[int, int]
    candidates: Mapping[int, NDArray[np.int64]]
    absent: int


@dataclass(frozen=True, slots=True, eq=False)
class _Attacker:
    """What turns a sum of ψ into a spectrum.

    Attributes:
        decoder: trained on the known tiles.
        gain: what a mean ψ was multiplied by; None where its length tells.
        length: of a tile's mean ψ, mean over the known ones.
    """

    decoder: RidgeDecoder
    gain: float | None
    length: float

    def spectrum(self, psi: Floats) -> Floats:
        """(D_hsi,) to (B,)."""
        gain = self.gain or float(np.linalg.norm(psi)) / self.length
        return np.asarray(self.decoder(psi[None] / max(gain, 1e-300))[0])


@dataclass(frozen=True, slots=True, eq=False)
class GradientInversion:
    """The attack on one run.

    Attributes:
        noised: the recorded plan, in masked mode.
        plain: the same without noise.
        held: owner → labelled pixels with spectra, in roster order.
        hsi_features: the first columns of ψ are HSI's.
    """

    noised: Plan
    plain: Plan
    held: Mapping[str, HeldSpectra]
    hsi_features: int

    def run(
        self, *, attempts: int, rng: np.random.Generator, progress: Progress
    ) -> list[InversionScore]:
        """Play trials until there are enough attempts, and score the three observations.

        Args:
            attempts: tiles to attack, at least.
            rng: of targets and candidates; keys and noise are the operating system's.
            progress: receives one step an attempt.

        Raises:
            DataError: no class with two tiles of one label.
            UsageError: the first owner is the only one with HSI, or has none.
            ProtocolAbortedError: a round could not be completed.
        """
        target = ObservedFederation.of(self.plain, self._examples()).view.target
        found: dict[str, list[Reconstruction]] = {PLAIN: [], NOISED: [], MASKED: []}
        attackers = {name: self._attacker(target, name, rng) for name in found}
        known = f"every tile of the other {len(self.held) - 1} owners, and the absent class"
        while len(found[PLAIN]) < attempts:
            secret = self._draw(target, rng)
            if not secret.tiles:
                break  # the score says that there was nothing to attack
            seen = self._observe(target, secret)
            for name, gradient in seen.items():
                found[name] += self._invert(target, secret, gradient, attackers[name])
            progress.advance(len(secret.tiles))
        quiet = (
            {} if self.noised.train_share_std > 0 else {NOISED: "aggregate, a run without noise"}
        )
        return [
            InversionScore.of(quiet.get(name, name), known, tried) for name, tried in found.items()
        ]

    def _examples(self) -> dict[str, TileExamples]:
        return {name: held.examples for name, held in self.held.items()}

    def _draw(self, target: str, rng: np.random.Generator) -> _Secret:
        """One class absent; of every other that allows m candidates, one tile among m."""
        label = self.held[target].pure_label()
        absent = int(rng.integers(self.plain.classes))
        members = {int(k): np.flatnonzero(label == k) for k in np.unique(label) if k >= 0}
        m = candidate_count([len(rows) for rows in members.values()])
        candidates = {
            k: rng.permutation(rows)[:m]
            for k, rows in members.items()
            if k != absent and len(rows) >= m > 0
        }
        if not candidates and any(len(rows) >= m > 0 for rows in members.values()):
            return self._draw(target, rng)  # the only usable class was drawn to be absent
        tiles = {k: int(rng.choice(rows)) for k, rows in candidates.items()}
        return _Secret(tiles, candidates, absent)

    def _observe(self, target: str, secret: _Secret) -> dict[str, Floats]:
        """What the attacker sees of the first round, in units of the gradient, (K, D) each."""
        whole = self._examples()
        chosen = np.zeros(whole[target].tiles, dtype=np.bool_)
        chosen[list(secret.tiles.values())] = True
        held = {**whole, target: take_tiles(whole[target], chosen)}
        origin = np.zeros((self.plain.classes, self.plain.features))
        quiet, _ = self._round(self.plain, held, _first_query(self.plain))
        query = _first_query(self.noised)
        loud, total = self._round(self.noised, held, query)
        others = tuple(owner for owner in loud.known if owner.name != target)
        open_owner, scale = quiet.owners[target], self.plain.scale
        return {
            PLAIN: open_owner.vector(self.plain, "train").reshape(origin.shape) / scale,
            NOISED: replace(loud, known=others).released(total, query),
            MASKED: open_owner.masked_vector(self.plain, "train").reshape(origin.shape) / scale,
        }

    @staticmethod
    def _round(
        plan: Plan, held: Mapping[str, TileExamples], query: Floats
    ) -> tuple[ObservedFederation, NDArray[np.int64]]:
        federation = ObservedFederation.of(plan, held)
        agree(federation.exchange, plan)
        attempt = Attempt("train", 0, 0, query)
        return federation, secure_sum(federation.exchange, federation.registry, plan, attempt)

    def _attacker(self, target: str, observed: str, rng: np.random.Generator) -> _Attacker:
        """Trained on the other owners' pixels, for the noise of what is observed."""
        known = [
            held
            for name, held in self.held.items()
            if name != target and held.examples.features[:, : self.hsi_features].any()
        ]
        if not known:
            raise UsageError(
                f"only {target} holds HSI: nobody else could train a decoder",
                "attack a run in which several owners hold HSI",
            )
        psi = np.concatenate([held.examples.features[:, : self.hsi_features] for held in known])
        spectra = np.concatenate([held.spectra for held in known])
        lengths, gains = zip(*(self._of_tiles(held) for held in known), strict=True)
        gain, variance = float(np.concatenate(gains).mean()), 0.0
        if observed == NOISED:
            # The difference of two rows has twice the variance of one.
            of_sum = self.noised.train_share_std**2 * self.noised.calibrated_shares
            variance = 2.0 * of_sum / (self.noised.scale * gain) ** 2
        rows = rng.permutation(len(psi))[:_MOST_ROWS]
        decoder = RidgeDecoder.fit(psi[rows], spectra[rows], noise_variance=variance)
        noisy = variance > 0
        return _Attacker(decoder, gain if noisy else None, float(np.concatenate(lengths).mean()))

    def _of_tiles(self, held: HeldSpectra) -> tuple[Floats, Floats]:
        """The length of every tile's mean ψ (HSI part), and what the clip multiplies that by."""
        examples = held.examples
        sizes = np.diff(np.append(examples.starts, len(examples.labels)))
        psi = examples.features[:, : self.hsi_features]
        means = np.add.reduceat(psi, examples.starts, axis=0) / sizes[:, None]
        weights = np.zeros((self.plain.classes, self.plain.features))
        norms = tile_norms(examples, softmax_errors(examples, weights))
        clip = np.minimum(1.0, self.noised.clip / np.maximum(norms, 1e-300))
        return np.linalg.norm(means, axis=1), sizes * clip

    def _invert(
        self, target: str, secret: _Secret, gradient: Floats, attacker: _Attacker
    ) -> list[Reconstruction]:
        true = self.held[target].tile_spectra()
        out = []
        for k, tile in secret.tiles.items():
            psi = (gradient[secret.absent] - gradient[k])[: self.hsi_features]
            candidates = secret.candidates[k]
            index = int(np.flatnonzero(candidates == tile)[0])
            out.append(Reconstruction(attacker.spectrum(psi), true[candidates], index))
        return out


def _first_query(plan: Plan) -> Floats:
    """Weights 0, with means that leave ψ as it is (mean 0, factor 1) and say nothing of classes."""
    query = np.zeros(plan.query_shape("train"))
    if plan.blocks is not None:
        query[plan.classes + 1] = 1
    return query
