"""The run as an entry of a registry of differentially private deployments.

The fields follow the three transparency tiers of the Differential Privacy Deployments Registry
(OpenDP and NIST, 2025; registry.opendp.org, "Transparency Tiers"; schema: Nanayakkara, Ghazi and
Vadhan 2025, arXiv 2509.13509): what the deployment is; its flavour, unit, privacy loss and
deployment model; and data domain, unprotected quantities, accounting, implementation and
rationale. There is no published machine format yet, so this is a card in that order, not a file
the registry reads. What only the organisation knows (who it is, what the model is for, when it
was published) is null and named in `to_be_completed`.
"""

from __future__ import annotations

from typing import Any

from feddiff_privacy.statement import ACROSS, Statement, finite

CARD_VERSION = 1
TO_BE_COMPLETED = ("data_curator", "intended_use", "publication_date", "contact")


def deployment_card(statement: Statement) -> dict[str, Any]:
    """The object of `privacy_card.json`; every number is the statement's own."""
    return {
        "card_version": CARD_VERSION,
        "schema": "Differential Privacy Deployments Registry, transparency tiers 1 to 3",
        "to_be_completed": list(TO_BE_COMPLETED),
        "tier_1": _basics(statement),
        "tier_2": _guarantee(statement),
        "tier_3": _details(statement),
    }


def _basics(statement: Statement) -> dict[str, Any]:
    return {
        **dict.fromkeys(TO_BE_COMPLETED),
        "data_product": "land-cover classification model (a communication module of one matrix a "
        "modality over public features) from hyperspectral and LiDAR data of several owners",
        "data_product_type": "machine learning model",
        "status": "deployment" if statement.deployment == ACROSS else "simulation",
    }


def _guarantee(statement: Statement) -> dict[str, Any]:
    private = finite(statement.epsilon) is not None
    return {
        "dp_flavour": "approximate differential privacy (epsilon, delta)" if private else None,
        "privacy_unit": f"one {statement.unit} of side {statement.tile} of one owner",
        "neighbouring_relation": "add or remove one unit",
        "privacy_loss": {
            "epsilon": finite(statement.epsilon),
            "delta": statement.delta if private else None,
            "levels": statement.levels,
            "by_adversary": [
                {"adversary": row.name, "epsilon": finite(row.epsilon)}
                for row in statement.adversaries
            ],
        },
        "deployment_model": {
            "model": "local" if statement.noise == "local" else "distributed",
            "aggregation": statement.aggregation,
            "owners": statement.owners,
            "trust": f"at most {statement.colluders} owners collude with the coordinator and "
            f"{statement.dropouts} drop out",
        },
    }


def _details(statement: Statement) -> dict[str, Any]:
    check = statement.cross_check
    return {
        "data_domain": "tiles of co-registered hyperspectral and LiDAR pixels with land-cover "
        "labels",
        "unprotected_quantities": [row.what for row in statement.data_accesses if not row.covered],
        "not_covered": list(statement.not_covered),
        "accounting": {
            "accountant": statement.accountant,
            "composition": "joint, over all phases of one fixed plan",
            "releases": sum(event.attempts for event in statement.phases),
            "phases": [event.to_json() for event in statement.phases],
            "cross_check": None if check is None else check.accountant,
            "post_processing": "decoding, model update, averaging of iterates, prediction",
        },
        "implementation": {
            "mechanism": statement.mechanism,
            "noise_multiplier": statement.noise_multiplier,
            "sampling_rate": statement.sampling_rate,
            "random_source": statement.random_source,
            "software": f"feddiff-secure {statement.code_version}",
            "libraries": statement.libraries,
        },
        "rationale": {
            "unit": "a pixel enters many training patches, so a record protects little ground; "
            "the tile bounds all that one piece of one owner's ground contributes",
            "epsilon": "the row of the table that the noise is calibrated to assumes colluding "
            "owners and dropouts, so that weaker adversaries face more noise",
        },
        "assumptions": list(statement.assumptions),
    }
