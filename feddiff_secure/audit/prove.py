"""`audit prove` and `audit check-proof`: one file that says whether an owner is in a round.

    feddiff-secure.invalid/contribution@v1
    owner <name>

    <C2SP tlog-proof of the log's first leaf: parties, keys, plan>

    <C2SP tlog-proof of the round's leaf>

Both proofs lead to the same checkpoint. The first leaf brings the identities and the plan, so the
file needs no other; with a registry they are compared with the pinned ones. The round's leaf names
everybody whose vector is in the sum, and the survivors signed that set, so the same leaf proves
that an owner is in it, or that it is not. The first two lines are the question; they prove nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.keys import is_party_name
from feddiff_crypto.registry_file import RegistryFile
from feddiff_crypto.tlog.log import MAX_LOG_BYTES, parse_leaf, parse_log
from feddiff_crypto.tlog.proof import MAX_PROOF_BYTES, Proof, make_proof, parse_proof
from feddiff_secure.audit.roster import Run, read_run
from feddiff_secure.audit.sums import check_agreement
from feddiff_secure.audit.verdict import StepFailedError, require
from feddiff_secure.errors import UsageError
from feddiff_secure.transcript.checkpoints import MAX_BYTES, parse_checkpoints
from feddiff_secure.transcript.files import CHECKPOINTS, LEAVES, read_bytes
from feddiff_secure.transcript.leaves import RoundLeaf, read_leaf

HEADER: Final = "feddiff-secure.invalid/contribution@v1"
MAX_CONTRIBUTION_BYTES: Final = 2 * MAX_PROOF_BYTES + 256


@dataclass(frozen=True, slots=True)
class ContributionProof:
    """The file; nothing is verified until `check`.

    Attributes:
        owner: whom the question is about.
        run: proof of the first leaf. round_: proof of the round's leaf.
    """

    owner: str
    run: Proof
    round_: Proof

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        head = f"{HEADER}\nowner {self.owner}\n\n".encode()
        return head + self.run.to_bytes() + b"\n" + self.round_.to_bytes()


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a proof shows.

    Attributes:
        owner: who. phase, round_index, attempt: which release.
        included: whether its vector is in the sum.
        digest: SHA-256 of the message with its vector; None if it is not in it.
        survivors: whose vectors are.
        signed_by: survivors that signed the set; none in plain mode.
        mode: of the aggregation.
        cosigned_by: owners that cosigned the checkpoint.
        session: of the run. pinned: whether identities were compared with a registry.
    """

    owner: str
    phase: str
    round_index: int
    attempt: int
    included: bool
    digest: bytes | None
    survivors: tuple[str, ...]
    signed_by: tuple[str, ...]
    mode: str
    cosigned_by: tuple[str, ...]
    session: str
    pinned: bool

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "owner": self.owner,
            "session": self.session,
            "phase": self.phase,
            "round": self.round_index,
            "attempt": self.attempt,
            "included": self.included,
            "input_sha256": None if self.digest is None else self.digest.hex(),
            "mode": self.mode,
            "survivors": list(self.survivors),
            "signed_by": list(self.signed_by),
            "cosigned_by": list(self.cosigned_by),
            "identities_pinned": self.pinned,
        }

    def to_lines(self) -> list[str]:
        """Words for a terminal."""
        what = f"{self.phase} round {self.round_index} of run {self.session}"
        lines = [
            f"{self.owner} is {'in' if self.included else 'NOT in'} {what} ({self.mode})",
            f"in it: {', '.join(self.survivors)}",
            f"set signed by {len(self.signed_by)} owners, log cosigned by {len(self.cosigned_by)}",
        ]
        if self.digest is not None:
            lines.insert(1, f"SHA-256 of what it sent: {self.digest.hex()}")
        if not self.signed_by:
            lines.append("note: a plain round; its survivor set is the coordinator's word")
        if not self.pinned:
            lines.append("note: identities not pinned: give --registry to compare keys you know")
        return lines


