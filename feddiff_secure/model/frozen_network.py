"""The networks that ψ is computed with, and what is said of where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrozenNetwork:
    """A network that ψ is computed with and whose weights no run trains.

    Attributes:
        name: its kind and the beginning of its digest.
        provenance: what its file says it was trained on.
    """

    name: str
    provenance: str


def provenance_lines(networks: Sequence[FrozenNetwork], adapted: str | None = None) -> list[str]:
    """What every network says it was trained on, one line each.

    Args:
        networks: the networks.
        adapted: the modality whose branch the run adapts, which its line then says.
    """
    mark = f"{adapted} branch"
    return [
        f"{network.name}: {network.provenance}"
        + ("; adapted in this run (phase prior)" if network.name.startswith(mark) else "")
        for network in networks
    ]
