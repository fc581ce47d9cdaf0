"""The page of a comparison of two benchmarks or runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feddiff_secure.report.bench_page import METRICS
from feddiff_secure.report.page import epsilon_text, render


def diff_page(content: Mapping[str, Any]) -> str:
    """The page.

    Args:
        content: the object of `report diff --json`.

    Raises:
        ValueError: larger than 5 MB.
    """
    return render("diff_report.html.j2", content, metrics=METRICS, epsilon_text=epsilon_text)
