"""The paper profile in the configuration: its own defaults, and the refusal of all it ignores.

FedDiff as published has eight clients, four of HSI and four of LiDAR, on label-skewed parts of one
ground, and neither noise nor secure aggregation. An option that would have no effect is refused,
so that nobody believes in a protection that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from feddiff_secure.errors import UsageError

NO_GUARANTEE = "no privacy guarantee"
"""What every output of the profile carries."""

PAPER_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "epsilon": float("inf"),
        "owners": 8,
        "partition": "dirichlet:0.5",
        "topology": "split",
        "aggregation": "plain",
    }
)
"""What the profile sets where nothing is given."""

FREE = frozenset(
    {"data", "test", "owners", "partition", "lidar_data", "tile", "profile", "rounds", "seed"}
)
"""What the profile takes from the user; every other field has one value."""


def with_profile_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the paper profile's own defaults where it is asked for."""
    if values.get("profile") != "paper":
        return dict(values)
    return {**PAPER_DEFAULTS, **values}


def check_paper(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse what the paper profile does not do.

    Args:
        values: all fields of a configuration of profile `paper`.
        defaults: the fields' general defaults.

    Raises:
        UsageError: naming the first field with a value the profile ignores.
    """
    if values["epsilon"] != float("inf"):
        raise UsageError(
            f"epsilon {values['epsilon']:g} with profile paper: FedDiff as published has no "
            "privacy guarantee",
            "leave out --epsilon, or use --profile private",
        )
    for name, value in values.items():
        allowed = PAPER_DEFAULTS.get(name, defaults[name])
        if name in FREE or value == allowed or (name == "noise" and value == "none"):
            continue
        raise UsageError(
            f"{name} {value} with profile paper: it would have no effect, features are exchanged "
            "as they are",
            f"leave out --{name.replace('_', '-')}, or use --profile private",
        )
    if values["owners"] % 2:
        raise UsageError(
            f"owners is {values['owners']} with profile paper",
            "give an even number: a holder of HSI and one of LiDAR for each ground",
        )
