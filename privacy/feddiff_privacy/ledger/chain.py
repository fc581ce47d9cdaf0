"""The bytes of a ledger file as a chain of entries, parsed strictly.

What is tolerated is one thing: bytes after the last newline. They are a line that was being
written when the machine or process stopped. Its `append` never returned, so nothing that it
records has left, and it is cut off when the ledger is next opened. Any other damage is an error:
a ledger that repaired itself could forget what was spent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from feddiff_privacy.ledger.balance import Balance
from feddiff_privacy.ledger.entries import MOST_ENTRIES, Entry, Header, LineError, from_line
from feddiff_privacy.ledger.errors import LedgerError

MOST_FILE_BYTES = 64 << 20

_DAMAGED = (
    "restore the newest backup only together with whoever answers for this budget: a copy from "
    "before a release forgets that release, and peers will refuse it"
)


@dataclass(slots=True)
class Chain:
    """The entries of a file and what they add up to.

    Attributes:
        balance: the state after the last entry.
        heads: heads[k] is the SHA-256 of line k, as hex: the head of the ledger at size k + 1.
        size: bytes of the whole lines.
        torn: bytes after the last newline.
    """

    balance: Balance
    heads: list[str]
    size: int
    torn: int

    def add(self, entry: Entry, line: bytes) -> None:
        """Take in an entry that `balance` has checked and that is on disk as `line`."""
        self.balance.apply(entry, len(self.heads))
        self.heads.append(hashlib.sha256(line).hexdigest())
        self.size += len(line) + 1


def parse_chain(data: bytes, path: Path) -> Chain:
    """Read a whole file.

    Args:
        data: its bytes.
        path: its name, for messages.

    Raises:
        LedgerError: anything but a header followed by entries that the rules allow; names the
            line.
    """
    if len(data) > MOST_FILE_BYTES:
        raise LedgerError(f"{path}: {len(data)} bytes > limit {MOST_FILE_BYTES}", _DAMAGED)
    *lines, tail = data.split(b"\n")
    if not lines:
        raise LedgerError(f"{path}: line 1: no header", _DAMAGED)
    if len(lines) > MOST_ENTRIES:
        raise LedgerError(f"{path}: {len(lines)} lines > limit {MOST_ENTRIES}", _DAMAGED)
    chain: Chain | None = None
    for seq, line in enumerate(lines):
        try:
            entry = from_line(line, seq, None if chain is None else chain.heads[-1])
            if chain is None:
                chain = _begun(entry, line)
            else:
                chain.add(entry, line)
        except LineError as error:
            raise LedgerError(f"{path}: line {seq + 1}: {error}", _DAMAGED) from None
    assert chain is not None
    chain.torn = len(tail)
    return chain


def _begun(entry: Entry, line: bytes) -> Chain:
    if not isinstance(entry, Header):
        raise LineError(f"a {entry.kind} where the header belongs")
    return Chain(Balance(entry), [hashlib.sha256(line).hexdigest()], len(line) + 1, 0)
