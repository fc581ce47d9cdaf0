"""A person approves a plan before anything is released.

The rules:

- What the plan would release lies in `pending/<plan digest>.json` and `.md`. Nothing is reserved or
  sent while the node waits.
- A decision is a file beside them that names the plan's digest and the SHA-256 of the JSON that was
  shown. It holds for that plan and that page alone.
- A decision is made once; the same plan offered again (a resumed run) meets the decision it has.
- A page that was changed between showing and approving is a refusal.
- Time running out is a refusal.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from feddiff_crypto.canonical_json import canonical_json, parse_canonical
from feddiff_crypto.errors import CryptoError, DecodeError
from feddiff_crypto.protected_file import (
    PRIVATE_MODE,
    WRITABLE_BY_OTHERS,
    read_protected,
    replace,
    write_new,
)
from feddiff_privacy.ledger.balance import Balance
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.node import RefusalError
from feddiff_secure.federation.plan import Plan
from feddiff_secure.node.release import fits, in_words, release

Decision = Literal["approve", "reject"]
FORMAT: Final = "feddiff-secure decision"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 20  # of a page
MOST_DECISION_BYTES: Final = 4096
POLL: Final = 0.5  # seconds
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Review:
    """The gate of a node whose owner wants to see every plan first.

    Attributes:
        folder: of pending plans.
        owner: this owner.
        balance: gives the ledger's balance.
        timeout: seconds a plan waits.
        announce: told the page's path when a plan begins to wait.
    """

    folder: Path
    owner: str
    balance: Callable[[], Balance]
    timeout: float
    announce: Callable[[Path], None] = lambda _page: None

    def __call__(self, plan: Plan) -> None:
        """Return once the plan was approved.

        Raises:
            RefusalError: `budget_refused` (nobody is asked for what does not fit),
                `review_refused` (rejected, time ran out, or the page was changed).
        """
        digest = plan.digest().hex()
        shown = release(plan, self.owner, self.balance())
        made = read_decision(self.folder, digest) or self._ask(digest, shown)
        if made != "approve" or not _is_page_of(self.folder, digest, shown):
            raise RefusalError("review_refused")

    def _ask(self, digest: str, shown: dict[str, Any]) -> Decision | None:
        if not fits(shown):
            raise RefusalError("budget_refused")
        self.announce(_show(self.folder, digest, shown))
        deadline = time.monotonic() + self.timeout
        while (made := read_decision(self.folder, digest)) is None:
            if time.monotonic() >= deadline:
                return None
            time.sleep(min(POLL, max(0.0, deadline - time.monotonic())))
        return made


def _is_page_of(folder: Path, digest: str, shown: dict[str, Any]) -> bool:
    """Whether the page that was decided on says what the plan would release.

    The budget may have moved since (a resumed run has its own reservation); the ledger checks it.
    """
    try:
        raw = read_protected(
            _shown(folder, digest), forbidden_mode=WRITABLE_BY_OTHERS, max_bytes=MOST_BYTES
        )
        page: Any = json.loads(raw)
    except (CryptoError, ValueError, RecursionError):
        return False
    if not isinstance(page, dict) or page.keys() != shown.keys():
        return False
    return all(page[key] == json.loads(_json(shown))[key] for key in shown if key != "budget")


def _show(folder: Path, digest: str, shown: dict[str, Any]) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = in_words(shown).encode()
    replace(_page(folder, digest), text, mode=PRIVATE_MODE, check=bytes)
    replace(_shown(folder, digest), _json(shown), mode=PRIVATE_MODE, check=json.loads)
    return _page(folder, digest)


def decide(folder: Path, digest: str, decision: Decision) -> None:
    """Approve or reject a pending plan.

    Args:
        folder: of pending plans.
        digest: of the plan, 64 hex digits.
        decision: what its owner says.

    Raises:
        UsageError: no such plan waits, or it was decided on before.
    """
    if _DIGEST.fullmatch(digest) is None or not _shown(folder, digest).exists():
        raise UsageError(
            f"{digest[:80]!r} is no plan that waits in {folder}", "see: feddiff-secure node pending"
        )
    before = read_decision(folder, digest)
    if before is not None:
        raise UsageError(
            f"the plan {digest} was decided on before: {before}",
            "a decision is made once; the plan of a new run has another digest",
        )
    content = {
        "format": FORMAT,
        "version": VERSION,
        "decision": decision,
        "plan": digest,
        "shown": _hash(_shown(folder, digest)),
    }
    path = _decision(folder, digest)
    if path.exists():  # of another page than the one that is shown now
        path.unlink()
    write_new(path, canonical_json(content), mode=PRIVATE_MODE, check=_parse)


def read_decision(folder: Path, digest: str) -> Decision | None:
    """The decision on a plan as it is shown; None where there is none.

    Raises:
        RefusalError: `review_refused`: a file that is no decision, or that others can write.
    """
    path = _decision(folder, digest)
    if not path.exists():
        return None
    try:
        found = _parse(
            read_protected(path, forbidden_mode=WRITABLE_BY_OTHERS, max_bytes=MOST_DECISION_BYTES)
        )
        if found["decision"] not in get_args(Decision) or found["plan"] != digest:
            raise DecodeError(f"{path}: no decision on {digest}")
        if found["shown"] != _hash(_shown(folder, digest)):
            return None
    except CryptoError as error:
        raise RefusalError("review_refused") from error
    decision: Decision = found["decision"]
    return decision


def pending(folder: Path) -> list[str]:
    """Digests of the plans that wait for a decision."""
    found = sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []
    return [
        name for name in found if _DIGEST.fullmatch(name) and read_decision(folder, name) is None
    ]


def _parse(raw: bytes) -> dict[str, Any]:
    return parse_canonical(raw, FORMAT, VERSION, ("decision", "plan", "shown"), MOST_DECISION_BYTES)


def _json(shown: dict[str, Any]) -> bytes:
    return (json.dumps(shown, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _hash(path: Path) -> str:
    raw = read_protected(path, forbidden_mode=WRITABLE_BY_OTHERS, max_bytes=MOST_BYTES)
    return hashlib.sha256(raw).hexdigest()


def _shown(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.json"


def _page(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.md"


def _decision(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.decision"
