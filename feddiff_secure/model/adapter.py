"""The adapter: a few public-size numbers that change the shipped HSI branch, and nothing else.

Behind the second normalisation of every ResBlock, where the time step already acts by FiLM, the
adapter scales and shifts each channel once more:

    h ← (1 + s_c) · norm_out(h) + d_c        (FiLM: Perez et al., arXiv 1709.07871, eq. 3)

All else of the branch stays as shipped, and zeros leave every number of it as it is. As the change
is affine in what an affine normalisation gives, it is folded into that one's own weight and bias:
an adapted branch is a plain `UNet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.branch_config import BranchConfig

if TYPE_CHECKING:
    from torch import nn

    from feddiff_secure.model.prior import Prior
    from feddiff_secure.model.unet import UNet

ADAPTED = "hsi"
"""The modality whose branch is adapted."""


def adapter_size(config: BranchConfig) -> int:
    """Numbers in the adapter of a branch of this shape: a scale and a shift a channel."""
    return 2 * (sum(config.widths) + config.widths[-1] + sum(config.widths[:-1]))


def modulated_norms(branch: UNet) -> Iterator[nn.Module]:
    """The normalisations that the adapter acts behind, in its order: down, middle, up."""
    for block in (*branch.down, branch.middle, *branch.up):
        norm = block.norm_out
        assert not isinstance(norm, bool)
        yield norm


def adapted_prior(prior: Prior, values: npt.NDArray[np.float64]) -> Prior:
    """The prior with its branch adapted; digest and provenance stay those of the shipped file.

    Args:
        prior: the shipped one.
        values: (P,), for each normalisation its scales, then its shifts.

    Raises:
        ValueError: another number of values than the branch has.
    """
    import torch  # noqa: PLC0415 - torch is loaded only where it is needed

    if values.shape != (adapter_size(prior.branch.config),):
        raise ValueError(f"an adapter of shape {values.shape} for another branch")
    branch, start = deepcopy(prior.branch), 0
    for norm in modulated_norms(branch):
        weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
        width = weight.numel()
        both = torch.tensor(values[start : start + 2 * width], dtype=torch.float32)
        scale, shift = both[:width], both[width:]
        weight.copy_(weight * (1.0 + scale))
        bias.copy_(bias * (1.0 + scale) + shift)
        start += 2 * width
    return replace(prior, branch=branch)
