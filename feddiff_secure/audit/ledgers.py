"""Step 6: what owners said of their ledgers, and the ledgers where they can be seen.

1. Each last word is signed by its owner, and at least τ owners spoke.
2. Where a folder of ledgers is given, or lies in the run directory: each ledger that is there was,
   at the size its owner signed, the one whose head it signed; it reserved this plan; and it spent
   at least every attempt in which the log has this owner's vector, and no more than were begun.
3. If no later entry is in them, the largest ε over the ledgers is the one in the statement, where
   that states one: across organisations it does not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feddiff_privacy.ledger.chain import MOST_FILE_BYTES, Chain, parse_chain
from feddiff_privacy.ledger.reading import spent_epsilon
from feddiff_privacy.statement import ACROSS
from feddiff_secure.audit.history import History
from feddiff_secure.audit.privacy import TOLERANCE, is_number
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import require
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.transcript.digests import END_LABEL, end_digest
from feddiff_secure.transcript.files import read_bytes
from feddiff_secure.transcript.leaves import LastWord

FOLDER = "ledger"


@dataclass(frozen=True, slots=True)
class LedgerFindings:
    """What step 6 saw.

    Attributes:
        spoke: owners that signed a last word. shown: ledgers that were seen.
        current: whether every one of them was seen without a later entry.
    """

    spoke: int
    shown: int
    current: bool


def check_ledgers(
    directory: Path,
    run: Run,
    history: History,
    *,
    config: RunConfig,
    privacy: Mapping[str, Any],
    folder: Path | None,
) -> LedgerFindings:
    """Compare signed heads with ledgers.

    Args:
        directory: the run's.
        run, history, config: what was read before.
        privacy: the object of `privacy.json`.
        folder: of the owners' ledgers; None for the one in the run directory, if it is there.

    Raises:
        CryptoError, PrivacyError, StepFailedError, FeddiffError: what does not hold.
    """
    words = history.end.owners
    for owner, word in words.items():  # 1
        digest = end_digest(run.plan.session, owner, word.entries, word.head, word.model)
        run.owners.verify(owner, word.signature, END_LABEL, digest)
    run.plan.policy.require("owners with a last word", len(words))
    inside = directory / FOLDER
    given = folder is not None
    # Across organisations a ledger never leaves its owner's node: none is in the run directory.
    elsewhere = config.ledger is not None or privacy.get("deployment") == ACROSS
    place = folder or inside
    chains = {}
    for owner, word in words.items():  # 2
        path = place / f"{owner}.{config.holding}.jsonl"
        if not path.exists() and (given or elsewhere):
            continue
        chain = parse_chain(read_bytes(path, MOST_FILE_BYTES), path)
        header = chain.balance.header
        require(
            (header.owner, header.holding) == (owner, config.holding),
            f"{path.name} is the ledger of {header.owner}.{header.holding}",
        )
        _check_chain(run, history, owner, word, chain)
        chains[owner] = chain
    require(not given or bool(chains), f"{place} holds no ledger of this run's owners")
    current = len(chains) == len(run.owners.parties) and all(
        len(chain.heads) == words[owner].entries for owner, chain in chains.items()
    )
    if current:
        _check_lifetime(chains, privacy)  # 3
    return LedgerFindings(len(words), len(chains), current)


def _check_chain(run: Run, history: History, owner: str, word: LastWord, chain: Chain) -> None:
    require(chain.torn == 0, f"the ledger of {owner} ends in a torn line")
    head = chain.heads[word.entries - 1] if 1 <= word.entries <= len(chain.heads) else None
    require(
        head == word.head.hex(),
        f"the ledger of {owner} had at {word.entries} entries the head {head}, its owner signed "
        f"{word.head.hex()}",
    )
    plan = run.plan.digest().hex()
    held = [
        one
        for seq, one in chain.balance.reservations.items()
        if one.reserve.plan == plan and seq < word.entries
    ]
    require(len(held) == 1, f"the ledger of {owner} reserved this plan {len(held)} times")
    reserved, spent = held[0].reserve, held[0].spent
    wanted = [event.to_bytes() for event in run.plan.events()]
    require(
        [event.to_bytes() for event in reserved.events] == wanted
        and reserved.shares == run.plan.calibrated_shares,
        f"the ledger of {owner} reserved other events than the plan's",
    )
    begun = Counter(leaf.key.phase for leaf in history.attempts)
    arrived = Counter(leaf.key.phase for leaf in history.attempts if owner in leaf.inputs)
    for phase in begun | spent:
        require(
            arrived[phase] <= spent[phase] <= begun[phase],
            f"the ledger of {owner} spent {spent[phase]} attempts of {phase}; the log has its "
            f"vector in {arrived[phase]} of {begun[phase]}",
        )


def _check_lifetime(chains: Mapping[str, Chain], privacy: Mapping[str, Any]) -> None:
    if privacy.get("deployment") == ACROSS and privacy.get("lifetime_epsilon") is None:
        return  # nobody but an owner knows its ledger, so nothing was stated
    largest = max(spent_epsilon(chain.balance)[0] for chain in chains.values())
    stated = privacy.get("lifetime_epsilon")
    found = math.inf if stated is None else stated
    same = found == largest or (
        is_number(found) and math.isclose(found, largest, rel_tol=TOLERANCE)
    )
    require(same, f"privacy.json: lifetime_epsilon is {stated!r}, the ledgers give {largest!r}")
