"""Faults that other secure-aggregation code has had, each shown to be absent here.

Those that concern a state of the protocol (both kinds of share for one owner, keys of a dropped
owner, replay, different models) are with the hostile coordinator; these concern the masks.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

import feddiff_crypto
from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.errors import DecodeError, OverflowRefusedError, ShareError, SurvivorSetError
from feddiff_crypto.fixedpoint import Grid, round_nearest
from feddiff_crypto.keys import AgreementKey
from feddiff_crypto.masking.messages import MaskedInput, SealedShares, SurvivorSet, UnmaskRequest
from feddiff_crypto.masking.seeds import pairwise_seed, self_seed
from feddiff_crypto.prg import MaskSeed, add_masks
from feddiff_crypto.shamir import Share, combine
from tests.adversaries.masking_owners import (
    CONTEXT,
    NAMES,
    POLICY,
    RANDOM,
    VECTORS,
    masked,
    rostered,
    shared,
    signed,
)


def stream(seed: MaskSeed, size: int = 64) -> bytes:
    total = np.zeros(size, np.uint32)
    add_masks(total, [seed])
    return total.tobytes()


def test_every_bit_of_a_seed_counts() -> None:
    """Flower 1.41 folds a key into the 32 bits that MT19937 is seeded with."""
    key = RANDOM.random_bytes(32)
    streams = {stream(MaskSeed(key))}
    for bit in range(256):
        changed = bytearray(key)
        changed[bit // 8] ^= 1 << (bit % 8)
        streams.add(stream(MaskSeed(bytes(changed))))
    assert len(streams) == 257


def test_every_bit_of_what_two_owners_agreed_on_counts() -> None:
    """Seeds follow from the whole shared secret and context: none of 256 changes collides."""
    ann, bob = AgreementKey.generate(RANDOM), AgreementKey.generate(RANDOM)
    context = RANDOM.random_bytes(32)
    seeds = {pairwise_seed(ann, "ann", bob.public, "bob", context).key}
    for bit in range(256):
        changed = bytearray(context)
        changed[bit // 8] ^= 1 << (bit % 8)
        seeds.add(pairwise_seed(ann, "ann", bob.public, "bob", bytes(changed)).key)
        seeds.add(self_seed(bytes(changed), "ann", context).key)
    assert len(seeds) == 513
    assert all(len(seed) == 32 for seed in seeds)


def test_each_coordinate_has_its_own_mask() -> None:
    """OpenFL 1.9 adds one float to the whole model: differences of coordinates stay in clear."""
    owners, _, _, delivered = shared()
    sent = owners.mask("ann", delivered["ann"])
    mask = sent - VECTORS["ann"]
    assert len(set(mask.tolist())) == mask.size
    assert not np.array_equal(np.diff(sent), np.diff(VECTORS["ann"]))


def test_masks_are_integers_of_the_ring_and_cover_it() -> None:
    """A mask of floats, or of fewer bits than the ring has, leaves a vector's size visible."""
    total = np.zeros(2**16, np.uint32)
    add_masks(total, [MaskSeed(RANDOM.random_bytes(32))])
    for bit in range(32):
        ones = int(np.count_nonzero(total & np.uint32(1 << bit)))
        assert abs(ones - total.size / 2) < 6 * np.sqrt(total.size / 4)
    counts = np.bincount(total.view(np.uint8), minlength=256)
    statistic = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert chi2.sf(statistic, 255) > 1e-9


