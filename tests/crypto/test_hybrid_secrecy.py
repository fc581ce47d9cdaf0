"""Recorded vectors stay masked unless both X25519 and ML-KEM-768 fall.

The attacker has every message of a round, and the private keys that breaking one of the two, or
both, would give it. What follows from a key by HKDF backwards it has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import ShareError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.hybrid import (
    HybridKey,
    HybridPublic,
    KeyAgreement,
    SealingKey,
    combine_secrets,
    transcript,
)
from feddiff_crypto.keys import AgreementKey, AgreementPublic
from feddiff_crypto.masking.contributions import contribution, open_contribution
from feddiff_crypto.masking.mask_keys import HybridMaskKey
from feddiff_crypto.masking.messages import DeliveredShares, Roster
from feddiff_crypto.masking.seeds import hybrid_pairwise_seed, pairwise_seed, self_seed
from feddiff_crypto.mlkem import KemKey, KemPublic
from feddiff_crypto.prg import MaskSeed, add_masks
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.sealing import seal, unseal
from feddiff_crypto.shamir import Share, combine
from tests.adversaries.masking_owners import NAMES, POLICY, VECTORS, shared

RANDOM = SecureRandom()
BYTES = st.binary(min_size=32, max_size=32)


@dataclass(frozen=True)
class GuessedKem(KemKey):
    """A made-up ML-KEM key of somebody whose public key is known."""

    known: KemPublic

    @property
    def public(self) -> KemPublic:
        return self.known


@dataclass(frozen=True)
class GuessedAgreement(AgreementKey):
    """A made-up X25519 key of somebody whose public key is known."""

    known: AgreementPublic

    @property
    def public(self) -> AgreementPublic:
        return self.known


def guess_kem(true: KemKey) -> KemKey:
    return GuessedKem(RANDOM.random_bytes(64), true.public)


def guess_agreement(true: AgreementKey) -> AgreementKey:
    return GuessedAgreement(RANDOM.random_bytes(32), true.public)


@dataclass
class Broken:
    """What an attacker has of one owner: the right private keys, or only some of its own making."""

    mask: AgreementKey
    mask_kem: KemKey
    sealing: SealingKey


@dataclass
class Recording:
    """All that crossed the wire of a round."""

    roster: Roster
    context: bytes
    delivered: Mapping[str, DeliveredShares]
    vectors: Mapping[str, RingArray]


def record(agreement: KeyAgreement) -> tuple[Recording, dict[str, Broken]]:
    """A round, and everyone's private keys."""
    owners, roster, context, delivered = shared(agreement)
    keys = {}
    for name in NAMES:
        secrets = owners.states[name]._held.secrets
        mask = secrets.mask_key
        if isinstance(mask, HybridMaskKey):
            keys[name] = Broken(mask.agreement, mask.kem, secrets.sealing_key)
        else:
            keys[name] = Broken(mask, KemKey.generate(RANDOM), secrets.sealing_key)
    vectors = {name: owners.mask(name, delivered[name]) for name in NAMES}
    return Recording(roster, context, delivered, vectors), keys


def only(broken: str, keys: Mapping[str, Broken]) -> dict[str, Broken]:
    """The keys of whoever breaks one of the two; the other's private keys are guessed."""

    def part(true: Broken) -> Broken:
        sealing = true.sealing
        assert isinstance(sealing, HybridKey)
        if broken == "x25519":
            guessed = HybridKey(sealing.agreement, guess_kem(sealing.kem))
            return Broken(true.mask, guess_kem(true.mask_kem), guessed)
        guessed = HybridKey(guess_agreement(sealing.agreement), sealing.kem)
        return Broken(guess_agreement(true.mask), true.mask_kem, guessed)

    return {name: part(true) for name, true in keys.items()}


