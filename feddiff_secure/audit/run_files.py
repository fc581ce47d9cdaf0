"""Steps 7 and 8: every file of the run directory is listed, and the attestation speaks of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feddiff_crypto.attest.statement import RUN_PREDICATE, verify_attestation
from feddiff_crypto.keys import Registry
from feddiff_secure.audit.history import History
from feddiff_secure.audit.pruned import is_pruned
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import require
from feddiff_secure.transcript.attestation import PREDICATE_FIELDS, code_digest, subjects
from feddiff_secure.transcript.files import ATTESTATION, COORDINATOR, PRUNED, VECTORS, read_bytes
from feddiff_secure.transcript.files import manifest as manifest_of
from feddiff_secure.transcript.leaves import ManifestLeaf
from feddiff_secure.version import __version__

_MOST_BYTES = 2**23


def check_files(directory: Path, manifest: ManifestLeaf) -> int:
    """Compare all files with the manifest; how many there are.

    Raises:
        VerificationError: a link, a special file, a name that no run makes, an unreadable file.
        StepFailedError: an unlisted, missing or changed file.
    """
    wanted, found = dict(manifest.files), manifest_of(directory)
    if is_pruned(directory, manifest):
        wanted.pop(VECTORS)
    for what, names in (
        ("not in the manifest", sorted(found.keys() - wanted.keys())),
        ("missing", sorted(wanted.keys() - found.keys())),
    ):
        require(not names, f"{', '.join(names[:5])}: {what}")
    for name, digest in wanted.items():
        require(
            found[name] == digest,
            f"{name} has SHA-256 {found[name].hex()}, the manifest {digest.hex()}",
        )
    return len(found)


def check_attestation(directory: Path, run: Run, history: History) -> str:
    """Verify the attestation; which code made the run, in words.

    Raises:
        CryptoError, VerificationError, StepFailedError: the first thing that does not hold.
    """
    data = read_bytes(directory / ATTESTATION, _MOST_BYTES)
    keys = Registry({COORDINATOR: run.policy.log_key})
    statement = verify_attestation(data, keys, [COORDINATOR], RUN_PREDICATE)
    wanted, found = dict(statement.subjects), subjects(directory)
    if is_pruned(directory, history.manifest):
        found.pop(PRUNED)
        removed = wanted.pop(VECTORS, None)
        require(removed == history.manifest.files[VECTORS], f"attested was another {VECTORS}")
    for name in sorted(wanted.keys() | found.keys()):
        require(wanted.get(name) == found.get(name), f"{name} is not as it was attested")
    predicate: Mapping[str, Any] = statement.predicate
    require(set(predicate) == PREDICATE_FIELDS, f"the predicate has fields {sorted(predicate)}")
    state = history.log.checkpoint(run.leaf.origin)
    for name, value in (
        ("session", run.plan.session),
        ("config", run.plan.config_digest),
        ("plan", run.plan.digest().hex()),
        ("log", {"origin": state.origin, "size": state.size, "root": state.root.hex()}),
    ):
        require(predicate[name] == value, f"the attested {name} is not that of the log")
    return _code(predicate)


def _code(predicate: Mapping[str, Any]) -> str:
    code, environment = predicate["code"], predicate["environment"]
    require(
        isinstance(code, dict) and set(code) == {"version", "sha256"}, "no code version is attested"
    )
    require(isinstance(environment, dict), "no environment is attested")
    own = code_digest().hex()
    same = code == {"version": __version__, "sha256": own}
    return (
        f"code {code['version']} ({str(code['sha256'])[:16]}), "
        + (
            "the same as this verifier's"
            if same
            else f"this verifier's is {__version__} ({own[:16]})"
        )
        + f"; Python {environment.get('python')} on {environment.get('system')}"
    )
