"""What an owner has seen of its peers' ledgers, so that a reset or restored one is noticed.

An owner's disk can be restored from a backup, and its ledger then forgets releases. Its peers do
not: each keeps the last (size, head) that every other ledger showed, and refuses a run with a
ledger that is shorter, or that had another head at that size.

This catches an honest node with an old disk. It does not bind an owner who runs altered code: such
an owner can show whatever heads it likes, and need not charge itself in the first place.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import rfc8785

from feddiff_privacy.ledger.chain_file import sync_folder
from feddiff_privacy.ledger.entries import MOST_ENTRIES
from feddiff_privacy.ledger.errors import LedgerError, LedgerRolledBackError

FORMAT = "feddiff-peer-heads"
VERSION = 1
MOST_PEERS = 1_000
MOST_BYTES = 1 << 20

_PEER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,128}", re.ASCII)  # owner.holding
_HEAD = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HINT = "ask every peer what it last saw before you replace this file"


class ShownLedger(Protocol):
    """What a peer shows of its ledger."""

    @property
    def size(self) -> int:
        """Number of entries."""

    @property
    def head(self) -> str:
        """SHA-256 of the last line, hex."""

    def head_at(self, size: int) -> str | None:
        """The head at an earlier size; None if it never had that."""


@dataclass(frozen=True, slots=True)
class SeenHead:
    """The last that was seen of one ledger: its number of entries and its head (hex)."""

    size: int
    head: str


class PeerHeads:
    """The store of one owner's holding.

    Args:
        path: its file; absent means that no peer was seen yet.

    Raises:
        LedgerError: a file that is not such a store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[str, SeenHead] = _read(path)

    def check(self, peer: str, shown: ShownLedger) -> None:
        """Refuse a ledger that lacks what was seen of it.

        Args:
            peer: `owner.holding`.
            shown: its ledger now.

        Raises:
            LedgerRolledBackError: fewer entries than before, or another head at that size.
        """
        seen = self.seen.get(peer)
        if seen is None:
            return
        hint = (
            "its ledger was reset, or restored from an older copy: find the newest copy, or agree "
            "with its owner what was spent, before any further run"
        )
        if shown.size < seen.size:
            raise LedgerRolledBackError(
                f"{self.path.name}: the ledger of {peer} has {shown.size} entries; it had "
                f"{seen.size} when it was last seen",
                hint,
            )
        if shown.head_at(seen.size) != seen.head:
            raise LedgerRolledBackError(
                f"{self.path.name}: the ledger of {peer} had another head at {seen.size} entries "
                "when it was last seen",
                hint,
            )

    def record(self, shown: Mapping[str, ShownLedger]) -> Self:
        """Remember what peers show now, durably and all at once.

        Raises:
            LedgerRolledBackError: as `check`; nothing is remembered then.
            LedgerError: too many peers, a name that is none, or the disk failed.
        """
        for peer, ledger in shown.items():
            self.check(peer, ledger)
        now = {peer: SeenHead(ledger.size, ledger.head) for peer, ledger in shown.items()}
        _write(self.path, {**self.seen, **now})
        self.seen.update(now)
        return self


def _canonical(seen: Mapping[str, SeenHead]) -> bytes:
    peers = {peer: {"size": s.size, "head": s.head} for peer, s in seen.items()}
    fields: dict[str, Any] = {"format": FORMAT, "version": VERSION, "peers": peers}
    return rfc8785.dumps(fields) + b"\n"


def _parse(data: bytes) -> dict[str, SeenHead]:
    """Read a store; ValueError names what is wrong."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    fields: Any = json.loads(data)
    if not isinstance(fields, dict) or fields.keys() != {"format", "version", "peers"}:
        raise ValueError("its fields differ")
    if fields["format"] != FORMAT or type(fields["version"]) is not int or fields["version"] != 1:
        raise ValueError(f"not {FORMAT} version {VERSION}")
    peers = fields["peers"]
    if not isinstance(peers, dict) or len(peers) > MOST_PEERS:
        raise ValueError(f"peers: no object of at most {MOST_PEERS}")
    seen = {peer: _seen(peer, value) for peer, value in peers.items()}
    if _canonical(seen) != data:
        raise ValueError("not canonical JSON")
    return seen


def _seen(peer: str, value: object) -> SeenHead:
    if not _PEER.fullmatch(peer) or not isinstance(value, dict) or value.keys() != {"size", "head"}:
        raise ValueError(f"peer {peer[:60]!r}: its fields differ")
    size, head = value["size"], value["head"]
    if type(size) is not int or not 1 <= size <= MOST_ENTRIES:
        raise ValueError(f"peer {peer}: size {str(size)[:20]} is not in 1 … {MOST_ENTRIES}")
    if not isinstance(head, str) or not _HEAD.fullmatch(head):
        raise ValueError(f"peer {peer}: head is not 64 hex digits")
    return SeenHead(size, head)


def _read(path: Path) -> dict[str, SeenHead]:
    try:
        with path.open("rb") as file:
            return _parse(file.read(MOST_BYTES + 1))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}", _HINT) from None
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{path}: {str(error)[:160]}", _HINT) from None


def _write(path: Path, seen: Mapping[str, SeenHead]) -> None:
    data = _canonical(seen)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        _parse(data)  # what could not be read back is not written
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except (OSError, ValueError) as error:
        raise LedgerError(f"{path}: cannot be written: {error}", _HINT) from None
