"""What a plan would take out of this node, for the person who approves or rejects it.

Everything here follows from the plan and this owner's own ledger; no datum is read. The JSON object
has fixed keys; the Markdown page says the same in words.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from feddiff_crypto.he.parameters import DEGREE, EncryptedPlan
from feddiff_crypto.he.seal_format import SEED_BYTES
from feddiff_privacy.ledger.admission import admission_rule, left
from feddiff_privacy.ledger.balance import Balance
from feddiff_privacy.ledger.entries import Reserve
from feddiff_privacy.ledger.errors import BudgetRefusedError
from feddiff_privacy.ledger.reading import spent_epsilon
from feddiff_secure.federation.adversaries import adversaries
from feddiff_secure.federation.disclosure import mechanism_in_words
from feddiff_secure.federation.plan import Plan

FORMAT = "feddiff-secure release"
VERSION = 1


def release(plan: Plan, owner: str, balance: Balance) -> dict[str, Any]:
    """What this owner would release under a plan; infinite numbers are null.

    Args:
        plan: the plan offered, checked.
        owner: this owner.
        balance: of its ledger, before.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "plan": plan.digest().hex(),
        "config": plan.config_digest,
        "owner": owner,
        "owners": list(plan.owners),
        "aggregation": plan.aggregation,
        "mechanism": mechanism_in_words(plan),
        "releases": [_phase(plan, owner, phase) for phase in plan.phases],
        "delta": plan.delta,
        "epsilon": [
            {
                "towards": row.name,
                "add_remove": _finite(row.epsilon),
                "replace_one": _finite(row.epsilon_replace),
                "assumption": row.assumption,
            }
            for row in adversaries(plan, plan.events())
        ],
        "who_gets_what": _recipients(plan),
        "budget": _budget(plan, balance),
    }


def fits(shown: dict[str, Any]) -> bool:
    """Whether the ledger has room for what a release shows."""
    return bool(shown["budget"]["fits"])


def _phase(plan: Plan, owner: str, phase: str) -> dict[str, Any]:
    noise = np.asarray(plan.owner_noise(owner, phase))
    return {
        "phase": phase,
        "attempts": plan.most_attempts(phase),
        "coordinates": plan.grid(phase).dimension,
        "noise_share": {"least": float(noise.min()), "most": float(noise.max())},
        "sensitivity": plan.grid(phase).sensitivity,
        "vector_bytes": _vector_bytes(plan, phase),
    }


def _vector_bytes(plan: Plan, phase: str) -> int:
    """Bytes of numbers in the vector that leaves in one attempt."""
    dimension = plan.grid(phase).dimension
    if plan.aggregation != "encrypted":
        return dimension * plan.ring_bits // 8
    chunks = EncryptedPlan(len(plan.owners), dimension).chunks
    # A ciphertext under the owners' key carries one polynomial and the seed of the other.
    return chunks * (2 * DEGREE * 8 if plan.custodian else DEGREE * 8 + SEED_BYTES)


def _recipients(plan: Plan) -> list[dict[str, str]]:
    sum_of = "the noised sum over all owners, each attempt"
    if plan.aggregation == "plain":
        rows = [("coordinator", "this owner's noised vector by itself, each attempt")]
    elif plan.aggregation == "masked":
        rows = [("coordinator", f"a masked vector, uniform by itself; {sum_of}; the model")]
    elif plan.custodian:
        rows = [
            ("coordinator", "a masked vector inside a ciphertext, each attempt"),
            (plan.custodian, f"{sum_of}, decrypted"),
        ]
    else:
        rows = [("coordinator", "a masked vector inside a ciphertext, each attempt")]
    if plan.aggregation == "encrypted":
        rows.append(("other owners", f"{sum_of}, and the model that follows from it"))
    else:
        rows.append(("other owners", "the model each round, from which the sums follow"))
    if plan.aggregation != "plain":
        rows.append(("other owners", "sealed shares of this owner's mask secrets, each attempt"))
    rows.append(("readers of the transcript", "the vectors and sums above, until they are pruned"))
    return [{"who": who, "what": what} for who, what in rows]


def _budget(plan: Plan, balance: Balance) -> dict[str, Any]:
    header, events = balance.header, tuple(plan.events())
    before = left(balance)
    entry = {
        "lifetime_epsilon": header.lifetime_epsilon,
        "delta": header.delta,
        "holding": header.holding,
        "spent_before": _finite(spent_epsilon(balance)[0]),
        "left_before": before,
    }
    try:
        rule = admission_rule(balance, events, plan.calibrated_shares)
    except BudgetRefusedError:
        return {**entry, "fits": False, "left_after": before}
    after = copy.deepcopy(balance)
    taken = Reserve(plan.digest().hex(), events, plan.calibrated_shares, "0" * 64, rule)
    after.apply(taken, max(after.reservations, default=0) + 1)
    return {**entry, "fits": True, "left_after": left(after)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def in_words(shown: dict[str, Any]) -> str:
    """The Markdown page of a release."""
    budget = shown["budget"]
    lines = [
        f"# What {shown['owner']} would release",
        "",
        (
            f"Plan `{shown['plan']}`, configuration `{shown['config']}`; "
            f"{len(shown['owners'])} owners: {', '.join(shown['owners'])}. "
            f"Aggregation: {shown['aggregation']}."
        ),
        "",
        shown["mechanism"],
        "",
        "| phase | attempts at most | coordinates | own noise (grid units) | bytes an attempt |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {row['phase']} | {row['attempts']} | {row['coordinates']} | "
            f"{_span(row['noise_share'])} | {row['vector_bytes']} |"
            for row in shown["releases"]
        ),
        "",
        f"ε at δ = {shown['delta']:g}, for one tile of this owner, after all attempts:",
        "",
        "| towards | add or remove | replace | rests on |",
        "|---|---:|---:|---|",
        *(
            f"| {row['towards']} | {_number(row['add_remove'])} | {_number(row['replace_one'])} | "
            f"{row['assumption']} |"
            for row in shown["epsilon"]
        ),
        "",
        "| who | gets |",
        "|---|---|",
        *(f"| {row['who']} | {row['what']} |" for row in shown["who_gets_what"]),
        "",
        (
            f"Budget of {budget['holding']}: lifetime ε {_limit(budget['lifetime_epsilon'])} at "
            f"δ = {budget['delta']:g}; spent {_number(budget['spent_before'])}; left "
            f"{_limit(budget['left_before'])}, after this plan {_limit(budget['left_after'])}."
        ),
        "",
        (
            f"Approve with `feddiff-secure node approve {shown['plan']}`, or reject with "
            f"`feddiff-secure node reject {shown['plan']}`. Nothing has left this node for the "
            "plan, and nothing is reserved."
        ),
        "",
    ]
    return "\n".join(lines)


def _span(noise: dict[str, float]) -> str:
    if noise["least"] == noise["most"]:
        return f"{noise['least']:.4g}"
    return f"{noise['least']:.4g} to {noise['most']:.4g}"


def _number(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.4g}"


def _limit(value: float | None) -> str:
    return "without limit" if value is None else f"{value:.4g}"
