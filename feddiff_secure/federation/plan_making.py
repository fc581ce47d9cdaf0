"""Make a plan from a configuration: the least noise that meets ε, and every public number fixed."""

from __future__ import annotations

from dataclasses import replace

from feddiff_crypto.errors import PolicyError
from feddiff_privacy.calibrate import calibrate, count_noise_multiplier, phase_noise_multiplier
from feddiff_privacy.errors import PrivacyError
from feddiff_privacy.noise import LEAST_STD, share_std
from feddiff_secure.aggregation.adapting import CLIP, Adaptation
from feddiff_secure.aggregation.centring import Block
from feddiff_secure.aggregation.grid import gradient_grid
from feddiff_secure.config.bounds import MOST_SPARE
from feddiff_secure.config.load import config_digest
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.plan import Plan

CUSTODIAN = "custodian"
"""Name of the custodian of a run in one process."""


def make_plan(
    config: RunConfig,
    *,
    session: bytes,
    owners: tuple[str, ...],
    tile: int,
    classes: int,
    features: int,
    hsi_features: int | None = None,
    blocks: tuple[Block, ...] | None = None,
    adapter: int | None = None,
) -> Plan:
    """Calibrate the noise and fix every public number.

    Args:
        config: the run's configuration.
        session: 16 random bytes.
        owners: roster.
        tile: side of a tile, pixels.
        classes: K.
        features: D.
        hsi_features: how many of them, the first, are HSI's; only where owners differ in what they
            hold.
        blocks: the layout of ψ; None releases no mean.
        adapter: P, numbers in the adapter of the HSI branch; None adapts nothing.

    Raises:
        UsageError: a topology that does not fit the owners or the data; owners, dropouts and
            colluders that leave no guarantee; an ε that cannot be met; a sum that could leave the
            ring.
    """
    if config.topology != "paired" and (hsi_features is None or hsi_features >= features):
        raise UsageError(
            f"topology {config.topology}: the data holds one modality",
            "give data of HSI and LiDAR, or use --topology paired",
        )
    draft = Plan(
        session=session.hex(),
        config_digest=config_digest(config),
        owners=owners,
        topology=config.topology,
        holds=config.holds_for(len(owners)),
        hsi_features=None if config.topology == "paired" else hsi_features,
        dropouts=config.dropouts,
        colluders=config.colluders_for(len(owners)),
        aggregation=config.aggregation,
        custodian=CUSTODIAN if config.custodian else None,
        key_agreement=config.key_agreement,
        rounding=config.rounding,
        ring_bits=config.ring_bits,
        noise=config.noise_mode,
        mechanism=config.mechanism,
        epsilon=config.epsilon if config.is_private else None,
        delta=config.delta,
        tile=tile,
        classes=classes,
        features=features,
        rounds=config.rounds,
        attempts=config.rounds + (config.spare_attempts if config.is_private else MOST_SPARE),
        sampling_rate=config.sampling_rate,
        clip=config.clip_norm,
        scale=gradient_grid(config.clip_norm, classes * features).scale,
        noise_multiplier=0.0,
        train_share_std=0.0,
        count_share_std=None if config.nominal_tiles is not None else 0.0,
        mean_share_std=None if blocks is None else 0.0,
        class_share_std=0.0 if config.releases_class_means and blocks is not None else None,
        nominal_tiles=config.nominal_tiles,
        blocks=blocks,
        prior=None if adapter is None else Adaptation(adapter, config.prior_rounds, CLIP, 0.0),
    )
    try:
        draft.policy  # noqa: B018  # refuses numbers that leave no honest share
        plan = _with_noise(draft, config) if draft.epsilon is not None else draft
    except PolicyError as error:
        raise UsageError(
            str(error), "raise --owners, or lower --colluders or --dropouts"
        ) from error
    except PrivacyError as error:
        raise UsageError(str(error), "change --epsilon, --rounds or --sampling-rate") from error
    check_room(plan, plan.nominal_tiles or 1)
    return plan


def _with_noise(draft: Plan, config: RunConfig) -> Plan:
    """The plan with the least noise that keeps its calibrated row at the target."""
    target = draft.epsilon
    assert target is not None
    shares = draft.calibrated_shares
    if draft.count_share_std is not None:
        alone = count_noise_multiplier(target, draft.delta, config.count_fraction)
        count = share_std(alone, shares)
        draft = replace(draft, count_share_std=max(LEAST_STD, count))
    if draft.prior is not None:
        a_round = config.prior_fraction / draft.prior.rounds  # of μ², which adds up over rounds
        alone = phase_noise_multiplier(target, draft.delta, a_round)
        share = max(LEAST_STD, share_std(alone * draft.grid("prior").sensitivity, shares))
        draft = replace(draft, prior=replace(draft.prior, share_std=share))
    if draft.mean_share_std is not None:
        alone = phase_noise_multiplier(target, draft.delta, config.mean_fraction)
        mean = share_std(alone * draft.grid("mean").sensitivity, shares)
        draft = replace(draft, mean_share_std=max(LEAST_STD, mean))
    if draft.class_share_std is not None:
        alone = phase_noise_multiplier(target, draft.delta, config.class_fraction)
        means = share_std(alone * draft.grid("classes").sensitivity, shares)
        draft = replace(draft, class_share_std=max(LEAST_STD, means))

    def with_multiplier(z: float) -> Plan:
        share = share_std(z * draft.train_grid.sensitivity, shares)
        return replace(draft, noise_multiplier=z, train_share_std=share)

    found = calibrate(
        lambda z: with_multiplier(z).events(),
        shares=shares,
        target=target,
        delta=draft.delta,
    )
    return with_multiplier(found.noise_multiplier)


def check_room(plan: Plan, tiles: int) -> None:
    """Refuse a plan in which `tiles` tiles (a public number) could leave the ring.

    Raises:
        UsageError: naming the number of tiles that fits.
    """
    grid = plan.train_grid
    room = plan.coordinate_bound("train")
    fits = int(room * len(plan.owners) / (grid.scale * plan.clip))
    if tiles > fits:
        raise UsageError(
            f"{tiles} tiles do not fit the {grid.ring_bits}-bit ring with this noise (at most "
            f"{fits})",
            "raise --epsilon, or use larger tiles",
        )
