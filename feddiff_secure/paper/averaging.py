"""Federated averaging of shared layers (McMahan et al., arXiv 1602.05629, algorithm 1).

In the authors' release the all-reduce acts on a temporary, so that shared layers drift apart. Here
every copy holds the mean afterwards, in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from feddiff_secure.errors import UsageError

BYTES_A_PARAMETER = 4  # float32 on the wire


@torch.no_grad()
def synchronise(copies: Sequence[nn.Module], weights: Sequence[float]) -> None:
    """Give every copy the weighted mean of all copies.

    Args:
        copies: modules of one shape.
        weights: not negative, one a copy, with a sum above 0 (examples an owner trained on).

    Raises:
        UsageError: weights that do not fit.
    """
    total = sum(weights)
    if len(weights) != len(copies) or min(weights, default=-1.0) < 0 or total <= 0:
        raise UsageError(
            f"{len(weights)} weights with a sum of {total:g} for {len(copies)} copies",
            "give one weight that is not negative for each copy, not all 0",
        )
    for same in zip(*(copy.parameters() for copy in copies), strict=True):
        mean = torch.zeros_like(same[0], dtype=torch.float64)
        for parameter, weight in zip(same, weights, strict=True):
            mean += parameter.double() * (weight / total)
        for parameter in same:
            parameter.copy_(mean)


def parameter_count(module: nn.Module) -> int:
    """Numbers that a module's owner sends when its layers are averaged."""
    return sum(parameter.numel() for parameter in module.parameters())
