"""A coordinator that rewrites its log: what it can forge with which keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.tlog.cosignature import cosign
from feddiff_crypto.tlog.log import Log
from feddiff_secure.audit.history import read_history
from feddiff_secure.audit.roster import first_leaf, read_run
from feddiff_secure.transcript.attestation import run_statement
from feddiff_secure.transcript.checkpoints import parse_checkpoints, write_checkpoints
from feddiff_secure.transcript.files import (
    ATTESTATION,
    CHECKPOINTS,
    COORDINATOR,
    LEAVES,
    manifest,
)
from feddiff_secure.transcript.leaves import RunLeaf
from tests.support.transcripts import Parties

Leaves = list[dict[str, Any]]
NOW = 1_750_000_000


def leaves_of(directory: Path) -> Leaves:
    """The log's leaves, to be changed."""
    return [json.loads(line) for line in (directory / LEAVES).read_text().splitlines()]


def write_leaves(directory: Path, leaves: Leaves) -> Log:
    """Put leaves into the log's file, in their one form, and sign nothing."""
    log = Log()
    for leaf in leaves:
        log.append(leaf)
    (directory / LEAVES).write_bytes(log.to_bytes())
    return log


def forge(
    directory: Path,
    people: Parties,
    change: Callable[[Leaves], None] = lambda _leaves: None,
    *,
    cosigners: Collection[str] | None = None,
    log_key: IdentityKey | None = None,
) -> None:
    """Rewrite the whole transcript, with the keys of the coordinator and of some owners.

    Args:
        directory: a finished run.
        people: whose keys are used.
        change: of the leaves; the manifest is made anew afterwards.
        cosigners: owners whose keys the forger has; None for all of them.
        log_key: another key of the log than the coordinator's.
    """
    key = log_key or people.coordinator
    leaves = leaves_of(directory)
    change(leaves)
    leaves[-1]["files"] = {name: digest.hex() for name, digest in manifest(directory).items()}
    log = write_leaves(directory, leaves)
    origin = leaves[0]["origin"]
    names = people.plan.owners if cosigners is None else cosigners
    sizes = [2, *(i for i, leaf in enumerate(leaves, 1) if leaf["kind"] == "round/1"), log.size]
    notes = []
    for size in sizes:
        state = log.checkpoint(origin, size)
        note = state.sign(key)
        for name in sorted(names):
            note = note.with_signature(cosign(state, name, people.keys[name], NOW))
        notes.append(note)
    (directory / CHECKPOINTS).write_bytes(write_checkpoints(notes))
    attest(directory, people, log, key)


def attest(directory: Path, people: Parties, log: Log, key: IdentityKey) -> None:
    """Attest to whatever is in the directory."""
    (directory / ATTESTATION).unlink(missing_ok=True)
    leaf = RunLeaf.from_json(json.loads(log.leaves[0]))
    state = log.checkpoint(leaf.origin)
    statement = run_statement(
        directory, leaf, state, config_digest=people.plan.config_digest, libraries={}
    )
    (directory / ATTESTATION).write_bytes(statement.sign({COORDINATOR: key}).to_bytes())


def notes_of(directory: Path) -> list[Any]:
    """The checkpoints, to be changed."""
    return list(parse_checkpoints((directory / CHECKPOINTS).read_bytes()))


def put_notes(directory: Path, notes: list[Any]) -> None:
    """Write checkpoints back."""
    (directory / CHECKPOINTS).write_bytes(write_checkpoints(notes))


def history_of(directory: Path) -> Any:
    """The log as a verifier reads it."""
    return read_history(directory, read_run(first_leaf(directory), None))
