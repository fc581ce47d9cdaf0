"""Step 5: the privacy statement, made again from the plan and the events, field by field.

1. The events in the log are the plan's, each with as many attempts as the log has leaves of it.
2. `privacy.json` is what the statement of these events says. ε of every row is computed anew.

Not made again: what another accountant found (it imports torch; its difference to the recomputed ε
is), the versions of libraries, and, where another version of this code wrote the statement, the
words. ε of a ledger is step 6's business.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.jcs import MAX_SAFE_INTEGER, jcs
from feddiff_privacy.crosscheck_range import agrees
from feddiff_privacy.events import Event
from feddiff_privacy.statement import DEPLOYMENTS, CrossCheck
from feddiff_secure.audit.history import History
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import StepFailedError, require
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.statement import privacy_statement
from feddiff_secure.transcript.files import read_bytes
from feddiff_secure.version import __version__

PRIVACY: Final = "privacy.json"
TOLERANCE: Final = 1e-6  # relative: between versions of the libraries that compute ε
_MOST_BYTES: Final = 1 << 20
_STATED: Final = frozenset({"code_version", "libraries", "lifetime_epsilon"})
_WORDS: Final = frozenset(
    {
        "accountant",
        "assumptions",
        "data_accesses",
        "mechanism",
        "not_covered",
        "random_source",
        "sampling",
    }
)


def check_privacy(directory: Path, run: Run, history: History, config: RunConfig) -> dict[str, Any]:
    """The object of `privacy.json`, recomputed.

    Raises:
        StepFailedError, PrivacyError, FeddiffError: the first thing that does not hold.
    """
    events = _events(run.plan, history)  # 1
    recorded = _read(directory)
    statement = privacy_statement(  # 2
        config,
        run.plan,
        events,
        tile=run.plan.tile,
        support=history.features.support,
        priors=history.features.networks,
        lifetime_epsilon=math.inf,
        alignment=history.features.alignment,
        second_opinion=_stated_opinion(recorded),
        deployment=_stated_deployment(recorded),
    )
    computed = json.loads(json.dumps(statement.to_json(), allow_nan=False))
    skipped = _STATED if recorded.get("code_version") == __version__ else _STATED | _WORDS
    _compare(
        {name: value for name, value in recorded.items() if name not in skipped},
        {name: value for name, value in computed.items() if name not in skipped},
        PRIVACY,
    )
    missing = sorted(set(computed) - set(recorded))
    require(not missing, f"{PRIVACY} lacks {missing}")
    return recorded


def _events(plan: Plan, history: History) -> list[Event]:
    attempts = Counter(leaf.key.phase for leaf in history.attempts)  # in order of appearance
    events = [plan.event(phase, number) for phase, number in attempts.items()]
    wanted = [jcs(event.to_json()) for event in events]
    found = [jcs(event) for event in history.privacy.events]
    require(
        wanted == found,
        f"the log's privacy events are not the plan's with {dict(attempts)} attempts",
    )
    return events


def _read(directory: Path) -> dict[str, Any]:
    data = read_bytes(directory / PRIVACY, _MOST_BYTES)
    try:
        recorded = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StepFailedError(f"{PRIVACY} is not JSON: {str(error)[:80]}") from None
    if not isinstance(recorded, dict):
        raise StepFailedError(f"{PRIVACY} is no object")
    return recorded


def _stated_deployment(recorded: Mapping[str, Any]) -> str:
    """Where owners ran, as stated: nothing in a transcript shows it."""
    stated = str(recorded.get("deployment"))
    require(stated in DEPLOYMENTS, f"{PRIVACY}: deployment {stated[:60]!r} is unknown")
    return stated


def _stated_opinion(recorded: Mapping[str, Any]) -> Any:
    """The other accountant's number as it stands in the file, compared anew with the ε given."""
    check = recorded.get("cross_check")

    def opinion(
        plan: Plan,  # noqa: ARG001  # the signature of an opinion
        events: Sequence[Event],  # noqa: ARG001
        shares: int,  # noqa: ARG001
        reported: float,
    ) -> CrossCheck | None:
        if check is None:
            return None
        if not isinstance(check, dict) or not is_number(check.get("epsilon")):
            raise StepFailedError(f"{PRIVACY}: cross_check has no epsilon")
        difference = check["epsilon"] - reported
        return CrossCheck(
            accountant=str(check.get("accountant")),
            epsilon=check["epsilon"],
            difference=difference,
            agrees=agrees(difference),
        )

    return opinion


def _compare(found: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, dict) and isinstance(found, dict):
        odd = sorted(found.keys() ^ wanted.keys())
        require(not odd, f"{where}: fields {odd[:8]} are missing or unknown")
        mark = ": " if where == PRIVACY else "."
        for name, value in wanted.items():
            _compare(found[name], value, f"{where}{mark}{name}")
    elif isinstance(wanted, list) and isinstance(found, list):
        require(len(found) == len(wanted), f"{where}: {len(found)} entries, not {len(wanted)}")
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            _compare(one, other, f"{where}[{index}]")
    elif is_number(wanted) and is_number(found):
        close = math.isclose(found, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        require(close, f"{where} is {found!r}, recomputed {wanted!r}")
    else:
        same = type(found) is type(wanted) and found == wanted
        require(same, f"{where} is {str(found)[:60]!r}, recomputed {str(wanted)[:60]!r}")


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that a double holds."""
    if type(value) is int:
        return abs(value) <= MAX_SAFE_INTEGER
    return type(value) is float and math.isfinite(value)
