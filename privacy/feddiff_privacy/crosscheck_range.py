"""When two accountants agree: apart from the code of the one that needs torch."""

from __future__ import annotations

LEAST_DIFFERENCE = 0.0
MOST_DIFFERENCE = 0.02


def agrees(difference: float) -> bool:
    """Whether PRV less PLD is what their error bounds allow."""
    return LEAST_DIFFERENCE <= difference <= MOST_DIFFERENCE
