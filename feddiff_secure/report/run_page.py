"""`report.html` of one run: what it reached, what it guarantees, what it drew. One file, offline.

Its numbers are those of `metrics.json` and `privacy.json` beside it; the confusion matrix and the
pictures are made without noise and lie outside ε, as these do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.federation.prepare import Prepared
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.charts import class_chart, confusion_chart
from feddiff_secure.report.map_panels import map_panels
from feddiff_secure.report.page import legend, render

PAGE: Final = "report.html"
_MOST_CONFUSED: Final = 30  # classes
_MOST_PANELS: Final = 2_500_000  # bytes: a page that is too large must not cost a finished run


def run_page(
    metrics: Mapping[str, Any],
    privacy: Mapping[str, Any],
    setting: Mapping[str, Any],
    *,
    accuracy: Accuracy,
    prepared: Prepared,
    maps: list[NDArray[np.int16]],
) -> bytes:
    """The page of a run, of either profile.

    Args:
        metrics: the object of `metrics.json`. privacy: that of `privacy.json`.
        setting: `topology`, `aggregation`, `noise` and `releases`.
        accuracy: on the test pixels.
        prepared: the data. maps: its predicted labels.

    Raises:
        ValueError: larger than 5 MB.
    """
    tested = None
    if prepared.test_is_part:
        inside = [np.ones(block.label.shape, dtype=np.bool_) for block in prepared.test]
        tested = prepared.test.paint(inside, np.bool_(False))
    classes = list(accuracy.classes)
    confusion = None
    if len(classes) <= _MOST_CONFUSED:
        counts = accuracy.confusion.tolist()
        confusion = confusion_chart(classes, counts, "what is taken for what", "confusion")
    panels = map_panels(prepared.dataset, maps, tested=tested)
    if sum(map(len, panels.values())) > _MOST_PANELS:
        panels = {}  # map.png has it
    return render(
        "run_report.html.j2",
        {
            "metrics": metrics,
            "privacy": privacy,
            "setting": setting,
            "seconds": round(sum(metrics["seconds"].values()), 1),
        },
        by_class=class_chart(classes, [("recall", metrics["per_class"])], "classes"),
        confusion=confusion,
        panels=panels,
        legend=legend(classes),
    ).encode()