def make_contribution(
    directory: Path, *, owner: str, phase: str, round_index: int
) -> ContributionProof:
    """The proof about one owner and one round, towards the last checkpoint.

    Raises:
        UsageError: no such owner or round in this run.
        VerificationError, CryptoError, StepFailedError: the transcript cannot be read.
    """
    log = parse_log(read_bytes(directory / LEAVES, MAX_LOG_BYTES))
    notes = parse_checkpoints(read_bytes(directory / CHECKPOINTS, MAX_BYTES))
    require(log.size > 0, f"{LEAVES} is empty")
    run = read_run(log.leaves[0], None)
    if owner not in run.plan.owners:
        raise UsageError(
            f"owner: {owner!r} is not in this run", f"one of {', '.join(run.plan.owners)}"
        )
    for index, data in enumerate(log.leaves):
        leaf = read_leaf(parse_leaf(data, f"leaf {index}"))
        if not isinstance(leaf, RoundLeaf):
            continue
        if (leaf.key.phase, leaf.key.round_index) == (phase, round_index):
            try:
                pair = make_proof(log, 0, notes[-1]), make_proof(log, index, notes[-1])
            except ValueError as error:
                raise StepFailedError(str(error)) from None
            return ContributionProof(owner, *pair)
    raise UsageError(
        f"round: the run has no completed {phase} round {round_index}",
        "rounds count from 0; metrics.jsonl lists them",
    )


def parse_contribution(data: bytes) -> ContributionProof:
    """Read the file; nothing is verified.

    Raises:
        LimitError: larger than such a file may be.
        DecodeError: not the one form of one.
    """
    if len(data) > MAX_CONTRIBUTION_BYTES:
        raise LimitError(f"proof: {len(data)} bytes > limit {MAX_CONTRIBUTION_BYTES}")
    parts = data.split(b"\n\n")
    if len(parts) != 7:
        raise DecodeError("proof: not a head and two proofs")
    head = parts[0].split(b"\n")
    if len(head) != 2 or head[0] != HEADER.encode() or not head[1].startswith(b"owner "):
        raise DecodeError(f"proof: its first two lines are not {HEADER} and an owner")
    owner = head[1].removeprefix(b"owner ").decode("ascii", "replace")
    if not is_party_name(owner):
        raise DecodeError("proof: its owner is no party name")
    run = parse_proof(b"\n\n".join(parts[1:4]) + b"\n")
    proof = ContributionProof(owner, run, parse_proof(b"\n\n".join(parts[4:7])))
    if proof.to_bytes() != data:
        raise DecodeError("proof: not in its one form")
    return proof


def check_contribution(proof: ContributionProof, pins: RegistryFile | None) -> Contribution:
    """What a proof shows.

    1. The first proof's leaf is a run's first, signed by its owners, with the pinned identities.
    2. Both leaves are in the log at their places, under one checkpoint that the log's keeper signed
       and more than (n + c)/2 owners cosigned, with no line of an unknown key.
    3. The second leaf is a release of that run; its survivors signed their set for plan, model and
       roster of that release.

    Args:
        proof: the file.
        pins: identities that the reader knows; None to believe those in the proof.

    Raises:
        CryptoError, StepFailedError: the first thing that does not hold.
    """
    run = read_run(proof.run.leaf, pins)  # 1
    require(proof.run.index == 0, "the first proof is not of the log's first leaf")
    require(proof.run.note == proof.round_.note, "the two proofs lead to two checkpoints")
    proof.run.verify(run.policy)  # 2
    proven = proof.round_.verify(run.policy)
    require(not proven.cosigned.unknown, "the checkpoint has a line of an unknown key")
    leaf = read_leaf(proven.leaf)  # 3
    if not isinstance(leaf, RoundLeaf):
        raise StepFailedError(f"the second leaf is {leaf.KIND}, not of a release")
    require(leaf.mode == run.plan.aggregation, "the release is of another mode than the plan")
    require(
        run.plan.allows(leaf.key.phase, leaf.key.round_index, leaf.key.attempt),
        "the plan has no such release",
    )
    if leaf.mode != "plain":
        check_agreement(run, leaf)
    require(proof.owner in run.plan.owners, f"{proof.owner} is no owner of this run")
    return _shown(proof.owner, run, leaf, tuple(proven.cosigned.times), pinned=pins is not None)


def _shown(
    owner: str, run: Run, leaf: RoundLeaf, cosigners: tuple[str, ...], *, pinned: bool
) -> Contribution:
    return Contribution(
        owner=owner,
        phase=leaf.key.phase,
        round_index=leaf.key.round_index,
        attempt=leaf.key.attempt,
        included=owner in leaf.inputs,
        digest=leaf.inputs.get(owner),
        survivors=leaf.survivors,
        signed_by=tuple(sorted(leaf.signatures or {})),
        mode=leaf.mode,
        cosigned_by=tuple(sorted(cosigners)),
        session=run.plan.session,
        pinned=pinned,
    )
