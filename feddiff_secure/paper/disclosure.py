"""What a run of the paper profile says about privacy: that it has none, and what left each owner.

The object keeps the fields of a private run's statement, so that a program that reads ε finds
`null` and not a missing key.
"""

from __future__ import annotations

from typing import Any

from feddiff_secure.config.paper import NO_GUARANTEE
from feddiff_secure.paper.paper_run import PaperResult
from feddiff_secure.version import __version__

HEADLINE = f"{NO_GUARANTEE}: FedDiff as published, features are exchanged as they are"

_COMPRESSION = (
    "Low rank is compression. The factors multiply back to the features, and features to data: "
    "`feddiff-secure audit attack RUN --kind inversion --out FILE.json` measures how well."
)
_NOT_COVERED = (
    "Everything: no release of this run is noised, masked, encrypted or accounted for.",
    _COMPRESSION,
)


def disclosures(result: PaperResult) -> list[dict[str, Any]]:
    """What leaves an owner: what, to whom, how many bytes (mean over owners, whole run)."""
    traffic = result.traffic
    rounds = result.model.schedule.branch_rounds
    return [
        {
            "what": f"rank-{result.model.schedule.rank} factors of the features of every pixel of "
            "its tiles, labelled or not, at every timestep",
            "to": "the partner owner of its ground, and whoever relays or records them",
            "bytes": round(traffic.features),
        },
        {
            "what": f"its branch's parameters after each of {rounds} rounds of training on its "
            "tiles, and its number of tiles",
            "to": "the coordinator and, averaged, the owners of that sensor",
            "bytes": round(traffic.branch),
        },
        {
            "what": f"its head's parameters after each of {result.config.rounds} rounds, and its "
            "number of labelled pixels",
            "to": "the coordinator and, averaged, all owners",
            "bytes": round(traffic.head),
        },
        {
            "what": "the minimum and maximum of every channel of its data",
            "to": "the coordinator, the other owners and every recipient of the model",
            "bytes": round(traffic.ranges),
        },
    ]


def privacy_json(result: PaperResult) -> dict[str, Any]:
    """The object of `privacy.json`."""
    return {
        "version": 1,
        "code_version": __version__,
        "profile": "paper",
        "guarantee": NO_GUARANTEE,
        "deployment": None,
        "epsilon_target": None,
        "epsilon": None,
        "delta": None,
        "unit": None,
        "tile": result.prepared.tile,
        "adjacency": None,
        "mechanism": None,
        "noise": "none",
        "aggregation": "plain",
        "noise_multiplier": 0.0,
        "sampling_rate": 1.0,
        "rounds": result.config.rounds,
        "phases": [],
        "accountant": None,
        "cross_check": None,
        "adversaries": [],
        "levels": {"record": None, "tile": None, "pixel": None},
        "lifetime_epsilon": None,
        "assumptions": [],
        "discloses": disclosures(result),
        "not_covered": list(_NOT_COVERED),
    }


def privacy_markdown(result: PaperResult) -> str:
    """The text of `privacy.md`."""
    rows = [f"| {row['what']} | {row['to']} | {row['bytes']:,} |" for row in disclosures(result)]
    headline = (
        f"**{HEADLINE[0].upper()}{HEADLINE[1:]}.** ε is not claimed, for nobody and at no δ. "
        "This run is a baseline; do not use it on data that must stay private."
    )
    lines = [
        "# Privacy statement",
        "",
        headline,
        "",
        "## What left each owner",
        "",
        "| what | to whom | bytes an owner |",
        "|---|---|---|",
        *rows,
        "",
        "## What is not covered",
        "",
        *(f"- {line}" for line in _NOT_COVERED),
        "",
    ]
    return "\n".join(lines)
