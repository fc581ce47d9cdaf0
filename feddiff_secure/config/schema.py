"""The configuration of one run: every field, its default and its bounds.

The object is public: it may be shown to anybody and is part of what owners agree on. It holds
nothing that was computed from data. Bounds that need the data (a δ against the number of tiles,
a partition against the regions present) are checked where the data is read.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from feddiff_privacy.calibrate import COUNT_SHARE
from feddiff_privacy.ledger.entries import is_holding_name
from feddiff_privacy.mechanisms import Mechanism
from feddiff_secure.config.adaptation import DP, check_adaptation
from feddiff_secure.config.bounds import BOUNDS, check_bounds
from feddiff_secure.config.holds import ALTERNATE, Held, parse_holds, repeat_holds
from feddiff_secure.config.paper import check_paper
from feddiff_secure.errors import UsageError

Topology = Literal["paired", "mixed", "split"]
Aggregation = Literal["masked", "encrypted", "plain"]
KeyAgreementName = Literal["x25519", "hybrid"]
Rounding = Literal["nearest", "stochastic"]
Noise = Literal["distributed", "local", "none"]
UnitName = Literal["tile", "pixel"]
Profile = Literal["private", "paper"]
Spectra = Literal["robust", "fine"]
Engine = Literal["local", "flare"]
Device = Literal["cpu", "cuda"]

CHOICES: dict[str, tuple[str, ...]] = {
    "topology": get_args(Topology),
    "aggregation": get_args(Aggregation),
    "key_agreement": get_args(KeyAgreementName),
    "rounding": get_args(Rounding),
    "noise": get_args(Noise),
    "mechanism": get_args(Mechanism),
    "unit": get_args(UnitName),
    "profile": get_args(Profile),
    "spectra": get_args(Spectra),
    "engine": get_args(Engine),
    "device": get_args(Device),
}
RING_BITS = (32, 64)

# What this version does not do yet, said where a user asks for it.
_NOT_YET: dict[str, dict[str, str]] = {"device": {"cuda": "features on a GPU"}}


LEAST_CLASS_MEANS_EPSILON = 4.0  # below it they did not pay everywhere (docs/results.md)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All that decides a run. Field names are the keys of the TOML file.

    Attributes:
        data: data file, manifest or folder; None for the built-in simulated scene.
        test: separate test file; None tests on a region-disjoint part of `data`.
        epsilon: target ε; `inf` for the non-private baseline.
        delta: δ in (0, 1), well below 1/number of tiles.
        owners: number of owners; None for the default of the partition.
        partition: `iid`, `dirichlet:A`, `region` or `site`.
        topology: `paired` (every owner holds both modalities of its own ground), `mixed` (some hold
            one only) or `split` (owners hold different modalities of the same ground).
        holds: `hsi`, `lidar` or `both` for each owner, by commas; repeats; None alternates hsi and
            lidar. Not with `paired`.
        labels: with `split`, names of the owners that hold labels, or `all` (None too).
        lidar_data: with `split`, the file that holds the LiDAR of the ground in `data`.
        aggregation: how the owners' vectors are summed.
        custodian: whether a party of its own decrypts, with aggregation `encrypted`; otherwise the
            owners do.
        key_agreement: of the owners, for masks and sealed shares; `hybrid` is X25519 and
            ML-KEM-768.
        rounding: of an owner's sum onto the integer grid.
        ring_bits: 32 or 64: integers of the masked sum; 64 doubles the upload.
        noise: who adds how much noise; None for the default (`none` at ε = inf).
        mechanism: which integer noise: `discrete_gaussian`, or `skellam` with its own Rényi bound.
        colluders: c, owners who may collude with the coordinator; None for the default.
        dropouts: d, owners who may drop out of a round.
        nominal_tiles: public number of training tiles; None releases a private count first.
        count_fraction: part of the budget (of μ²) that a private count takes, at most 0.01.
        centring: whether the mean of ψ is released first and taken off in training.
        mean_fraction: part of the budget (of μ²) that the mean takes.
        class_means: with `split`, whether the class means of ψ are released as well, so that each
            modality learns what the other leaves undecided; needs `centring`. None for the default:
            from ε = 4 on, but not at ε = inf.
        class_fraction: part of the budget (of μ²) that the class means take.
        unit: unit of privacy.
        tile: side of a tile in pixels; None for the default of the data's kind.
        profile: `private`, or `paper` for FedDiff as published.
        spectra: how a spectrum is described: `robust`, by what survives noise, or `fine`, by what
            tells similar classes apart in runs with little noise and some hundred rounds.
        prior: where the diffusion branches come from: `simulated`, the shipped ones; `dp`, those
            with the HSI branch adapted to the owners' tiles inside the budget; or the path of a
            prior file or a folder of them, whose provenance must be public or simulated.
        prior_rounds: R, rounds of that adaptation.
        prior_fraction: part of the budget (of μ²) that the adaptation takes.
        rounds: T ≥ 1.
        spare_attempts: training attempts beyond T that the noise is calibrated for, so that an
            interrupted round can be redone without losing one.
        sampling_rate: Poisson inclusion probability of a tile in a round; 1 takes all.
        clip: C, L2 bound of one tile's summed gradient; None for the default: 0.25, or 1 in the
            non-private baseline.
        seed: of partition, simulated scene and public projections; never of keys or noise.
        ledger: folder of the owners' ledgers; None keeps a fresh one in the run directory.
        holding: name of the data that the budget belongs to.
        lifetime_epsilon: ε that all runs on the holding together never exceed; None for no limit,
            or for that of an existing ledger.
        engine: where the owners run.
        device: `cpu` or `cuda`.
    """

    data: str | None = None
    test: str | None = None
    epsilon: float = 8.0
    delta: float = 1e-5
    owners: int | None = None
    partition: str = "iid"
    topology: Topology = "paired"
    holds: str | None = None
    labels: str | None = None
    lidar_data: str | None = None
    aggregation: Aggregation = "masked"
    custodian: bool = False
    key_agreement: KeyAgreementName = "x25519"
    rounding: Rounding = "nearest"
    ring_bits: int = 32
    noise: Noise | None = None
    mechanism: Mechanism = "discrete_gaussian"
    colluders: int | None = None
    dropouts: int = 0
    nominal_tiles: int | None = None
    count_fraction: float = COUNT_SHARE
    centring: bool = True
    mean_fraction: float = 0.1
    class_means: bool | None = None
    class_fraction: float = 0.1
    unit: UnitName = "tile"
    tile: int | None = None
    profile: Profile = "private"
    spectra: Spectra = "robust"
    prior: str = "simulated"
    prior_rounds: int = 8
    prior_fraction: float = 0.05
    rounds: int = 60
    spare_attempts: int = 0
    sampling_rate: float = 1.0
    clip: float | None = None
    seed: int = 0
    ledger: str | None = None
    holding: str = "default"
    lifetime_epsilon: float | None = None
    engine: Engine = "local"
    device: Device = "cpu"

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_combinations()
        self._check_topology()
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        check_adaptation(values)
        if self.profile == "paper":
            check_paper(values, {f.name: f.default for f in dataclasses.fields(self)})

    @property
    def is_private(self) -> bool:
        """Whether a finite ε was asked for."""
        return math.isfinite(self.epsilon)

    @property
    def adapts(self) -> bool:
        """Whether the HSI branch is adapted to the owners' tiles."""
        return self.prior == DP

    @property
    def releases_class_means(self) -> bool:
        """Whether owners of different modalities of one ground release the class means of ψ."""
        if self.topology != "split" or not self.centring:
            return False
        if self.class_means is not None:
            return self.class_means
        return self.is_private and self.epsilon >= LEAST_CLASS_MEANS_EPSILON

    @property
    def noise_mode(self) -> Noise:
        """The noise that is used: the given one, or the default."""
        if self.noise is not None:
            return self.noise
        return "distributed" if self.is_private else "none"

    @property
    def owner_count(self) -> int | None:
        """Number of owners; None where the partition decides it (one owner a site)."""
        if self.owners is None and self.partition != "site":
            return 2 if self.topology == "split" else 4
        return self.owners

    def holds_for(self, owners: int) -> tuple[Held, ...] | None:
        """What each of a number of owners holds; None in `paired`, where each holds both.

        Raises:
            UsageError: a list that does not fit the owners.
        """
        if self.topology == "paired":
            return None
        pattern = ALTERNATE if self.holds is None else parse_holds(self.holds)
        return repeat_holds(pattern, owners, self.topology)

    @property
    def clip_norm(self) -> float:
        """C: the given one, or the default."""
        if self.clip is not None:
            return self.clip
        return 0.25 if self.is_private else 1.0

    def colluders_for(self, owners: int) -> int:
        """c for a number of owners: the given one, or 1 (0 for two owners)."""
        if self.colluders is not None:
            return self.colluders
        return 0 if owners == 2 else 1

    def _check_choices(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value is None and name == "noise":
                continue
            if value not in allowed:
                raise UsageError(f"{name} is {value!r}", f"use one of: {', '.join(allowed)}")
            if value in _NOT_YET.get(name, {}):
                raise UsageError(
                    f"{name} {value} ({_NOT_YET[name][value]}) is not part of this version",
                    f"leave out --{name} for the default, {allowed[0]}",
                )
        if self.prior == "":
            raise UsageError(
                "prior is empty",
                "use simulated, the branches shipped with the package; dp, which adapts one of "
                "them; or a path to public ones",
            )
        if not is_holding_name(self.holding):
            raise UsageError(
                f"holding is {self.holding[:80]!r}",
                "use 1 to 64 letters, digits, _ and -, not led by a sign",
            )
        if self.ledger == "":
            raise UsageError("ledger is empty", "give a folder, or leave out --ledger")

    def _check_numbers(self) -> None:
        for name in BOUNDS:
            value = getattr(self, name)
            if value is not None:
                check_bounds(name, value)
        if self.nominal_tiles is not None:
            self.check_delta(self.nominal_tiles, "nominal_tiles")

    def check_delta(self, tiles: int, source: str) -> None:
        """Refuse a δ that would allow publishing one tile outright.

        Raises:
            UsageError: δ ≥ 1 / tiles in a private run.
        """
        if self.is_private and self.delta >= 1 / tiles:
            raise UsageError(
                f"delta {self.delta:g} is not below 1/{tiles} ({source})",
                f"use a delta well below {1 / tiles:.1g}, such as {0.01 / tiles:.0e}",
            )

    def _check_combinations(self) -> None:
        noise = self.noise_mode
        if noise == "none" and self.is_private:
            raise UsageError(
                f"noise none with epsilon {self.epsilon:g} guarantees nothing",
                "use --noise distributed or local, or --epsilon inf",
            )
        if noise != "none" and not self.is_private:
            raise UsageError(
                f"noise {noise} with epsilon inf has no calibrated size",
                "leave out --noise, or give a finite --epsilon",
            )
        if self.mechanism == "skellam" and self.topology != "paired":
            raise UsageError(
                f"mechanism skellam with topology {self.topology}: where modalities have holders "
                "of their own, noise is accounted for the discrete Gaussian only",
                "leave out mechanism, or use --topology paired",
            )
        if self.aggregation == "plain" and noise == "distributed":
            raise UsageError(
                "aggregation plain shows the coordinator single updates, which carry only a "
                "share of distributed noise",
                "use --noise local, or --aggregation masked",
            )
        if self.aggregation == "plain" and self.key_agreement != "x25519":
            raise UsageError(
                f"key_agreement {self.key_agreement} with aggregation plain: no keys are agreed on",
                "leave out --key-agreement, or use --aggregation masked",
            )
        if self.ring_bits not in RING_BITS:
            raise UsageError(f"ring_bits is {self.ring_bits}", "use 32 or 64")
        if self.aggregation == "encrypted" and self.ring_bits != 32:
            raise UsageError(
                "ring_bits 64 with aggregation encrypted: such an integer fits no ciphertext slot",
                "leave out --ring-bits, or use --aggregation masked",
            )
        if self.custodian and self.aggregation != "encrypted":
            raise UsageError(
                f"custodian with aggregation {self.aggregation}: it would have nothing to decrypt",
                "use --aggregation encrypted, or leave out --custodian",
            )
        if self.unit == "pixel" and self.tile not in {None, 1}:
            raise UsageError(
                f"unit pixel with tile {self.tile}", "leave out --tile, or use --unit tile"
            )

    def _check_topology(self) -> None:
        if self.topology == "paired" and self.holds is not None:
            raise UsageError(
                "holds with topology paired: every owner holds both modalities",
                "use --topology mixed or split, or leave out --holds",
            )
        if self.topology == "split" and self.owner_count is None:
            raise UsageError(
                "partition site with topology split: how many owners is not said",
                "give --owners, a holder of HSI and one of LiDAR for each site",
            )
        if self.topology != "paired" and self.owner_count is not None:
            self.holds_for(self.owner_count)
        for name in ("labels", "lidar_data"):
            value = getattr(self, name)
            if value is not None and self.topology != "split":
                raise UsageError(
                    f"{name} with topology {self.topology}: owners hold their own ground",
                    f"use --topology split, or leave out --{name.replace('_', '-')}",
                )
            if value == "":
                raise UsageError(f"{name} is empty", f"leave out --{name.replace('_', '-')}")
        if self.class_means and (self.topology != "split" or not self.centring):
            raise UsageError(
                f"class_means with topology {self.topology}"
                + ("" if self.centring else ", centring off"),
                "class means are of another owner's modality: use --topology split, with centring",
            )
        if self.lidar_data is not None and self.data is None:
            raise UsageError(
                "lidar_data without data: the simulated scene holds its own LiDAR",
                "give the HSI of the same ground with --data",
            )

    def to_dict(self) -> dict[str, str | int | float]:
        """All fields that are set, in the order of this class: the TOML form."""
        pairs = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {name: value for name, value in pairs if value is not None}
