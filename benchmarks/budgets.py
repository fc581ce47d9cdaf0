"""The targets of `budgets.toml`, read strictly."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("budgets.toml")
_KEYS: Final = frozenset({"name", "unit", "most", "least", "most_ratio"})


@dataclass(frozen=True)
class Budget:
    """One entry.

    Attributes:
        name: of the row. unit: of value and target.
        target: what the value is held against. at_least: whether it is the least, not the most.
        most_ratio: the most that the value may be of its peer or limit; None where there is none.
    """

    name: str
    unit: str
    target: float
    at_least: bool
    most_ratio: float | None


@cache
def budgets(path: Path = FILE) -> dict[str, Budget]:
    """Name → entry.

    Raises:
        ValueError: an unknown key, a wrong type, two targets or none, a name twice.
    """
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    if set(values) != {"row"}:
        raise ValueError(f"{path.name}: its tables are {sorted(values)}, not row")
    found: dict[str, Budget] = {}
    for entry in values["row"]:
        made = _budget(entry, path.name)
        if made.name in found:
            raise ValueError(f"{path.name}: {made.name} twice")
        found[made.name] = made
    return found


def _budget(entry: dict[str, Any], file: str) -> Budget:
    name = entry.get("name")
    if not isinstance(name, str) or not isinstance(entry.get("unit"), str) or set(entry) - _KEYS:
        raise ValueError(f"{file}: row {name!r} has keys {sorted(entry)}")
    if ("most" in entry) == ("least" in entry):
        raise ValueError(f"{file}: row {name} needs most or least, not both")
    for key in _KEYS & entry.keys() - {"name", "unit"}:
        value = entry[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise ValueError(f"{file}: row {name}: {key} is {value!r}")
    return Budget(
        name=name,
        unit=entry["unit"],
        target=float(entry["least"] if "least" in entry else entry["most"]),
        at_least="least" in entry,
        most_ratio=entry.get("most_ratio"),
    )
