"""The coordinator's checkpoint of a run: what a later process goes on from, in one file.

Everything in it is public to the coordinator: the plan, the model that follows from the released
sums, and how far the files of the log had grown. Nothing of a round under way is in it, because no
secret of a round is ever on disk.

    feddiff-secure run checkpoint 2 <SHA-256 of all that follows, hex>\n
    safetensors: the arrays of `ModelState`; metadata `run`: RFC 8785 JSON of the other fields

The file is replaced as a whole, so a reader finds the last state or the one before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from feddiff_crypto import protected_file
from feddiff_crypto.errors import CryptoError, DecodeError, FileRefusedError
from feddiff_crypto.jcs import Json, jcs, parse_jcs
from feddiff_crypto.rotation import read_hex
from feddiff_secure.errors import DataError, OutputError
from feddiff_secure.federation.local_model import CENTRE, CLASS_MEANS, ModelState
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_fields import MOST_COORDINATES, MOST_ROUNDS, MOST_TILES
from feddiff_secure.transcript.growing_file import FileState
from feddiff_secure.transcript.store import GROWING

MAGIC: Final = b"feddiff-secure run checkpoint 2 "
MAX_JSON_BYTES: Final = 2**20
MAX_BYTES: Final = 4 * 8 * MOST_COORDINATES + 2 * MAX_JSON_BYTES  # four arrays, and the rest
_MOST_SIZE: Final = 2**53 - 1
_HINT: Final = "the run cannot go on; what its ledgers say stays charged"
_FIELDS: Final = frozenset({"plan", "tiles", "round", "prior_round", "bytes_up", "files"})


@dataclass(frozen=True, slots=True, eq=False)
class RunCheckpoint:
    """A run between two releases.

    Attributes:
        plan: the plan.
        model: the model that the sums so far give.
        bytes_up: bytes that owners sent in completed releases.
        files: states of the transcript's growing files.
    """

    plan: Plan
    model: ModelState
    bytes_up: int
    files: Mapping[str, FileState]

    @property
    def completed(self) -> int:
        """Releases completed: count, mean and class means where there are any, and rounds."""
        counted = self.plan.nominal_tiles is None and self.model.tiles is not None
        rounds = self.model.prior_rounds + self.model.round_index
        means = sum(name in self.model.arrays for name in (CENTRE, CLASS_MEANS))
        return counted + means + rounds

    def to_bytes(self) -> bytes:
        """The file."""
        run: dict[str, Json] = {
            "plan": self.plan.to_json().decode(),
            "tiles": self.model.tiles,
            "round": self.model.round_index,
            "prior_round": self.model.prior_rounds,
            "bytes_up": self.bytes_up,
            "files": {
                name: {"size": state.size, "sha256": state.sha256.hex()}
                for name, state in self.files.items()
            },
        }
        arrays = {name: np.ascontiguousarray(a) for name, a in self.model.arrays.items()}
        body = save(arrays, {"run": jcs(run).decode()})
        return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def parse_checkpoint(data: bytes) -> RunCheckpoint:
    """Read the file.

    Raises:
        DecodeError: damaged, of another version, or not such a file; the message names the part.
    """
    head, newline, body = data.partition(b"\n")
    if not newline or head != MAGIC + hashlib.sha256(body).hexdigest().encode():
        raise DecodeError("checkpoint: damaged, cut off, or of another version")
    try:
        arrays = load(body)
        run = parse_jcs(_metadata(body), "checkpoint", MAX_JSON_BYTES)
        if not isinstance(run, dict) or run.keys() != _FIELDS:
            raise DecodeError("checkpoint: its fields differ")
        plan = Plan.from_json(str(run["plan"]).encode())
        tiles = None if run["tiles"] is None else _integer(run, "tiles", MOST_TILES)
        done = {name: _integer(run, name, MOST_ROUNDS) for name in ("round", "prior_round")}
        model = ModelState(tiles, done["round"], arrays, done["prior_round"])
        return RunCheckpoint(plan, model, _integer(run, "bytes_up", _MOST_SIZE), _files(run))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DecodeError(f"checkpoint: {str(error)[:120]}") from error


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """Where a checkpoint lies.

    Args:
        path: the file.
    """

    path: Path

    def write(self, checkpoint: RunCheckpoint) -> None:
        """Replace the last one, durably and all at once.

        Raises:
            OutputError: it cannot be written.
        """
        mode = protected_file.PRIVATE_MODE
        try:
            protected_file.replace(
                self.path, checkpoint.to_bytes(), mode=mode, check=lambda _back: None
            )
        except FileRefusedError as error:
            raise OutputError(str(error), "free some space; the run goes on from before") from error

    def read(self) -> RunCheckpoint:
        """The last one.

        Raises:
            DataError: missing, damaged, larger than it may be, or one that others can write.
        """
        forbidden = protected_file.WRITABLE_BY_OTHERS
        try:
            data = protected_file.read_protected(
                self.path, forbidden_mode=forbidden, max_bytes=MAX_BYTES
            )
            return parse_checkpoint(data)
        except CryptoError as error:
            raise DataError(f"{self.path}: {error}", _HINT) from error


def _metadata(body: bytes) -> bytes:
    """The metadata `run` of safetensors bytes, whose header's length is their first 8 bytes."""
    length = int.from_bytes(body[:8], "little")
    if length > MAX_JSON_BYTES:
        raise DecodeError(f"checkpoint: a header of {length} bytes")
    header = json.loads(body[8 : 8 + length])
    run = header["__metadata__"]["run"]
    if not isinstance(run, str):
        raise DecodeError("checkpoint: no metadata")
    return run.encode()


def _integer(run: Mapping[str, Any], name: str, most: int) -> int:
    value = run[name]
    if type(value) is not int or not 0 <= value <= most:
        raise DecodeError(f"checkpoint.{name}: {str(value)[:40]} is no integer in 0..{most}")
    return value


def _files(run: Mapping[str, Any]) -> dict[str, FileState]:
    rows = run["files"]
    if not isinstance(rows, dict) or rows.keys() != set(GROWING):
        raise DecodeError(f"checkpoint.files: not those of {', '.join(GROWING)}")
    found = {}
    for name, row in rows.items():
        if not isinstance(row, dict) or row.keys() != {"size", "sha256"}:
            raise DecodeError(f"checkpoint.files.{name}: not an object of size and sha256")
        found[name] = FileState(
            _integer(row, "size", _MOST_SIZE), read_hex(row, "checkpoint", "sha256", 32)
        )
    return found
