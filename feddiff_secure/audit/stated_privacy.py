"""What `privacy.json` says to a data owner: read strictly, as words and numbers to be shown.

Whether it is true is step 5 of `verify`; this reads a file that may have been changed, so every
value is taken only in its type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from feddiff_secure.audit.verdict import StepFailedError, require
from feddiff_secure.transcript.files import read_bytes

PRIVACY: Final = "privacy.json"
_MOST_BYTES: Final = 1 << 20
_MOST_ROWS: Final = 100
_MOST_TEXT: Final = 4000  # characters

WHO: Final[Mapping[str, str]] = {
    "outsider": "anybody who gets the published model",
    "coordinator": "the coordinator, alone",
    "curious_owner": "one other owner, alone",
    "coordinator_and_colluders": "the coordinator together with colluding owners",
    "masks_broken": "whoever breaks the masks of recorded vectors one day",
}
"""Name of an adversary's row → who it is."""


def stated_privacy(directory: Path) -> dict[str, Any]:
    """The parts of the statement that a report shows; an ε that is infinite or not claimed is null.

    Raises:
        VerificationError: the file cannot be read.
        StepFailedError: it is not of its form.
    """
    data = read_bytes(directory / PRIVACY, _MOST_BYTES)
    stated = parse_object(data, PRIVACY)
    rows = _list(stated, "adversaries")
    return {
        "deployment": _text(stated, "deployment"),
        "epsilon": _number(stated, "epsilon"),
        "delta": _number(stated, "delta"),
        "unit": _text(stated, "unit"),
        "tile": _number(stated, "tile"),
        "noise": _text(stated, "noise"),
        "mechanism": _text(stated, "mechanism"),
        "noise_multiplier": _number(stated, "noise_multiplier"),
        "lifetime_epsilon": _number(stated, "lifetime_epsilon"),
        "levels": {
            name: _number(_object(stated, "levels"), name) for name in ("tile", "record", "pixel")
        },
        "adversaries": [
            {
                "name": _text(row, "name"),
                "who": WHO.get(_text(row, "name"), _text(row, "name")),
                "epsilon": _number(row, "epsilon"),
                "epsilon_replace_one": _number(row, "epsilon_replace_one"),
                "assumption": _text(row, "assumption"),
            }
            for row in rows
        ],
        "data_accesses": [
            {
                "what": _text(row, "what"),
                "covered": row.get("covered") is True,
                "how": _text(row, "how"),
            }
            for row in _list(stated, "data_accesses")
        ],
        "assumptions": _texts(stated, "assumptions"),
        "not_covered": _texts(stated, "not_covered"),
    }


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object without NaN and infinities.

    Raises:
        StepFailedError: it is none; the message begins with `what`.
    """
    try:
        value = json.loads(data)
        json.dumps(value, allow_nan=False)  # it reads NaN, and 1e999 as infinity
    except (ValueError, RecursionError) as error:
        raise StepFailedError(f"{what} is not JSON: {str(error)[:80]}") from None
    if not isinstance(value, dict):
        raise StepFailedError(f"{what} is no object")
    return value


def _object(stated: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = stated.get(name)
    if not isinstance(value, dict):
        raise StepFailedError(f"{PRIVACY}: {name} is no object")
    return value


def _list(stated: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = stated.get(name)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise StepFailedError(f"{PRIVACY}: {name} is no list of objects")
    require(len(value) <= _MOST_ROWS, f"{PRIVACY}: {name} has {len(value)} > {_MOST_ROWS} rows")
    return value


def _number(stated: Mapping[str, Any], name: str) -> int | float | None:
    value = stated.get(name)
    if value is None or type(value) is int or type(value) is float:
        return value
    raise StepFailedError(f"{PRIVACY}: {name} is no number")


def _text(stated: Mapping[str, Any], name: str) -> str:
    value = stated.get(name)
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise StepFailedError(f"{PRIVACY}: {name} is no text of up to {_MOST_TEXT} characters")
    return value


def _texts(stated: Mapping[str, Any], name: str) -> list[str]:
    value = stated.get(name)
    if not isinstance(value, list) or len(value) > _MOST_ROWS:
        raise StepFailedError(f"{PRIVACY}: {name} is no list of up to {_MOST_ROWS} texts")
    return [_text({name: item}, name) for item in value]
