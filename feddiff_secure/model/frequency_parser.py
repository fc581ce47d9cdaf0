"""FedDiff's frequency-domain parser (FDP): FFT, a learnable complex parser, inverse FFT.

    y = x + F⁻¹( G ⊙ (W · F(GroupNorm(x))) )

F is the unitary real FFT over the spectral axis or over rows and columns. W is a complex 1×1
convolution over channels, G a complex transfer function over frequency, one a channel, given at a
few knots and interpolated, so that one set of weights serves every tile side from 1×1. The
authors' release (arXiv 2401.02433) casts the transform to real, convolves that alone and so loses
every phase; here real and imaginary parts are both parsed.

On the half spectrum of a real signal both parts count: the other half is its complex conjugate,
so Re W scales and Im W turns the phase (a Hilbert transform). What a real output cannot carry,
the imaginary part at frequencies that are their own conjugate, the inverse leaves out. (With a
full transform and `.real` at the end Im W would have no effect at all.) W starts at zero: a
branch that gains a parser computes what it did before.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from feddiff_secure.model.branch_config import GROUPS

KNOTS = 5  # of the transfer function between frequency 0 and 1/2, in cycles a sample


class FrequencyParser(nn.Module):
    """The parser of one level; residual, the identity at initialisation."""

    def __init__(self, axes: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        knots = (KNOTS,) if axes == 1 else (2 * KNOTS - 1, KNOTS)
        # The last axis holds real and imaginary part: stored tensors are real.
        self.mixing = nn.Parameter(torch.zeros(channels, channels, 2))
        ones, zeros = torch.ones(channels, *knots), torch.zeros(channels, *knots)
        self.transfer = nn.Parameter(torch.stack([ones, zeros], dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same shape."""
        return x + self.parse(self.norm(x))

    def parse(self, x: Tensor) -> Tensor:
        """F⁻¹(G ⊙ (W · F(x))): (B, C, *S) to the same shape, real."""
        axes = tuple(range(2, x.dim()))
        spectrum = torch.fft.rfftn(x, dim=axes, norm="ortho")
        mixing = torch.view_as_complex(self.mixing)
        parsed = torch.einsum("oc,bc...->bo...", mixing, spectrum)
        parsed = parsed * self.transfer_function(x.shape[2:])
        real: Tensor = torch.fft.irfftn(parsed, s=x.shape[2:], dim=axes, norm="ortho")
        return real

    def transfer_function(self, sides: torch.Size) -> Tensor:
        """G at the frequencies of a half spectrum: complex (C, L/2+1) or (C, h, w/2+1)."""
        columns = torch.fft.rfftfreq(sides[-1], dtype=torch.float64)
        last = _hats(columns, 0.0, KNOTS).to(self.transfer)
        if len(sides) == 1:
            values = torch.einsum("ckp,fk->cfp", self.transfer, last)
        else:
            rows = torch.fft.fftfreq(sides[0], dtype=torch.float64)
            first = _hats(rows, -0.5, 2 * KNOTS - 1).to(self.transfer)
            values = torch.einsum("cjkp,rj,fk->crfp", self.transfer, first, last)
        return torch.view_as_complex(values.contiguous())


def _hats(frequencies: Tensor, first: float, knots: int) -> Tensor:
    """(F, knots) weights of linear interpolation between even knots on first…1/2."""
    at = (frequencies - first) / (0.5 - first) * (knots - 1)
    return (1.0 - (at[:, None] - torch.arange(knots)).abs()).clamp_min(0.0)
