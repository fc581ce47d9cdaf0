"""The privacy statement of a run, from its plan and what was released."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feddiff_crypto.hybrid import KeyAgreement
from feddiff_privacy.events import Event, NoisedSum
from feddiff_privacy.noise import TAIL_LOG2, share_sum_gap
from feddiff_privacy.statement import ACROSS, SIMULATED, AdversaryRow, CrossCheck, Statement
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.adversaries import CALIBRATED, adversaries, group_rows
from feddiff_secure.federation.disclosure import (
    RANDOM_SOURCE,
    accountant_in_words,
    data_accesses,
    libraries,
    mechanism_in_words,
    sampling,
)
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.topology_statement import (
    ground_row,
    topology_assumptions,
    topology_not_covered,
)
from feddiff_secure.version import __version__

SecondOpinion = Callable[[Plan, Sequence[Event], int, float], CrossCheck | None]


def privacy_statement(
    config: RunConfig,
    plan: Plan,
    events: Sequence[Event],
    *,
    tile: int,
    support: str,
    priors: Sequence[str],
    lifetime_epsilon: float,
    alignment: str | None = None,
    second_opinion: SecondOpinion,
    deployment: str = SIMULATED,
) -> Statement:
    """Account for what was released and say it.

    Args:
        config: the run's configuration.
        plan: the agreed plan.
        events: what was released.
        tile: side of a tile, pixels.
        support: the data's support, `pixel` or `neighbourhood`.
        priors: one line of provenance for each frozen branch.
        lifetime_epsilon: ε of an owner's ledger after the run, the largest over owners.
        alignment: in split, how two files were brought onto one grid, in words.
        second_opinion: what another accountant says. (It imports torch, so it is handed in: a
            verifier makes the same statement without it.)
        deployment: one of `DEPLOYMENTS`.
    """
    rows = adversaries(plan, events)
    headline = next(row for row in rows if row.name == CALIBRATED)
    return Statement(
        deployment=deployment,
        epsilon_target=plan.epsilon,
        epsilon=headline.epsilon,
        delta=plan.delta,
        unit=config.unit,
        tile=tile,
        mechanism=mechanism_in_words(plan),
        noise=plan.noise,
        aggregation=plan.aggregation,
        noise_multiplier=plan.noise_multiplier,
        sampling_rate=plan.sampling_rate,
        rounds=plan.rounds,
        owners=len(plan.owners),
        threshold=plan.policy.threshold,
        honest_shares=plan.policy.honest_shares,
        colluders=plan.colluders,
        dropouts=plan.dropouts,
        phases=events,
        cross_check=second_opinion(plan, events, headline.shares, headline.epsilon),
        adversaries=[
            AdversaryRow(row.name, row.epsilon, row.epsilon_replace, row.assumption) for row in rows
        ],
        calibrated_row=CALIBRATED,
        accountant=accountant_in_words(plan),
        groups=group_rows(plan, events),
        sampling=sampling(plan, events),
        data_accesses=data_accesses(plan, priors),
        random_source=RANDOM_SOURCE,
        libraries=libraries(),
        support=support,
        gaps=_gaps(plan, events),
        assumptions=[
            *_assumptions(plan, priors),
            *topology_assumptions(config, plan, alignment),
        ],
        not_covered=[*_not_covered(config, plan, deployment), *topology_not_covered(plan)],
        code_version=__version__,
        lifetime_epsilon=lifetime_epsilon,
        ground=ground_row(plan, events),
    )


def _gaps(plan: Plan, events: Sequence[Event]) -> dict[str, float]:
    """Statistical distances that (ε, δ) of the continuous Gaussian leaves out."""
    draws = sum(e.attempts * e.dimension for e in events if e.share_std > 0)
    if draws == 0:
        return {}
    sums = sum(
        e.attempts * e.dimension * share_sum_gap(e.share_std, len(plan.owners))
        for e in events
        if isinstance(e, NoisedSum)
    )
    return {
        "sum of discrete Gaussian shares against one (added to epsilon, at most)": 2 * sums,
        "range of the noise sampler (added to delta, at most)": draws
        * len(plan.owners)
        * 2.0**TAIL_LOG2,
    }


def _assumptions(plan: Plan, priors: Sequence[str]) -> list[str]:
    lines = [
        "Owners run this code as written; a data owner's own node is trusted with its data.",
        (
            "The class names and their number, the sensor layout and the configuration are public; "
            "where a file names no classes, their number is its largest label."
        ),
        "The operating system's random generator is secure; noise, sampling and keys use it alone.",
        (
            "Neighbouring data sets differ in one tile of one owner. Ground held by k owners is "
            "released k times (table of ground in several tiles)."
        ),
        *(f"{_saw_nothing(plan)}: {text}" for text in priors),
    ]
    if plan.aggregation == "encrypted":
        who = "a custodian" if plan.custodian else "the owners"
        lines.append(
            f"Sums are encrypted (CKKS) and decrypted by {who}: a coordinator that follows the "
            "protocol does not see them. No row counts on that; among owners the masks hold."
        )
    if plan.aggregation in {"masked", "encrypted"}:
        lines.append(
            "Identity keys are pinned out of band. In a simulated deployment they are made for the "
            "run and pinned to nobody."
        )
    if plan.nominal_tiles is not None:
        lines.append(f"The number of tiles, {plan.nominal_tiles}, is public by declaration.")
    return lines


def _saw_nothing(plan: Plan) -> str:
    if plan.prior is None:
        return "Frozen features saw no owner's data"
    return "No network saw an owner's data before this run"


def _not_covered(config: RunConfig, plan: Plan, deployment: str = SIMULATED) -> list[str]:
    lines = [
        (
            "Maps, pictures and test metrics of this run are computed from data without noise. "
            "They lie outside epsilon and belong to the owner of that data."
        ),
        "Choosing between runs by their results on private data.",
        (
            "What an owner's participation itself reveals: there is no owner-level guarantee, and "
            "differences between cohorts are bounded by the tile guarantee only."
        ),
        _over_runs(config, deployment),
        _after_the_masks(plan),
        "Honest inputs and liveness: an owner can send a wrong vector or stop a round.",
    ]
    if plan.noise == "none":
        return ["Everything: no noise was added.", *lines[:1]]
    return lines


def _over_runs(config: RunConfig, deployment: str) -> str:
    if deployment == ACROSS:
        return (
            "Other runs on the same data: each owner's node keeps a ledger of its own, and what it "
            "has spent in all is known to that owner alone. lifetime_epsilon is not stated."
        )
    if config.ledger is None:
        return (
            "Other runs on the same data: the ledger was new and lies in the run directory, so "
            "lifetime_epsilon is that of this run alone. With --ledger, runs share one budget."
        )
    return (
        f"Releases from the same ground that are not in the owners' ledgers of the holding "
        f"{config.holding}: other holdings, other owners, other tools. lifetime_epsilon is the "
        "largest epsilon over those ledgers after this run, towards the observer of the "
        "calibrated row."
    )


def _after_the_masks(plan: Plan) -> str:
    if plan.agreement is KeyAgreement.HYBRID:
        return (
            "Security after both X25519 and ML-KEM-768 are broken: recorded masked vectors can "
            "then be opened (row masks_broken). Post-quantum authentication: signatures are "
            "Ed25519, which protects rounds that were over before it is broken."
        )
    return (
        "Security after X25519 is broken: recorded masked vectors can then be opened (row "
        "masks_broken)."
    )
