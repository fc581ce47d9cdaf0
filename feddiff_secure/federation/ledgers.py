"""The owners' ledgers in a run of one process: opened together, held against each other, closed.

Each owner has the file `<owner>.<holding>.jsonl` and, in a folder that outlives the run, what it
has seen of its peers' ledgers in `<owner>.<holding>.peers.json` and the last checkpoint that it
cosigned of each run's log in `<owner>.<holding>.witness.json`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.tlog.witness import WitnessStore
from feddiff_crypto.tlog.witness_file import WitnessFile
from feddiff_privacy.ledger.admission import left
from feddiff_privacy.ledger.errors import (
    BudgetRefusedError,
    LedgerBusyError,
    LedgerError,
    LedgerRolledBackError,
    LifetimeFixedError,
)
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_privacy.ledger.peer_heads import PeerHeads
from feddiff_privacy.ledger.reading import spent_epsilon
from feddiff_secure.config.bounds import LEAST_EPSILON
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import (
    BudgetError,
    DataError,
    ResumeRefusedError,
    UsageError,
    VerificationError,
)
from feddiff_secure.transcript.witness import MemoryStore


@contextmanager
def run_ledgers(
    config: RunConfig,
    tiles: Mapping[str, TileSet],
    folder: Path,
    *,
    plan: bytes | None = None,
    resumed: bool = False,
) -> Iterator[dict[str, Ledger]]:
    """The ledgers of all owners, open; closed, and shown to the peers, at the end.

    A run that can go on leaves its reservations open where it was interrupted: by whatever but
    input that it cannot run with, and once an attempt was spent.

    Args:
        config: names the holding and the lifetime ε of new ledgers; δ too.
        tiles: each owner's tiles.
        folder: where the ledgers live; made if there is none.
        plan: digest of the plan of a run that can go on later; None for one that cannot.
        resumed: whether it was interrupted before.

    Raises:
        UsageError: the folder cannot be made, a ledger is in use, or has another lifetime.
        DataError: a damaged ledger.
        VerificationError: a ledger that lacks what a peer has seen of it.
        BudgetError: an owner refused the plan (raised inside); says how much is left.
    """
    with ledger_errors():
        _make_folder(folder)
        with ExitStack() as stack:
            ledgers = {
                name: stack.enter_context(
                    Ledger.open(
                        folder / f"{name}.{config.holding}.jsonl",
                        owner=name,
                        holding=config.holding,
                        lifetime_epsilon=config.lifetime_epsilon,
                        delta=config.delta,
                        tiles=tiles_digest(held),
                        keep=plan,
                    )
                )
                for name, held in tiles.items()
            }
            anchors = _anchors(config, ledgers, folder)
            _show(config, ledgers, anchors)
            try:
                yield ledgers
            except ResumeRefusedError:
                raise
            except BudgetError as error:
                raise _refused(ledgers) from error
            except UsageError:
                raise
            except BaseException:
                if plan is not None and (resumed or has_spent(ledgers, plan)):
                    for ledger in ledgers.values():
                        ledger.suspend()
                raise
            finally:
                for ledger in ledgers.values():
                    ledger.release()
                _show(config, ledgers, anchors)


def has_spent(ledgers: Mapping[str, Ledger], plan: bytes) -> bool:
    """Whether an attempt of a plan was charged to anybody, or may have been."""
    if not all(ledger.is_open for ledger in ledgers.values()):
        return True
    held = [ledger.held(plan) for ledger in ledgers.values()]
    return any(one is not None and any(one.spent.values()) for one in held)


def witness_stores(
    config: RunConfig, folder: Path, otherwise: Callable[[str], WitnessStore] | None = None
) -> Callable[[str], WitnessStore]:
    """Where owners remember the checkpoints they cosigned: beside ledgers that outlive the run.

    Args:
        config: says whether they do. folder: of the ledgers.
        otherwise: owner → its store where they do not; None for memory.
    """

    def store(owner: str) -> WitnessStore:
        if config.ledger is None:
            return MemoryStore() if otherwise is None else otherwise(owner)
        return WitnessFile(folder / f"{owner}.{config.holding}.witness.json")

    return store


def largest_epsilon(ledgers: Mapping[str, Ledger]) -> float:
    """ε of everything in a ledger, the largest over owners."""
    return max(spent_epsilon(ledger.balance)[0] for ledger in ledgers.values())


def tiles_digest(tiles: TileSet) -> bytes:
    """SHA-256 over sizes, values and labels of an owner's tiles, in their order."""
    digest = hashlib.sha256()
    for block in tiles:
        arrays: list[tuple[str, NDArray[Any]]] = [*block.modalities.items(), ("label", block.label)]
        arrays += [(f"{name} valid", mask) for name, mask in block.valid.items()]
        for name, values in arrays:
            digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.digest()


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Turn a ledger's errors into those of the command line, each with its exit code."""
    try:
        yield
    except BudgetRefusedError as error:
        raise BudgetError(str(error), "ask for less than what is left") from error
    except LedgerRolledBackError as error:
        raise VerificationError(str(error), error.hint) from error
    except (LedgerBusyError, LifetimeFixedError) as error:
        raise UsageError(str(error), error.hint) from error
    except LedgerError as error:
        raise DataError(str(error), error.hint) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"ledger: {folder}: {error.strerror}", "give a folder that can be written"
        ) from error


def _anchors(
    config: RunConfig, ledgers: Mapping[str, Ledger], folder: Path
) -> dict[str, PeerHeads]:
    """Each owner's memory of its peers; none where the ledgers are as new as the run."""
    if config.ledger is None:
        return {}
    return {name: PeerHeads(folder / f"{name}.{config.holding}.peers.json") for name in ledgers}


def _show(
    config: RunConfig, ledgers: Mapping[str, Ledger], anchors: Mapping[str, PeerHeads]
) -> None:
    """Every owner shows its ledger to every other, which checks and remembers it."""
    for name, anchor in anchors.items():
        anchor.record(
            {f"{peer}.{config.holding}": shown for peer, shown in ledgers.items() if peer != name}
        )


def _refused(ledgers: Mapping[str, Ledger]) -> BudgetError:
    """How much each ledger has left, the least first, once nothing is reserved."""
    for ledger in ledgers.values():
        ledger.release()
    room = {name: left(ledger.balance) for name, ledger in ledgers.items()}
    finite = sorted((value, name) for name, value in room.items() if value is not None)
    least, owner = finite[0]
    askable = math.floor(least * 1000) / 1000  # never rounded up to what would be refused
    header = ledgers[owner].balance.header
    lifetime = header.lifetime_epsilon
    return BudgetError(
        f"the plan does not fit the lifetime budget: epsilon {askable:g} of {lifetime:g} is left "
        f"to {owner} (holding {header.holding}, delta {header.delta:g}); nothing was released",
        f"ask for at most --epsilon {askable:g}, or leave this holding alone"
        if askable >= LEAST_EPSILON
        else "this holding is spent: no further release from it is covered",
    )
