"""`audit verify`: what a run directory proves, in eight steps.

1. Signatures and roster: the first leaf names the parties and the plan, signed by the owners; the
   keys are the pinned ones; the plan holds; the configuration is the plan's.
2. Log, checkpoints and witnesses: one history, each of its checkpoints signed by its keeper and
   cosigned by more than (n + c)/2 owners.
3. Sums recomputed: each release's sum from the stored masked vectors and opened secrets.
4. Model re-derived: the model file from the sums, by the code that trains.
5. Epsilon recomputed: the privacy statement from the plan and the events.
6. Ledgers agree with what their owners signed.
7. Every file is listed in the log's last leaf with its hash, and none is missing.
8. Attestation of configuration, code and environment.

A step begins when all before it hold. Nothing here imports torch or opens a connection.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from feddiff_crypto.registry_file import RegistryFile
from feddiff_secure.audit.history import History, read_history
from feddiff_secure.audit.ledgers import LedgerFindings, check_ledgers
from feddiff_secure.audit.model import check_derivation, check_form, check_signed
from feddiff_secure.audit.privacy import check_privacy
from feddiff_secure.audit.roster import Run, first_leaf, read_config, read_run
from feddiff_secure.audit.run_files import check_attestation, check_files
from feddiff_secure.audit.sums import check_sums
from feddiff_secure.audit.verdict import Status, Step, StepFailedError, Verdict
from feddiff_secure.errors import UsageError
from feddiff_secure.transcript.files import check_finished
from feddiff_secure.version import __version__

NOT_PINNED = (
    "identities not pinned: the keys are those that the log itself names; give --registry to "
    "compare them with keys you know"
)


def verify_run(
    directory: Path, *, pins: RegistryFile | None = None, ledgers: Path | None = None
) -> Verdict:
    """Verify a run directory.

    Args:
        directory: of a finished run.
        pins: identities that the reader knows; None to believe those in the log, which the verdict
            then says.
        ledgers: folder of the owners' ledgers, where it is not in the run directory.

    Returns:
        The verdict; the first step that fails ends it.

    Raises:
        UsageError: no directory, or that of an unfinished run.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", "give the --out directory of a run")
    check_finished(directory)
    if ledgers is not None and not ledgers.is_dir():
        raise UsageError(f"ledgers: {ledgers} is not a directory", "give the folder of the ledgers")
    verdict = Verdict()
    if pins is None:
        verdict.notes.append(NOT_PINNED)
    with suppress(StepFailedError):  # it is in the verdict
        _verify(verdict, directory, pins, ledgers)
    return verdict


def _verify(
    verdict: Verdict, directory: Path, pins: RegistryFile | None, ledgers: Path | None
) -> None:
    with verdict.step(1) as step:
        run = read_run(first_leaf(directory), pins)
        config = read_config(directory, run.plan)
        step.detail = _parties(run, pinned=pins is not None)
    with verdict.step(2) as step:
        history = read_history(directory, run)
        step.detail = (
            f"{history.log.size} leaves, {len(history.notes)} checkpoints, each with at least "
            f"{history.least_cosigners} cosignatures ({run.policy.quorum} needed)"
        )
    with verdict.step(3) as step:
        sums = check_sums(directory, run, history.rounds, history.manifest)
        if sums is None:
            _not_recomputed(verdict, step, run, history)
        else:
            step.detail = f"{len(sums)} sums, bit for bit"
    with verdict.step(4) as step:
        if sums is not None:
            digest = check_derivation(directory, run, history, sums)
            step.detail = f"model.safetensors, SHA-256 {digest}"
        elif run.plan.aggregation == "encrypted":
            signed = check_signed(directory, run, history)
            step.status = Status.PARTLY
            step.detail = f"weights signed by {signed} owners, not re-derived"
        else:
            check_form(directory, history)
            step.status = Status.PARTLY
            step.detail = "not re-derived: the sums are not there; its hash is in the log"
    with verdict.step(5) as step:
        privacy = check_privacy(directory, run, history, config)
        step.detail = f"epsilon {privacy['epsilon']} at delta {privacy['delta']}, every row"
        if privacy["code_version"] != __version__:
            verdict.notes.append(
                "step 5: the statement is by another version of this code; its words were not "
                "compared, its numbers were"
            )
    with verdict.step(6) as step:
        found = check_ledgers(
            directory, run, history, config=config, privacy=privacy, folder=ledgers
        )
        _say_ledgers(verdict, step, found)
    with verdict.step(7) as step:
        step.detail = f"{check_files(directory, history.manifest)} files"
    with verdict.step(8) as step:
        step.detail = check_attestation(directory, run, history)


def _parties(run: Run, *, pinned: bool) -> str:
    return (
        f"{len(run.leaf.signatures)} of {len(run.plan.owners)} owners signed the plan "
        f"{run.plan.digest().hex()[:16]}; " + ("keys as pinned" if pinned else "keys not pinned")
    )


def _not_recomputed(verdict: Verdict, step: Step, run: Run, history: History) -> None:
    step.status = Status.PARTLY
    number = len(history.rounds)
    match run.plan.aggregation:
        case "encrypted":
            step.detail = f"{number} sums signed, not recomputed: only key holders can decrypt"
        case "plain":
            step.detail = f"{number} sums hashed, not recomputed: plain vectors are not kept"
        case _:
            step.detail = f"{number} sums hashed, not recomputed: vectors were pruned"
    verdict.notes.append(f"step {step.number}: {step.detail}")


def _say_ledgers(verdict: Verdict, step: Step, found: LedgerFindings) -> None:
    step.detail = f"{found.spoke} heads signed, {found.shown} ledgers shown"
    if not found.shown:
        step.status = Status.PARTLY
        verdict.notes.append(
            "step 6: no ledger was shown; give --ledgers, or ask the owners for theirs"
        )
    elif not found.current:
        verdict.notes.append(
            "step 6: lifetime_epsilon was not recomputed: a ledger has moved on, or was not shown"
        )
