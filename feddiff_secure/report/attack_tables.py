"""The tables of an attack's results that a page shows open; everything else is folded under them.

Results come from files: a table has the rows whose cells are all there, as numbers or words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class AttackTable:
    """One table.

    Attributes:
        title: in words. heads: of the columns.
        rows: paths of the cells, within the result.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Columns = tuple[tuple[str, str], ...]  # (path within a row, its heading)

_KNOWN: Final[tuple[tuple[str, str, Columns], ...]] = (
    (
        "lower_bounds",
        "Shown by guessing canaries: ε is at least",
        (
            ("method", "method"),
            ("epsilon", "ε at least"),
            ("ceiling", "ceiling"),
            ("confidence", "confidence"),
            ("guesses", "guesses"),
            ("right", "right"),
        ),
    ),
    (
        "estimate",
        "Estimated, which is no bound",
        (
            ("method", "method"),
            ("epsilon", "ε, estimated"),
            ("epsilon_lower_limit", "one-sided limit"),
            ("mu", "distance μ"),
            ("mu_standard_error", "its error"),
        ),
    ),
    (
        "membership_inference",
        "Who is in the training data: 0.5 is chance",
        (
            ("attack", "attack"),
            ("auc", "AUC"),
            ("auc_interval/0", "from"),
            ("auc_interval/1", "to"),
            ("tpr_at_1_percent_fpr", "TPR at 1% FPR"),
        ),
    ),
    (
        "attacks",
        "Tiles reconstructed and looked for among others",
        (
            ("observed", "what was observed"),
            ("identified", "identified"),
            ("chance", "by chance"),
            ("interval/0", "from"),
            ("interval/1", "to"),
            ("verdict", "that is"),
        ),
    ),
)


def attack_tables(content: dict[str, Any]) -> list[AttackTable]:
    """The tables that a result has.

    Args:
        content: the object of an attack's file.
    """
    found = []
    for name, title, columns in _KNOWN:
        value = content.get(name)
        rows = [f"{name}/{i}" for i in range(len(value))] if isinstance(value, list) else [name]
        cells = [tuple(f"{row}/{path}" for path, _ in columns) for row in rows]
        whole = tuple(row for row in cells if all(_is_cell(content, path) for path in row))
        if whole:
            found.append(AttackTable(title, tuple(head for _, head in columns), whole))
    return found


def _is_cell(content: Any, path: str) -> bool:
    value = content
    for part in path.split("/"):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return False
    return not isinstance(value, dict | list)
