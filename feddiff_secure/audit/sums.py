"""Step 3: the sum of every release, from the stored masked vectors and the opened secrets.

For a release in masked mode:

1. the roster is the one the leaf names, every advert signed by its owner for this plan, round and
   model;
2. the survivors reach τ, and at least τ of them signed their set;
3. the stored vectors are those that the leaf names, survivor by survivor;
4. the opened secrets are those that the leaf names, and what the adverts committed to;
5. the vectors' sum, freed of its masks, has the digest in the leaf.

Without the vectors (encrypted mode, plain mode, pruned runs) the steps that need them fall away,
and the verdict says so. In encrypted mode at least τ owners signed the sum's digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from feddiff_crypto.encoding import decode
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.decrypt import check_sum_signatures
from feddiff_crypto.he.messages import SumSignature, sum_digest
from feddiff_crypto.keys import CONSISTENCY_LABEL
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.contributions import check_contributions
from feddiff_crypto.masking.mask_keys import open_mask_key
from feddiff_crypto.masking.messages import MaskedInput, SurvivorSet
from feddiff_crypto.masking.roster import check_roster
from feddiff_crypto.masking.unmasking import Revealed, remove_masks
from feddiff_secure.audit.pruned import is_pruned
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import StepFailedError, require
from feddiff_secure.federation.context import attempt_context
from feddiff_secure.transcript.digests import message_bytes, message_digest
from feddiff_secure.transcript.files import ROSTERS, VECTORS, file_digest, read_bytes
from feddiff_secure.transcript.leaves import ManifestLeaf, RoundLeaf
from feddiff_secure.transcript.opened import OpenedMessage
from feddiff_secure.transcript.rosters import MAX_BYTES, parse_rosters
from feddiff_secure.transcript.vectors import VectorsReader


def check_sums(
    directory: Path, run: Run, rounds: tuple[RoundLeaf, ...], manifest: ManifestLeaf
) -> list[RingArray] | None:
    """Every release's sum in the ring, in order; None where the sums cannot be recomputed.

    Raises:
        CryptoError, VerificationError, StepFailedError: the first thing that does not hold.
    """
    if run.plan.aggregation == "plain":
        for leaf in rounds:
            stray = set(leaf.inputs) - set(run.plan.owners)
            require(not stray, f"{_name(leaf)}: {sorted(stray)} are not in the plan")
        return None
    rosters = parse_rosters(read_bytes(directory / ROSTERS, MAX_BYTES))
    require(
        len(rosters) == len(rounds), f"{len(rosters)} rosters for {len(rounds)} completed releases"
    )
    for leaf, roster in zip(rounds, rosters, strict=True):
        check_agreement(run, leaf)
        _check_roster(run, leaf, roster)  # 1
    if run.plan.aggregation == "encrypted" or is_pruned(directory, manifest):
        return None
    found = file_digest(directory / VECTORS)
    require(
        found == manifest.files.get(VECTORS),
        f"{VECTORS} has SHA-256 {found.hex()}, not the one in the log's manifest",
    )
    with VectorsReader(directory / VECTORS) as vectors:
        return list(_totals(run, rounds, rosters, vectors))


def check_agreement(run: Run, leaf: RoundLeaf) -> None:
    """Step 2, and what ties the leaf's context to the plan: all that follows from the leaf alone.

    Raises:
        CryptoError, StepFailedError: it does not hold.
    """
    plan, where = run.plan, _name(leaf)
    assert leaf.roster is not None
    assert leaf.context is not None
    assert leaf.signatures is not None
    key = leaf.key
    bare = attempt_context(plan, key.phase, key.round_index, key.attempt, leaf.model)
    context = bare.with_roster(leaf.roster).digest()
    require(leaf.context == context, f"{where}: its context is not that of plan, model and roster")
    plan.policy.require(f"{where}: survivors", len(leaf.survivors))
    stray = set(leaf.signatures) - set(leaf.survivors)
    require(not stray, f"{where}: {sorted(stray)} signed and did not survive")
    plan.policy.require(f"{where}: signatures of the survivor set", len(leaf.signatures))
    digest = SurvivorSet(context, leaf.survivors).digest()
    for party, signature in leaf.signatures.items():
        run.owners.verify(party, signature, CONSISTENCY_LABEL, digest)
    if leaf.mode == "encrypted":
        messages = {
            party: SumSignature(context, party, leaf.aggregate, signature)
            for party, signature in (leaf.sum_signatures or {}).items()
        }
        check_sum_signatures(messages, run.owners, plan.policy, context)


def _check_roster(run: Run, leaf: RoundLeaf, roster: Roster) -> None:
    where, plan, key = _name(leaf), run.plan, leaf.key
    require(roster.digest() == leaf.roster, f"{where}: {ROSTERS} holds another roster")
    bare = attempt_context(plan, key.phase, key.round_index, key.attempt, leaf.model)
    check_roster(roster, run.owners, plan.policy, bare.digest(), plan.agreement)
    stray = set(leaf.survivors) - set(roster.parties)
    require(not stray, f"{where}: {sorted(stray)} survived and are not on the roster")


def _totals(
    run: Run, rounds: tuple[RoundLeaf, ...], rosters: tuple[Roster, ...], vectors: VectorsReader
) -> Iterator[RingArray]:
    for leaf, roster in zip(rounds, rosters, strict=True):
        where, context = _name(leaf), leaf.context
        assert context is not None
        total = _masked_sum(run, leaf, vectors)  # 3
        revealed, contributions = _revealed(run, leaf, roster, vectors)  # 4
        remove_masks(total, roster, context, revealed, contributions)
        found = sum_digest(total, context)  # 5
        require(
            found == leaf.aggregate,
            f"{where}: the sum of the stored vectors has digest {found.hex()}, the log says "
            f"{leaf.aggregate.hex()}",
        )
        yield total


def _masked_sum(run: Run, leaf: RoundLeaf, vectors: VectorsReader) -> RingArray:
    grid = run.plan.grid(leaf.key.phase)
    found = vectors.vectors(leaf.key, leaf.survivors, grid.dimension, grid.ring_bits)
    total: RingArray = np.zeros_like(next(iter(found.values())))
    assert leaf.context is not None
    for party, vector in found.items():
        digest = message_digest(MaskedInput(leaf.context, party, vector).to_message())
        require(
            digest == leaf.inputs[party],
            f"{_name(leaf)}: the stored vector of {party} is not the one that the log names",
        )
        np.add(total, vector, out=total)  # unsigned: modulo 2ᵏ
    return total


def _revealed(
    run: Run, leaf: RoundLeaf, roster: Roster, vectors: VectorsReader
) -> tuple[Revealed, dict[str, dict[str, bytes]]]:
    where = _name(leaf)
    data = vectors.opened(leaf.key)
    message = decode(data)
    require(
        message_bytes(message) == data and message_digest(message) == leaf.opened,
        f"{where}: the stored secrets are not those that the log names",
    )
    opened = OpenedMessage.read(message)
    require(tuple(opened.self_secrets) == leaf.survivors, f"{where}: secrets of other survivors")
    adverts = roster.by_party()
    strangers = set(opened.mask_keys) - set(adverts)
    require(not strangers, f"{where}: mask keys of {sorted(strangers)}, not on the roster")
    require(
        (opened.contributions is not None) == roster.is_hybrid,
        f"{where}: contributions do not go with the key agreement",
    )
    contributions = {p: dict(rows) for p, rows in (opened.contributions or {}).items()}
    assert leaf.context is not None
    for recipient, rows in contributions.items():
        check_contributions(rows, recipient, run.owners, leaf.context)
    try:
        keys = {p: open_mask_key(raw, adverts[p]) for p, raw in opened.mask_keys.items()}
    except ValueError as error:
        raise StepFailedError(f"{where}: {error}") from None
    return Revealed(opened.self_secrets, keys), contributions


def _name(leaf: RoundLeaf) -> str:
    return f"{leaf.key.phase} round {leaf.key.round_index}"
