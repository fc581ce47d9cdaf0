"""Sensor scaling by constants alone.

A minimum, maximum or mean of private data is a statistic outside the privacy budget, so values
are brought to a common range with numbers that are fixed before the data is seen:

* a `scale` given with the data multiplies (one number, or one a channel);
* without it, a float HSI is taken as reflectance (× 1) and an integer HSI as reflectance ×
  10,000 (× 1e-4), the convention of the NEON, PRISMA and Sentinel products;
* without it, LiDAR, whose units are unknown, goes through the fixed saturating map
  `f(x) = tanh(asinh(x) / 6)`: linear near 0, logarithmic over the decades of heights (metres)
  and intensities (16-bit counts), bounded by 1. It maps 2 → 0.24, 10 → 0.46, 30 → 0.59,
  1000 → 0.85 and 65,535 → 0.96.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

INTEGER_REFLECTANCE = 1e-4  # integer HSI: reflectance × 10,000
SATURATION_DECADES = 6.0  # asinh units; tanh(asinh(x) / 6) reaches 0.76 at x = 202

ScalingKind = Literal["factor", "saturating"]


@dataclass(frozen=True)
class Scaling:
    """How raw values became sensor units.

    Attributes:
        factors: one multiplier, or one a channel; empty means the fixed saturating map.
    """

    factors: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not all(np.isfinite(factor) and factor > 0 for factor in self.factors):
            raise ValueError("scale factors must be finite and positive")

    @property
    def kind(self) -> ScalingKind:
        """`factor`, or `saturating` where the units of the data are unknown."""
        return "factor" if self.factors else "saturating"

    def describe(self) -> str:
        """The rule in words, for `data inspect`."""
        if not self.factors:
            return "tanh(asinh(x) / 6)"
        if len(self.factors) == 1:
            return f"× {self.factors[0]:g}"
        return "× " + " ".join(f"{factor:.4g}" for factor in self.factors)

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Scales raw values (..., channels) to sensor units, float32, same shape.

        A value too large for float32 becomes infinite; the modality's own check refuses it.
        """
        with np.errstate(over="ignore"):
            scaled = raw.astype(np.float32)  # (..., C), always a copy
            if self.factors:
                scaled *= np.asarray(self.factors, dtype=np.float32)
                return scaled
        np.arcsinh(scaled, out=scaled)
        scaled /= np.float32(SATURATION_DECADES)
        return np.tanh(scaled, out=scaled)


SATURATING = Scaling(factors=())


def default_scaling(modality: str, raw_dtype: np.dtype[Any]) -> Scaling:
    """The rule for a modality whose data states no `scale` (see the module docstring)."""
    if modality == "lidar":
        return SATURATING
    return Scaling((INTEGER_REFLECTANCE,)) if raw_dtype.kind in "iu" else Scaling()
