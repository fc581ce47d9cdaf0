"""The plan of a run: every public number that owners agree on before a value is released.

The plan is made from the configuration and the public layout alone. Its canonical JSON is what
owners receive, check for themselves (`check_plan`), and bind into every signature of every round
through its digest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray

from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.masking.policy import Policy
from feddiff_privacy.events import Event, NoisedSum, SkellamSum
from feddiff_privacy.mechanisms import Mechanism
from feddiff_privacy.sampling import TileSampler
from feddiff_secure.aggregation.adapting import Adaptation
from feddiff_secure.aggregation.centring import CENTRE_ROWS, Block
from feddiff_secure.aggregation.grid import (
    ReleaseGrid,
    adapter_grid,
    count_grid,
    gradient_grid,
    mean_grid,
)
from feddiff_secure.federation.holdings import Holdings
from feddiff_secure.federation.plan_fields import check_fields

_OF_ALL_OWNERS = frozenset({"count", "prior"})
"""Phases to whose every coordinate every owner adds a noise share, whatever it holds."""
_MEANS = ("mean", "classes")
"""Phases in which a tile adds a mean of ψ, of norm at most 1."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The public numbers of a run.

    Attributes:
        session: 16 random bytes as hex; new for every run.
        config_digest: of the configuration the plan was made from.
        owners: roster of owner names, in order.
        topology: `paired`, `mixed` or `split`.
        holds: what each owner holds, `hsi`, `lidar` or `both`; None in `paired`.
        hsi_features: columns of HSI, the first ones; None in `paired`.
        dropouts: d. colluders: c.
        aggregation: `masked`, `encrypted` or `plain`.
        custodian: name of the party that decrypts in encrypted mode; None where the owners do.
        key_agreement: `x25519`, or `hybrid` for X25519 and ML-KEM-768.
        rounding: `nearest` or `stochastic`.
        ring_bits: 32 or 64, of the ring ℤ₂ᵏ.
        noise: `distributed`, `local` or `none`.
        mechanism: `discrete_gaussian` or `skellam`.
        epsilon: target, or None for the non-private baseline.
        delta: δ.
        tile: side of a tile, pixels.
        classes: K. features: D of the communication module (K × D).
        rounds: T. attempts: of training, over all rounds; more than T leaves some spare.
        sampling_rate: Poisson rate of tiles.
        clip: C.
        scale: grid units per unit of gradient.
        noise_multiplier: training noise over sensitivity facing the calibrated observer; 0
            without noise.
        train_share_std: one owner's noise in a training round, grid units.
        count_share_std: one owner's noise in the count of tiles, grid units; None where the
            number of tiles is public.
        mean_share_std: one owner's noise in the release of the mean of ψ, grid units; None where
            there is none.
        class_share_std: one owner's noise in the release of the class means of ψ, grid units; None
            where there is none: it takes owners of different modalities of one ground.
        nominal_tiles: the public number of tiles; None where it is counted.
        blocks: the layout of ψ, where its mean is released; else None.
        prior: how the HSI branch is adapted; None where it stays as it is.
    """

    session: str
    config_digest: str
    owners: tuple[str, ...]
    topology: str
    holds: tuple[str, ...] | None
    hsi_features: int | None
    dropouts: int
    colluders: int
    aggregation: str
    custodian: str | None
    key_agreement: str
    rounding: str
    ring_bits: int
    noise: str
    mechanism: Mechanism
    epsilon: float | None
    delta: float
    tile: int
    classes: int
    features: int
    rounds: int
    attempts: int
    sampling_rate: float
    clip: float
    scale: float
    noise_multiplier: float
    train_share_std: float
    count_share_std: float | None
    mean_share_std: float | None
    class_share_std: float | None
    nominal_tiles: int | None
    blocks: tuple[Block, ...] | None
    prior: Adaptation | None = None

    @property
    def policy(self) -> Policy:
        """Threshold and honest shares, from n, d and c."""
        return Policy(owners=len(self.owners), dropouts=self.dropouts, colluders=self.colluders)

    @property
    def agreement(self) -> KeyAgreement:
        """How the owners agree on keys, as the protocol's states take it."""
        return KeyAgreement(self.key_agreement)

    @property
    def holdings(self) -> Holdings | None:
        """Who holds which columns; None in `paired`, where every owner holds all."""
        if self.holds is None or self.hsi_features is None:
            return None
        return Holdings(self.owners, self.holds, self.hsi_features, self.features)

    @property
    def is_local(self) -> bool:
        """Whether all noise is the holder's own: asked for, or each modality has one holder."""
        return self.noise == "local" or (self.holdings is not None and self.holdings.all_sole)

    @property
    def calibrated_shares(self) -> int:
        """Noise shares that the observer of the calibrated row faces.

        With distributed noise it faces the h honest shares of a sum. Local noise is calibrated
        to hold without aggregation, so one share has to do.
        """
        if self.noise == "distributed" and not self.is_local:
            return self.policy.honest_shares
        return 1

    @property
    def train_grid(self) -> ReleaseGrid:
        """Grid of the training rounds."""
        return gradient_grid(self.clip, self.classes * self.features, self.ring_bits)

    @property
    def noise_factor(self) -> float:
        """Noise of the whole sum over that of the calibrated row: the price of less trust.

        The most over the columns; in a column of a single holder the two are equal.
        """
        if self.holdings is not None and self.holdings.all_sole:
            return 1.0
        return math.sqrt(len(self.owners) / self.calibrated_shares)

    def grid(self, phase: str) -> ReleaseGrid:
        """Grid of a phase, `count`, `prior`, `mean`, `classes` or `train`."""
        if phase == "count":
            return count_grid(self.ring_bits)
        if phase == "prior" and self.prior is not None:
            return adapter_grid(self.prior.clip, self.prior.size, self.ring_bits)
        if phase in _MEANS:
            rows = 1 if phase == "mean" else self.classes
            return mean_grid(rows * self.features, self.ring_bits)
        return self.train_grid

    def share(self, phase: str) -> float:
        """Standard deviation of one owner's noise share in a phase, grid units."""
        prior = None if self.prior is None else self.prior.share_std
        early = {
            "count": self.count_share_std,
            "prior": prior,
            "mean": self.mean_share_std,
            "classes": self.class_share_std,
        }
        return (early[phase] or 0.0) if phase in early else self.train_share_std

    def sole_std(self, phase: str) -> float:
        """Noise of a modality's single holder in its columns in a phase, grid units.

        It is what the calibrated observer faces in all other columns, so both give the same ε.
        """
        return self.share(phase) * math.sqrt(self.calibrated_shares)

    def owner_noise(self, owner: str, phase: str) -> float | NDArray[np.float64]:
        """Standard deviation of one owner's noise in a phase: one, or one a coordinate.

        Count and adapter have no columns of a modality: all owners add their share to all of it,
        those without HSI too.
        """
        if phase in _OF_ALL_OWNERS or self.holdings is None:
            return self.share(phase)
        columns = self.holdings.noise(owner, self.share(phase), self.sole_std(phase))
        rows = 1 if phase == "mean" else self.classes  # the module (K, D), flattened
        return np.tile(columns, rows)

    def total_noise(self, phase: str) -> NDArray[np.float64]:
        """Standard deviation of all owners' noise together in every coordinate of a phase."""
        squares = np.zeros(self.grid(phase).dimension)
        for owner in self.owners:
            squares += np.square(self.owner_noise(owner, phase))
        return np.asarray(np.sqrt(squares))

    def faced(self, events: Sequence[Event], shares: int) -> list[Event]:
        """The events as an observer of `shares` > 0 shares faces them: the worse of the columns.

        A training round, and the mean, is one vector of joint sensitivity Δ under noise of standard
        deviation σ_j in column j, as private as Δ under min_j σ_j (docs/privacy.md). In columns of
        several holders that is √shares · share; in those of a single holder, its own noise.
        """
        holdings = self.holdings
        if holdings is None or not holdings.sole:
            return list(events)
        return [
            event
            if event.phase in _OF_ALL_OWNERS
            else replace(
                event,
                share_std=min(event.share_std, self.sole_std(event.phase) / math.sqrt(shares)),
            )
            for event in events
        ]

    def coordinate_bound(self, phase: str) -> int:
        """The public box onto which an owner projects its vector in a phase, grid units."""
        noise = self.share(phase) * math.sqrt(len(self.owners))
        return self.grid(phase).coordinate_bound(len(self.owners), noise)

    def sampler(self, phase: str) -> TileSampler:
        """How tiles are drawn in a phase; only training samples."""
        return TileSampler(self.sampling_rate if phase == "train" else 1.0)

    def event(self, phase: str, attempts: int) -> Event:
        """The privacy event of a number of attempts of a phase."""
        grid, sampler = self.grid(phase), self.sampler(phase)
        noised = NoisedSum(
            phase=phase,
            attempts=attempts,
            sampling_rate=sampler.rate,
            sampler=sampler.kind,
            sensitivity=grid.sensitivity,
            share_std=self.share(phase),
            dimension=grid.dimension,
        )
        if self.mechanism == "skellam":
            return SkellamSum(**asdict(noised), sensitivity_l1=grid.sensitivity_l1)
        return noised

    def most_attempts(self, phase: str) -> int:
        """Attempts of a phase that the plan's ε accounts for; an owner answers no more.

        Before training that is one a round: a second would double its part of ε. Without noise
        there is no ε to share out, and those phases have the spare attempts too.
        """
        if phase == "train":
            return self.attempts
        spare = 0 if self.epsilon is not None else self.attempts - self.rounds
        return self.phases[phase] + spare if phase in self.phases else 0

    @property
    def phases(self) -> dict[str, int]:
        """The plan's phases in their order, and the rounds of each."""
        rounds = {
            "count": int(self.nominal_tiles is None),
            "prior": 0 if self.prior is None else self.prior.rounds,
            "mean": int(self.blocks is not None),
            "classes": int(self.class_share_std is not None),
            "train": self.rounds,
        }
        return {phase: number for phase, number in rounds.items() if number}

    @property
    def adapter_rows(self) -> int:
        """Rows of D that the adapter takes in what a release is computed on."""
        return 0 if self.prior is None else -(-self.prior.size // self.features)

    def query_shape(self, phase: str) -> tuple[int, int]:
        """Shape of what a release of a phase is computed on: weights, centre, means, adapter."""
        centred = phase in ("classes", "train") and self.blocks is not None
        means = self.classes if phase == "train" and self.class_share_std is not None else 0
        adapted = 0 if phase == "count" else self.adapter_rows
        return self.classes + CENTRE_ROWS * centred + means + adapted, self.features

    def allows(self, phase: str, round_index: int, attempt: int) -> bool:
        """Whether the plan has such a round and attempt."""
        return 0 <= round_index < self.phases.get(phase, 0) and 0 <= attempt < self.attempts

    def events(self) -> list[Event]:
        """The events of the whole plan, each at the most attempts that an owner answers."""
        return [self.event(phase, self.most_attempts(phase)) for phase in self.phases]

    def to_json(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        lists = {
            "owners": list(self.owners),
            "holds": None if self.holds is None else list(self.holds),
            "blocks": None if self.blocks is None else [asdict(block) for block in self.blocks],
            "prior": None if self.prior is None else asdict(self.prior),
        }
        return rfc8785.dumps({**asdict(self), **lists})

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the config hash that every round is bound to."""
        return hashlib.sha256(self.to_json()).digest()

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """Read a plan back; only canonical bytes with exactly the known fields are accepted.

        Raises:
            ValueError: anything else.
        """
        fields: Any = json.loads(data)
        check_fields(fields)
        holds = None if fields["holds"] is None else tuple(fields["holds"])
        made = fields["blocks"]
        blocks = None if made is None else tuple(Block(**block) for block in made)
        prior = None if fields["prior"] is None else Adaptation(**fields["prior"])
        lists = {"owners": tuple(fields["owners"]), "holds": holds, "blocks": blocks}
        plan = cls(**{**fields, **lists, "prior": prior})
        if plan.to_json() != data:
            raise ValueError("not a plan: its JSON is not canonical")
        return plan
