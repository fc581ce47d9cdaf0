"""One fixed colour a class, the same in every picture and file.

The first seven are the colours of M. Okabe and K. Ito, "Color universal design" (2008), the
next nine the "muted" scheme of P. Tol, "Colour schemes", SRON/EPS/TN/09-002 (2021); both are
chosen to stay apart for readers with a colour-vision deficiency. Beyond sixteen classes hues
advance by the golden angle, and only the legend's order tells close ones apart.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

OKABE_ITO = ("e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")
TOL_MUTED = (
    "332288",
    "88ccee",
    "44aa99",
    "117733",
    "999933",
    "ddcc77",
    "cc6677",
    "882255",
    "aa4499",
)
UNLABELLED = "f2f2f2"
GOLDEN_ANGLE = 0.381966  # of a turn


def class_colours(n_classes: int) -> NDArray[np.uint8]:
    """RGB of label 0 (unlabelled) and labels 1..n_classes, uint8 (n_classes + 1, 3)."""
    named = [_rgb(code) for code in (UNLABELLED, *OKABE_ITO, *TOL_MUTED)]
    for extra in range(n_classes + 1 - len(named)):
        lightness = (0.35, 0.5, 0.65)[extra % 3]
        red, green, blue = colorsys.hls_to_rgb(extra * GOLDEN_ANGLE % 1.0, lightness, 0.6)
        named.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(named[: n_classes + 1], dtype=np.uint8)


def map_colours(
    n_classes: int, colours: Sequence[tuple[int, int, int]] | None
) -> NDArray[np.uint8]:
    """`class_colours`, but for the classes those of the data where it has its own.

    Args:
        n_classes: number of classes.
        colours: RGB 0..255, one a class, or None.

    Raises:
        ValueError: not one colour a class.
    """
    table = class_colours(n_classes)
    if colours is not None:
        if len(colours) != n_classes:
            raise ValueError(f"{len(colours)} colours for {n_classes} classes")
        table[1:] = np.array(colours, dtype=np.uint8).reshape(-1, 3)
    return table


def _rgb(code: str) -> tuple[int, int, int]:
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)
