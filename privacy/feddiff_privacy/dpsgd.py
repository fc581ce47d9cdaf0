"""Clipped per-tile gradients of any torch module, for what has no closed form (the U-Net).

Every tile's gradient is computed apart (`torch.func.vmap` of `grad`, no hooks into the module),
clipped to norm C, and summed. As for the linear head (`clipping.py`): the gradients of all that a
tile holds are summed or averaged inside its loss, then clipped once; noise and augmentation
multiplicity average inside the loss too, where they cost no privacy (Dockhorn et al. 2022, arXiv
2210.09929); a tile whose gradient is not finite counts as zero.

No noise is added here: the sum goes onto the integer grid and gets its noise share like any other
(`noise.py`), not float noise in an optimiser. Norms, factors and the sum are float64, so that no
tile exceeds C by rounding. BatchNorm is refused: it mixes the tiles of a batch, and then no
tile's influence ends at its own gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from feddiff_privacy.errors import MechanismError

_MARGIN = 1 - 1e-12  # a clipped norm may not exceed C by float64 rounding

Call = Callable[..., Tensor]
TileLoss = Callable[..., Tensor]
"""(call, *tile) → scalar, where `call` is the module and `tile` the tensors of one tile."""


def clipped_gradient_sum(
    module: nn.Module,
    tile_loss: TileLoss,
    tiles: Sequence[Tensor],
    *,
    clip: float,
    chunk: int = 32,
) -> Tensor:
    """Σ over tiles of clip_C(∇ of the tile's loss), over all parameters that require a gradient.

    Args:
        module: in evaluation mode where it has dropout; without BatchNorm.
        tile_loss: the loss of one tile. It must use the module through `call` alone, and take
            randomness (time steps, noise) from `tiles`, not from a generator.
        tiles: tensors whose first axis is the tile, all of the same length.
        clip: C > 0.
        chunk: tiles at once; memory is chunk × parameters × 4 bytes.

    Returns:
        float64 (parameters,), in the order of `module.named_parameters()`.

    Raises:
        MechanismError: a clip that is not finite and positive, BatchNorm, no tensors, tensors of
            different lengths, or no parameter that requires a gradient.
    """
    _check(module, tiles, clip)
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    fixed = {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}
    fixed |= {name: b.detach() for name, b in module.named_buffers()}
    total = torch.zeros(sum(p.numel() for p in trained.values()), dtype=torch.float64)

    def loss(parameters: dict[str, Tensor], *tile: Tensor) -> Tensor:
        def call(*inputs: Tensor) -> Tensor:
            out: Tensor = functional_call(module, (parameters, fixed), inputs)
            return out

        return tile_loss(call, *tile)

    per_tile = vmap(grad(loss), in_dims=(None, *(0,) * len(tiles)))
    for start in range(0, len(tiles[0]), chunk):
        part = [tensor[start : start + chunk] for tensor in tiles]
        gradients = list(per_tile(trained, *part).values())
        _add_clipped(total, gradients, clip)
    return total


def _add_clipped(total: Tensor, gradients: Sequence[Tensor], clip: float) -> None:
    """Add the clipped gradients of a chunk; each tensor is (tiles, *shape of a parameter)."""
    flat = [gradient.reshape(len(gradient), -1) for gradient in gradients]
    squares = [torch.linalg.vector_norm(g, dim=1, dtype=torch.float64).square() for g in flat]
    norms = torch.stack(squares).sum(dim=0).sqrt()
    finite = torch.isfinite(norms)
    factors = torch.clamp(clip / norms.clamp(min=1e-300), max=1.0) * _MARGIN
    factors = torch.where(finite, factors, torch.zeros_like(factors))
    at = 0
    for g in flat:
        # A tile that counts as zero may hold NaN, and 0 · NaN is NaN.
        clean = g if bool(finite.all()) else torch.where(finite[:, None], g, torch.zeros_like(g))
        total[at : at + g.shape[1]] += factors @ clean.to(torch.float64)
        at += g.shape[1]


def _check(module: nn.Module, tiles: Sequence[Tensor], clip: float) -> None:
    if not (clip > 0 and clip < float("inf")):
        raise MechanismError(f"the clip must be finite and above 0, got {clip}")
    for name, child in module.named_modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            raise MechanismError(
                f"{name or 'the module'} is BatchNorm, which mixes the tiles of a batch: no "
                "tile's influence is bounded by its own gradient then; use GroupNorm"
            )
    if not any(p.requires_grad for p in module.parameters()):
        raise MechanismError("no parameter of the module requires a gradient")
    lengths = {len(tensor) for tensor in tiles}
    if len(lengths) != 1:
        raise MechanismError(f"tensors of {sorted(lengths)} tiles; all need the same number")