def open_vector(recording: Recording, keys: Mapping[str, Broken], victim: str) -> RingArray:
    """The vector of `victim`, from the recording and private keys alone."""
    roster, context = recording.roster, recording.context
    adverts = roster.by_party()
    shares = []
    for x, holder in enumerate(roster.parties, start=1):
        if holder == victim:
            continue
        bundle = unseal(
            recording.delivered[holder].sealed[victim],
            key=keys[holder].sealing,
            peer=AgreementPublic(adverts[victim].sealing_key),
            context=context,
            sender=victim,
            recipient=holder,
        )
        shares.append(Share.from_bytes(x, bundle[:33]))
    secret = combine(shares[: POLICY.threshold], POLICY.threshold)
    plus, minus = [self_seed(secret, victim, context)], list[MaskSeed]()
    for peer in NAMES:
        if peer != victim:
            seed = open_seed(recording, keys, victim, peer)
            (plus if peer > victim else minus).append(seed)
    vector = recording.vectors[victim].copy()
    add_masks(vector, minus, plus)
    return vector


def open_seed(recording: Recording, keys: Mapping[str, Broken], victim: str, peer: str) -> MaskSeed:
    context, first, second = recording.context, *sorted((victim, peer))
    public = AgreementPublic(recording.roster.by_party()[peer].mask_key)
    sealed = recording.delivered[second].contributions
    if sealed is None:
        return pairwise_seed(keys[victim].mask, victim, public, peer, context)
    shared_k = open_contribution(
        sealed[first], key=keys[second].mask_kem, sender=first, recipient=second, context=context
    )
    return hybrid_pairwise_seed(
        shared_k,
        key=keys[victim].mask,
        party=victim,
        peer_key=public,
        peer=peer,
        context=context,
    )


@pytest.mark.parametrize("victim", NAMES)
@pytest.mark.parametrize("agreement", list(KeyAgreement))
def test_whoever_breaks_all_that_is_used_opens_recorded_vectors(
    agreement: KeyAgreement, victim: str
) -> None:
    """The attack of this file works; without the hybrid, breaking X25519 is all it takes."""
    recording, keys = record(agreement)
    np.testing.assert_array_equal(open_vector(recording, keys, victim), VECTORS[victim])


@pytest.mark.parametrize("victim", NAMES)
@pytest.mark.parametrize("broken", ["x25519", "mlkem"])
def test_whoever_breaks_one_of_the_two_opens_neither_shares_nor_masks(
    broken: str, victim: str
) -> None:
    recording, true = record(KeyAgreement.HYBRID)
    keys = only(broken, true)
    with pytest.raises(ShareError, match=r"sealed share .* does not open"):
        open_vector(recording, keys, victim)
    for peer in set(NAMES) - {victim}:
        if broken == "x25519":
            with pytest.raises(ShareError, match=r"contribution .* does not open"):
                open_seed(recording, keys, victim, peer)
        else:
            seed = open_seed(recording, keys, victim, peer)
            assert seed != open_seed(recording, true, victim, peer)


def pair() -> tuple[HybridMaskKey, HybridMaskKey, bytes]:
    context = RANDOM.random_bytes(32)
    first, second = (
        HybridMaskKey.derive(RANDOM.random_bytes(32), party, context) for party in ("ann", "bob")
    )
    return first, second, context


def seed_of(k: bytes, key: AgreementKey, peer: AgreementKey, context: bytes) -> bytes:
    made = hybrid_pairwise_seed(
        k, key=key, party="ann", peer_key=peer.public, peer="bob", context=context
    )
    return made.key


def test_a_pairwise_seed_takes_both_secrets() -> None:
    ann, bob, context = pair()
    k = contribution(ann.raw, "ann", "bob", context)
    seed = seed_of(k, ann.agreement, bob.agreement, context)
    other_key, other_k = AgreementKey.generate(RANDOM), RANDOM.random_bytes(32)
    assert seed_of(k, other_key, bob.agreement, context) != seed
    assert seed_of(other_k, ann.agreement, bob.agreement, context) != seed
    mirrored = hybrid_pairwise_seed(
        k,
        key=bob.agreement,
        party="bob",
        peer_key=ann.agreement.public,
        peer="ann",
        context=context,
    )
    assert mirrored.key == seed


