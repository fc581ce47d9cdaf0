"""What an owner checks for itself before it takes part in a plan.

1. The policy leaves at least one honest noise share, and two sums cannot be had.
2. Noise and aggregation fit each other: single updates are never shown with a share of noise.
3. The grid is the one whose sensitivity was proven.
4. An encrypted plan is one for which sums are exact; only such a plan names a custodian.
5. The count of tiles, the adapter and the mean of ψ, where there are any, are noised, and the
   layout of ψ is one; an adapter comes with neither encrypted sums nor split.
6. Keys are agreed on only where there are masks, in a way that this machine has.
7. Who holds what is said for every owner, with a holder of each modality; what a single holder
   adds follows from the noise share and needs no number of its own.
8. The noise share is sized for the honest shares that remain, not for all owners: the ε of the
   calibrated row, recomputed here for the most attempts an owner answers, is within the target.
"""

from __future__ import annotations

from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.mlkem import require_mlkem
from feddiff_privacy.accountant import epsilon
from feddiff_privacy.calibrate import LEAST_FRACTION
from feddiff_privacy.noise import LEAST_STD
from feddiff_secure.aggregation.centring import check_blocks
from feddiff_secure.federation.plan import Plan


def check_plan(plan: Plan) -> None:
    """Refuse a plan whose numbers do not give the guarantee it names.

    Raises:
        PolicyError, LimitError: steps 1 and 4.
        HybridUnavailableError: step 6, on a machine without ML-KEM-768.
        ValueError: any other step.
        PrivacyError: events that no accountant knows.
    """
    plan.policy.require("honest shares", plan.policy.threshold)  # 1: its constructor refuses
    if plan.aggregation == "plain" and plan.noise == "distributed":  # 2
        raise ValueError("plain aggregation with distributed noise")
    if (plan.epsilon is None) != (plan.noise == "none"):
        raise ValueError(f"noise {plan.noise} with target epsilon {plan.epsilon}")
    if plan.scale != plan.train_grid.scale:  # 3
        raise ValueError(f"scale {plan.scale}, not {plan.train_grid.scale}")
    _check_aggregation(plan)  # 4, 6
    if plan.attempts < plan.rounds:
        raise ValueError(f"{plan.attempts} attempts for {plan.rounds} rounds")
    if (plan.count_share_std is None) == (plan.nominal_tiles is None):  # 5
        raise ValueError("tiles are either counted or nominal")
    _check_mean(plan)
    _check_class_means(plan)
    _check_prior(plan)
    _check_holdings(plan)  # 7
    if plan.epsilon is None:
        return
    if plan.count_share_std is not None and plan.count_share_std < LEAST_STD:
        raise ValueError(f"count share {plan.count_share_std} is below {LEAST_STD}")
    if plan.mean_share_std is not None and plan.mean_share_std < LEAST_STD:
        raise ValueError(f"mean share {plan.mean_share_std} is below {LEAST_STD}")
    if plan.class_share_std is not None and plan.class_share_std < LEAST_STD:
        raise ValueError(f"class share {plan.class_share_std} is below {LEAST_STD}")
    realised = epsilon(plan.events(), shares=plan.calibrated_shares, delta=plan.delta)  # 8
    if not LEAST_FRACTION * plan.epsilon <= realised <= plan.epsilon:
        raise ValueError(f"epsilon is {realised}, not {plan.epsilon}")


def _check_aggregation(plan: Plan) -> None:
    """Steps 4 and 6."""
    if plan.aggregation == "encrypted":
        EncryptedPlan(len(plan.owners), plan.train_grid.dimension, plan.ring_bits)
        if plan.custodian in plan.owners:
            raise ValueError(f"the custodian {plan.custodian} is an owner")
    elif plan.custodian is not None:
        raise ValueError(f"a custodian with aggregation {plan.aggregation}")
    if plan.agreement is KeyAgreement.HYBRID:
        if plan.aggregation == "plain":
            raise ValueError("hybrid key agreement with aggregation plain")
        require_mlkem()


def _check_mean(plan: Plan) -> None:
    """Step 5, of the mean."""
    if (plan.mean_share_std is None) != (plan.blocks is None):
        raise ValueError("the mean has noise and a layout, or neither")
    if plan.blocks is None:
        return
    check_blocks(plan.blocks, plan.features)
    hsi = sum(block.columns for block in plan.blocks if block.modality == "hsi")
    if plan.hsi_features is not None and hsi != plan.hsi_features:
        raise ValueError(f"{hsi} columns of HSI in the blocks, not {plan.hsi_features}")


def _check_class_means(plan: Plan) -> None:
    """Step 5, of the class means."""
    if plan.class_share_std is not None and (plan.blocks is None or plan.topology != "split"):
        raise ValueError(f"class means with topology {plan.topology}, or without the mean")


def _check_prior(plan: Plan) -> None:
    """Step 5, of the adapter."""
    if plan.prior is None:
        return
    if plan.aggregation == "encrypted" or plan.topology == "split":
        raise ValueError(f"an adapter with {plan.aggregation} sums, topology {plan.topology}")
    if plan.epsilon is not None and plan.prior.share_std < LEAST_STD:
        raise ValueError(f"prior share {plan.prior.share_std} is below {LEAST_STD}")


def _check_holdings(plan: Plan) -> None:
    """Step 7."""
    given = (plan.holds is not None, plan.hsi_features is not None)
    if given != ((plan.topology != "paired"),) * 2:
        raise ValueError(f"holds or columns do not go with topology {plan.topology}")
    holdings = plan.holdings
    if holdings is None:
        return
    if len(holdings.holds) != len(plan.owners):
        raise ValueError(f"{len(holdings.holds)} entries of holds for {len(plan.owners)} owners")
    if holdings.hsi_features >= plan.features:
        raise ValueError(f"{holdings.hsi_features} columns of {plan.features} are HSI's")
    if plan.topology == "split" and "both" in holdings.holds:
        raise ValueError("an owner of both modalities in split")
    for modality in ("hsi", "lidar"):
        if not holdings.holders(modality):
            raise ValueError(f"no holder of {modality}")
