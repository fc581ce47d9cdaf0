"""What an unfinished run of one process keeps to go on from: the folder `resume` of its directory.

    lock                    held by the process that runs
    checkpoint              the coordinator's (`checkpoint`)
    identities/<party>.key  identity keys made for the run, mode 0600
    owners/<owner>.*.json   what owners cosigned and sent last
    vectors/                masked vectors and opened secrets of completed releases
    data                    SHA-256 over the tiles

It is private to whoever runs the simulation, and it is removed when the run is finished. Keys and
seeds of a round are never in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from feddiff_crypto.errors import CryptoError
from feddiff_crypto.identity_file import read_identity, write_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.witness_file import WitnessFile
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError, OutputError, UsageError
from feddiff_secure.federation.checkpoint import CheckpointFile
from feddiff_secure.federation.ledgers import tiles_digest
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.run_state import RunState
from feddiff_secure.transcript.files import COORDINATOR, RESUME, make_resume_folder
from feddiff_secure.transcript.growing_file import EMPTY
from feddiff_secure.transcript.sent_file import SentFile
from feddiff_secure.transcript.store import GROWING

_HINT: Final = "the run cannot go on; what its ledgers say stays charged"


class ResumeFolder:
    """The folder of one run.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / RESUME
        self.checkpoint = CheckpointFile(self.path / "checkpoint")

    def begin(
        self,
        plan: Plan,
        tiles: Mapping[str, TileSet],
        keys: Mapping[str, IdentityKey] | None = None,
    ) -> None:
        """Keep identities and the first checkpoint; afterwards the run can go on.

        Args:
            plan: names the parties. tiles: all tiles of the run, by whose or what for.
            keys: identities known here; the other parties keep theirs themselves
                (`keep_identity`). None makes one for every party.

        Raises:
            OutputError: it cannot be written.
        """
        make_resume_folder(self.path.parent)
        for name in ("identities", "owners"):
            (self.path / name).mkdir(mode=0o700)
        try:
            if keys is None:
                keys = {party: IdentityKey.generate(SecureRandom()) for party in _parties(plan)}
            for party, key in keys.items():
                write_identity(self._identity(party), party, key, None, SecureRandom())
        except CryptoError as error:
            raise OutputError(str(error), "free some space and start again") from error
        (self.path / "data").write_text(data_digest(tiles))
        self.checkpoint.write(RunState.begun(plan).checkpoint(dict.fromkeys(GROWING, EMPTY)))

    def identities(self, plan: Plan) -> dict[str, IdentityKey]:
        """The keys of all parties, the coordinator's too.

        Raises:
            DataError: one is missing, damaged, or can be read by others.
        """
        try:
            return {
                party: read_identity(self._identity(party)).open(None) for party in _parties(plan)
            }
        except CryptoError as error:
            raise DataError(str(error), _HINT) from error

    def keep_identity(self, party: str, key: IdentityKey) -> None:
        """Keep a party's identity, if it is not kept already.

        Raises:
            DataError: it cannot be written, or another key is kept.
        """
        path = self._identity(party)
        try:
            if not path.exists():
                write_identity(path, party, key, None, SecureRandom())
            if read_identity(path).public != key.public:
                raise DataError(f"{path}: the key of another run", _HINT)
        except CryptoError as error:
            raise DataError(str(error), _HINT) from error

    def check_data(self, tiles: Mapping[str, TileSet]) -> None:
        """Refuse other data than the run began with.

        Raises:
            DataError: it is other data, or what it was is not known.
        """
        path = self.path / "data"
        try:
            began = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}", _HINT) from None
        if began != data_digest(tiles).encode():
            raise DataError(
                f"{self.path.parent}: the data is not what the run began with",
                "restore the data as it was, or start a new run",
            )

    def witness(self, owner: str) -> WitnessFile:
        """Where an owner keeps the last checkpoint that it cosigned."""
        return WitnessFile(self.path / "owners" / f"{owner}.witness.json")

    def sent(self, owner: str) -> SentFile:
        """Where an owner keeps the digest of what it sent last."""
        return SentFile(self.path / "owners" / f"{owner}.sent.json")

    def forget(self) -> None:
        """Remove the checkpoint: the run cannot go on."""
        self.checkpoint.path.unlink(missing_ok=True)

    def _identity(self, party: str) -> Path:
        return self.path / "identities" / f"{party}.key"


class RunLock:
    """Keeps a second process out of a run directory for as long as this one holds it.

    Args:
        directory: of the run, with or without its folder `resume`.

    Raises:
        UsageError: another process holds it, or it cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / RESUME / "lock"
        busy = UsageError(f"{directory}: another process is at this run", "wait until it has ended")
        try:
            make_resume_folder(directory)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor: int | None = os.open(path, flags, 0o600)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", "give a directory of your own") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._descriptor), path.lstat()):
                raise busy
        except OSError as error:  # held, or the run was finished in between
            self.release()
            raise busy from error
        except UsageError:
            self.release()
            raise

    def release(self) -> None:
        """Let others in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def data_digest(tiles: Mapping[str, TileSet]) -> str:
    """SHA-256 over names and tiles, hex and a newline."""
    digest = hashlib.sha256()
    for name, held in tiles.items():
        digest.update(f"{name}\n".encode() + tiles_digest(held))
    return digest.hexdigest() + "\n"


def _parties(plan: Plan) -> tuple[str, ...]:
    return (COORDINATOR, *plan.owners)