@given(BYTES, BYTES, BYTES, BYTES)
@settings(max_examples=50)
def test_a_combined_key_changes_with_either_secret_and_with_what_it_is_bound_to(
    kem: bytes, agreement: bytes, info: bytes, other: bytes
) -> None:
    made = combine_secrets(kem, agreement, b"label", info)
    for changed in ((other, agreement, info), (kem, other, info), (kem, agreement, other)):
        if changed != (kem, agreement, info):
            assert combine_secrets(*changed[:2], b"label", changed[2]) != made
    assert combine_secrets(kem, agreement, b"other label", info) != made


@pytest.mark.parametrize("lengths", [(31, 33), (33, 31), (0, 64)])
def test_secrets_of_other_lengths_are_not_concatenated(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not 32"):
        combine_secrets(bytes(lengths[0]), bytes(lengths[1]), b"label", bytes(32))


def test_sealing_takes_both_keys_and_opens_with_no_other() -> None:
    ann, bob = HybridKey.generate(RANDOM), HybridKey.generate(RANDOM)
    other = HybridKey.generate(RANDOM)
    guesses = (
        HybridKey(other.agreement, bob.kem),
        HybridKey(bob.agreement, other.kem),
        HybridKey(guess_agreement(bob.agreement), bob.kem),
        HybridKey(bob.agreement, guess_kem(bob.kem)),
    )
    names: dict[str, Any] = {"context": bytes(32), "sender": "ann", "recipient": "bob"}
    sealed = seal(b"share", key=ann, peer=bob.public, **names)
    peer = ann.public.agreement
    assert unseal(sealed, key=bob, peer=peer, **names) == b"share"
    for key in guesses:
        with pytest.raises(ShareError, match="does not open"):
            unseal(sealed, key=key, peer=peer, **names)
    with pytest.raises(ShareError, match="does not open"):
        unseal(sealed, key=bob, peer=other.public.agreement, **names)


def test_the_transcript_of_a_sealing_covers_ciphertext_and_every_public_key() -> None:
    key = HybridKey.generate(RANDOM).public
    made = transcript(bytes(32), b"c" * 1088, AgreementPublic(b"s" * 32), key)
    others = [
        transcript(b"h" * 32, b"c" * 1088, AgreementPublic(b"s" * 32), key),
        transcript(bytes(32), b"d" * 1088, AgreementPublic(b"s" * 32), key),
        transcript(bytes(32), b"c" * 1088, AgreementPublic(b"t" * 32), key),
        transcript(
            bytes(32),
            b"c" * 1088,
            AgreementPublic(b"s" * 32),
            HybridPublic(AgreementPublic(b"r" * 32), key.kem),
        ),
        transcript(
            bytes(32),
            b"c" * 1088,
            AgreementPublic(b"s" * 32),
            HybridPublic(key.agreement, KemPublic(b"k" * 1184)),
        ),
    ]
    assert len({made, *others}) == 6


def test_keys_from_one_mask_secret_are_apart_and_bound_to_party_and_round() -> None:
    secret, context = RANDOM.random_bytes(32), RANDOM.random_bytes(32)
    key = HybridMaskKey.derive(secret, "ann", context)
    outputs = [
        key.raw,
        key.agreement.raw,
        key.kem.seed[:32],
        key.kem.seed[32:],
        contribution(secret, "ann", "bob", context),
        contribution(secret, "ann", "cy", context),
        contribution(secret, "ann", "bob", bytes(32)),
        HybridMaskKey.derive(secret, "bob", context).agreement.raw,
        HybridMaskKey.derive(secret, "ann", bytes(32)).kem.seed[:32],
    ]
    assert len(set(outputs)) == len(outputs)
