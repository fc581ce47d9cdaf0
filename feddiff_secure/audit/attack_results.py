"""Results of `audit attack` in a folder: read strictly, shown as they are.

Their numbers are taken from the files: a report repeats no attack.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_secure.audit.stated_privacy import parse_object
from feddiff_secure.audit.verdict import StepFailedError
from feddiff_secure.errors import DataError, UsageError, VerificationError
from feddiff_secure.transcript.files import read_bytes

FORMAT: Final = 1
MOST_FILES: Final = 16
MOST_BYTES: Final = 1 << 18
MOST_DEPTH: Final = 6
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HINT: Final = "give the folder of what audit attack wrote, and nothing else"


@dataclass(frozen=True, slots=True)
class AttackResult:
    """One attack's outcome.

    Attributes:
        name: of its file. data: the file. content: its JSON object.
        picture: the PNG beside it; None where there is none.
    """

    name: str
    data: bytes
    content: dict[str, Any]
    picture: bytes | None

    def to_json(self) -> dict[str, Any]:
        """One object."""
        sha256 = hashlib.sha256(self.data).hexdigest()
        return {"file": self.name, "sha256": sha256, "content": self.content}


def read_attacks(folder: Path) -> list[AttackResult]:
    """The results in a folder, by name.

    Raises:
        UsageError: no folder. DataError: no result in it, or something that is none.
    """
    if not folder.is_dir():
        raise UsageError(f"attacks: {folder} is not a directory", _HINT)
    paths = sorted(folder.glob("*.json"))
    if not 1 <= len(paths) <= MOST_FILES:
        raise DataError(f"attacks: {folder} has {len(paths)} results, not 1 to {MOST_FILES}", _HINT)
    return [read_attack(path) for path in paths]


def read_picture(path: Path, most: int) -> bytes | None:
    """A PNG of at most `most` bytes; None where there is none, or it is larger, or something else.

    Only its first bytes are looked at: whoever shows it decodes it.
    """
    try:
        data = read_bytes(path, most)
    except VerificationError:
        return None
    return data if data.startswith(_PNG) else None


def read_attack(path: Path) -> AttackResult:
    """One result, with the picture of the same name beside it.

    Raises:
        DataError: something that is no result.
    """
    try:
        data = read_bytes(path, MOST_BYTES)
        content = parse_object(data, path.name)
    except (StepFailedError, VerificationError) as error:
        raise DataError(f"attacks: {error}", _HINT) from None
    claimed = content.get("claimed")
    if content.get("version") != FORMAT or not isinstance(claimed, dict):
        raise DataError(f"attacks: {path.name} is no result of audit attack, version 1", _HINT)
    if _depth(content) > MOST_DEPTH:
        raise DataError(f"attacks: {path.name} is nested more than {MOST_DEPTH} deep", _HINT)
    content.pop("run", None)  # a path on the machine that made it
    return AttackResult(path.name, data, content, read_picture(path.with_suffix(".png"), 1 << 20))


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
