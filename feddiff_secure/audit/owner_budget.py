"""What one owner's ledger says of its budget and of this run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from feddiff_privacy.ledger.chain import MOST_FILE_BYTES, parse_chain
from feddiff_privacy.ledger.reading import reading
from feddiff_secure.audit.history import History
from feddiff_secure.audit.ledgers import FOLDER
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import StepFailedError
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.transcript.files import read_bytes

_HIDDEN = ("entries", "head", "order", "open_plans")


def owner_budget(
    directory: Path,
    run: Run,
    history: History,
    *,
    config: RunConfig,
    owner: str,
    folder: Path | None,
) -> dict[str, Any]:
    """Lifetime, spent and left ε of a holding, and what this run's plan spent of it.

    Args:
        directory: of the run. run, history, config: what was read before.
        owner: whose ledger.
        folder: of ledgers; None for the one in the run directory.

    Raises:
        StepFailedError: no ledger of this owner's there.
        PrivacyError, VerificationError: one that is damaged.
    """
    path = (folder or directory / FOLDER) / f"{owner}.{config.holding}.jsonl"
    if not path.exists():
        raise StepFailedError(
            f"no ledger {path.name} was given: what is left of the budget is not known here"
        )
    chain = parse_chain(read_bytes(path, MOST_FILE_BYTES), path)
    header, plan = chain.balance.header, run.plan.digest().hex()
    if (header.owner, header.holding) != (owner, config.holding):
        raise StepFailedError(f"{path.name} is the ledger of {header.owner}.{header.holding}")
    spent: Counter[str] = Counter()
    for held in chain.balance.reservations.values():
        if held.reserve.plan == plan:
            spent.update(held.spent)
    logged = Counter(leaf.key.phase for leaf in history.attempts if owner in leaf.inputs)
    return {
        **{name: value for name, value in reading(chain).to_json().items() if name not in _HIDDEN},
        "this_run": [
            {"phase": phase, "spent": spent[phase], "vectors_in_log": logged[phase]}
            for phase in sorted(spent | logged)
        ],
    }