def test_no_generator_of_numpy_or_of_the_standard_library_is_in_the_package() -> None:
    """SecretFlow and declearn draw masks from PCG64, whose state a few outputs reveal."""
    for path in Path(feddiff_crypto.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {"random", "numpy.random", "secrets"} & set(imported), path
            attribute = isinstance(node, ast.Attribute) and ast.unparse(node) == "np.random"
            assert not attribute, path


def test_an_owner_has_no_field_for_counts_weights_or_statistics() -> None:
    """A sample count beside a masked vector is in clear; here a message has no room for one."""
    fields = MaskedInput(bytes(32), "ann", VECTORS["ann"]).to_message()
    assert set(fields) == {"kind", "context", "party", "vector"}
    for extra in ("sample_count", "weight", "loss", "num_examples"):
        with pytest.raises(DecodeError, match="unknown fields"):
            MaskedInput.from_message(decode(encode(fields | {extra: 12})))


def test_nothing_is_clipped_or_wrapped_in_silence() -> None:
    with pytest.raises(OverflowRefusedError, match="2\\^53"):
        round_nearest(np.array([1e300]), 1.0)
    with pytest.raises(OverflowRefusedError, match="grid units"):
        Grid(1.0).plan(owners=4, coordinate_bound=2**29, noise_std=0.0)
    assert Grid(1.0).plan(owners=3, coordinate_bound=2**29, noise_std=0.0).worst == 3 * 2**29


def test_what_recovers_a_dropped_owner_opens_no_earlier_round() -> None:
    """Where keys serve several rounds, one dropout opens all that its key had masked before."""
    keys = set()
    for attempt in range(2):
        owners, roster = rostered()
        adverts = roster.by_party()
        keys |= {adverts[name].mask_key for name in NAMES}
        keys |= {adverts[name].sealing_key for name in NAMES}
        assert len(keys) == 2 * len(NAMES) * (attempt + 1)
        assert owners.states["ann"]._held.secrets.mask_key.public.raw == adverts["ann"].mask_key


def test_a_dropped_owners_mask_key_does_not_open_the_shares_sealed_to_it() -> None:
    """One key for masks and for sealing would let the coordinator read what it recovers."""
    owners, roster, _, _ = shared()
    held = {name: owners.states[name]._held for name in NAMES}
    secrets = held["dee"].secrets
    assert secrets.mask_key != secrets.sealing_key
    assert roster.by_party()["dee"].mask_key != roster.by_party()["dee"].sealing_key


def test_a_late_vector_of_a_dropped_owner_stays_masked() -> None:
    """dee's vector arrives after its mask key was opened: its self mask still covers it."""
    owners, context = masked()
    survivors = NAMES[:3]
    signatures = {name: owners.sign(name, SurvivorSet(context, survivors)) for name in survivors}
    request = UnmaskRequest(context, survivors, signatures)
    replies = {name: owners.reveal(name, request) for name in survivors}
    assert all(set(reply.key_shares) == {"dee"} for reply in replies.values())
    assert all("dee" not in reply.self_shares for reply in replies.values())
    opened = [Share.from_bytes(NAMES.index(n) + 1, r.key_shares["dee"]) for n, r in replies.items()]
    assert len(combine(opened, POLICY.threshold)) == 32  # the pairwise masks are known now
    # Nobody answers twice, and dee itself signs no set that it is not in.
    owners.refuse(
        SurvivorSetError, lambda: owners.sign("dee", SurvivorSet(context, survivors)), "dee"
    )


def test_a_share_sealed_for_one_owner_is_worthless_to_another() -> None:
    owners, roster = rostered()
    sent = owners.share("ann", roster)
    assert isinstance(sent, SealedShares)
    assert set(sent.sealed) == set(NAMES) - {"ann"}
    assert len(set(sent.sealed.values())) == 3
    owners, _, context, delivered = shared()
    crossed = dataclasses.replace(
        delivered["bob"], recipient="cy", sealed=dict(delivered["bob"].sealed)
    )
    assert crossed.context == context != CONTEXT.digest()
    owners.refuse(ShareError, lambda: owners.mask("cy", crossed))


def test_dropping_after_the_unmask_request_changes_nothing_that_was_signed() -> None:
    """A survivor that falls silent last is still in the sum: no second set is asked for."""
    owners, request = signed()
    replies = [owners.reveal(name, request) for name in NAMES[:3]]  # dee is silent
    for reply in replies:
        assert set(reply.self_shares) == set(NAMES)
        assert not reply.key_shares
    state = owners.states["dee"]
    fewer = UnmaskRequest(request.context, NAMES[:3], dict(list(request.signatures.items())[:3]))
    owners.refuse(SurvivorSetError, lambda: state.reveal(fewer, owners.persisted.append))
