"""The whole audit of one recorded run: canaries in a rerun, then membership by shadow runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feddiff_secure.attack.audit_report import AuditReport
from feddiff_secure.attack.canary_audit import assess, canary_scores
from feddiff_secure.attack.rerun import RecordedRun, load_material, same_plan
from feddiff_secure.attack.shadows import ATTACKED, MOST_POOL, membership_inference, pooled
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.progress import Progress


def attack_run(
    run: RecordedRun, *, canaries: int, shadows: int, seed: int, progress: Progress
) -> AuditReport:
    """Rerun and attack; nothing is written, nothing is charged to a budget, nothing published.

    Args:
        run: the recorded run.
        canaries: m, from 20 to the width of ψ.
        shadows: number of shadow models, even; 0 leaves membership inference out.
        seed: of canaries, coins and halves of the pool; never of keys or noise.
        progress: receives stages and steps.

    Raises:
        UsageError, DataError: numbers or data that cannot be audited.
        ProtocolAbortedError: a round could not be completed.
    """
    canary_rng, shadow_rng = np.random.default_rng(seed).spawn(2)
    material = load_material(run.config, progress)
    plan = same_plan(run, material)
    if plan.holdings is not None and not plan.holdings.held(plan.owners[0]).all():
        raise UsageError(
            f"kind canary with topology {run.config.topology}: canaries span both sensors, "
            f"{plan.owners[0]} holds one",
            "use --kind inversion, or attack a run of --topology paired",
        )
    progress.stage("canary rounds", plan.rounds)
    scores = canary_scores(
        plan, material.owners, canaries=canaries, rng=canary_rng, progress=progress
    )
    findings = assess(
        scores, claimed=run.epsilon, delta=run.delta, sampling_rate=plan.sampling_rate
    )
    membership = None
    if shadows:
        pool = pooled(material.owners, MOST_POOL, shadow_rng)
        half = sum(held.tiles for held in pool.values()) // 2
        progress.stage("shadow runs", shadows + ATTACKED)
        membership = membership_inference(
            material.plan(replace(run.config, nominal_tiles=half)),
            pool,
            shadows=shadows,
            rng=shadow_rng,
            progress=progress,
        )
    return AuditReport(run, seed, scores, findings, membership)
