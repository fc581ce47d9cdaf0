"""Encrypted sums are the masked mode's sums, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.errors import LimitError, PolicyError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he import encrypt as encrypt_module
from feddiff_crypto.he.aggregate import CiphertextSum
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.he.decrypt import Decryption, sign_sum
from feddiff_crypto.he.encrypt import encrypt_public, encrypt_symmetric
from feddiff_crypto.he.endorse import AggregateReview, ExpectedAggregate
from feddiff_crypto.he.errors import EncryptionUnavailableError
from feddiff_crypto.he.keys import CkksSecretKey, generate_pair
from feddiff_crypto.he.messages import CIPHERTEXT_LIMITS, EncryptedAggregate, EncryptedInput
from feddiff_crypto.he.parameters import (
    DEGREE,
    MAX_OWNERS,
    MODULUS,
    SCALE,
    SLOTS,
    SPECIAL_MODULUS,
    EncryptedPlan,
)
from feddiff_crypto.he.seal_format import StoredOtherwiseError
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.unmasking import remove_masks
from feddiff_crypto.randomness import SecureRandom

RANDOM = SecureRandom()
CONTEXT = b"c" * 32
TOP = 2**32 - 1
KEY = CkksSecretKey.generate()
CUSTODIAN, PUBLIC = generate_pair()
IDENTITIES = {f"p{i:03d}": IdentityKey.generate(RANDOM) for i in range(MAX_OWNERS)}

Encrypt = Callable[[RingArray], Ciphertexts]


def symmetric(vector: RingArray) -> Ciphertexts:
    return encrypt_symmetric(vector, KEY)


def to_custodian(vector: RingArray) -> Ciphertexts:
    return encrypt_public(vector, PUBLIC)


def random_vector(size: int) -> RingArray:
    return np.frombuffer(RANDOM.random_bytes(4 * size), np.uint32)


def aggregate(
    vectors: Mapping[str, RingArray], encrypt: Encrypt, key_id: bytes, context: bytes = CONTEXT
) -> EncryptedAggregate:
    """The coordinator's sum of what the owners send, every message through the codec."""
    dimension = next(iter(vectors.values())).size
    plan = EncryptedPlan(max(2, len(vectors)), dimension)
    total = CiphertextSum(plan=plan, context=context, key_id=key_id)
    for party, vector in vectors.items():
        message = EncryptedInput(context, party, key_id, encrypt(vector))
        wire = encode(message.to_message(), CIPHERTEXT_LIMITS)
        total.add(EncryptedInput.from_message(decode(wire, CIPHERTEXT_LIMITS)))
    return total.finish(tuple(sorted(vectors)))


def decrypt(sums: EncryptedAggregate, dimension: int, key: CkksSecretKey) -> RingArray:
    """Signed by as many owners as it takes and decrypted by a key holder."""
    survivors = sums.survivors
    registry = Registry({party: IDENTITIES[party].public for party in survivors})
    expected = ExpectedAggregate(
        plan=EncryptedPlan(len(survivors), dimension),
        policy=Policy(min(len(survivors), 100)),  # masking stops at 100 owners, the sums do not
        context=sums.context,
        survivors=survivors,
        key_id=sums.key_id,
    )
    signatures = {}
    for party in survivors:
        review = AggregateReview(party=party, identity=IDENTITIES[party], expected=expected)
        signatures[party] = review.endorse(sums)[1]
    holder = Decryption(key=key, registry=registry, expected=expected, endorsed=sums.digest())
    return holder.decrypt(sums, signatures, lambda _: None)


def modular_sum(vectors: Mapping[str, RingArray]) -> RingArray:
    return np.sum(list(vectors.values()), axis=0, dtype=np.uint32)


@given(
    owners=st.integers(2, 5),
    size=st.integers(1, SLOTS + 40),
    pattern=st.sampled_from(["uniform", "zero", "top", "alternating", "powers"]),
    seed=st.binary(min_size=4, max_size=4),
)
@settings(max_examples=25)
def test_the_decrypted_sum_is_the_modular_sum(
    owners: int, size: int, pattern: str, seed: bytes
) -> None:
    places = np.arange(size, dtype=np.uint64) * int.from_bytes(seed, "little")
    made = {
        "uniform": None,
        "zero": places * 0,
        "top": places * 0 + TOP,
        "alternating": (places % 2) * TOP,
        "powers": np.uint64(1) << (places % 32),
    }[pattern]
    vectors = {
        f"p{i:03d}": random_vector(size) if made is None else made.astype(np.uint32)
        for i in range(owners)
    }
    sums = aggregate(vectors, symmetric, KEY.key_id(CONTEXT))
    assert (decrypt(sums, size, KEY) == modular_sum(vectors)).all()


@pytest.mark.parametrize("value", [0, TOP, None])
def test_127_owners_sum_exactly(value: int | None) -> None:
    size = SLOTS + 1
    vectors = {
        party: random_vector(size) if value is None else np.full(size, value, np.uint32)
        for party in IDENTITIES
    }
    sums = aggregate(vectors, symmetric, KEY.key_id(CONTEXT))
    assert (decrypt(sums, size, KEY) == modular_sum(vectors)).all()


@pytest.mark.parametrize("owners", [2, MAX_OWNERS])
def test_a_custodian_decrypts_the_same_sum(owners: int) -> None:
    vectors = {f"p{i:03d}": random_vector(3000) for i in range(owners)}
    sums = aggregate(vectors, to_custodian, CONTEXT)
    assert (decrypt(sums, 3000, CUSTODIAN) == modular_sum(vectors)).all()


@pytest.mark.parametrize("size", [1, SLOTS - 1, SLOTS, SLOTS + 1, 3 * SLOTS + 5])
@pytest.mark.parametrize("encrypt", [symmetric, to_custodian])
def test_any_length_takes_whole_chunks(size: int, encrypt: Encrypt) -> None:
    ciphertexts = encrypt(random_vector(size))
    assert ciphertexts.chunks == EncryptedPlan(2, size).chunks == -(-size // SLOTS)


def test_a_masked_round_gives_bit_identical_sums_encrypted() -> None:
    names = ("p000", "p001", "p002")
    vectors = {name: random_vector(2500) for name in names}
    registry = Registry({name: IDENTITIES[name].public for name in names})
    policy = Policy(3)
    context = RoundContext("session", 0, 0, bytes(32), bytes(32))
    owners: dict[str, Any] = {}
    adverts = {}
    for name in names:
        start = OwnerStart(
            party=name,
            identity=IDENTITIES[name],
            registry=registry,
            policy=policy,
            context=context,
            random=RANDOM,
        )
        owners[name], adverts[name] = start.advertise()

    def step(call: Callable[[str, Any], tuple[Any, Any]]) -> dict[str, Any]:
        replies = {}
        for name in names:
            owners[name], replies[name] = call(name, owners[name])
        return replies

    coordinator = CoordinatorStart(
        registry=registry, policy=policy, context=context, dimension=2500
    )
    sharing, rosters = coordinator.roster(adverts)
    masking, delivered = sharing.deliver(step(lambda n, o: o.share(rosters[n])))
    inputs = step(lambda n, o: o.mask(delivered[n], vectors[n]))
    consistency, sets = masking.collect(inputs)
    unmasking, requests = consistency.request(step(lambda n, o: o.sign(sets[n])))
    masked = unmasking.finish(step(lambda n, o: o.reveal(requests[n], lambda _: None)))

    sent = {name: inputs[name].vector for name in names}
    sums = aggregate(sent, symmetric, KEY.key_id(masked.context), masked.context)
    total = decrypt(sums, 2500, KEY)
    assert not (total == masked.total).all()  # still masked
    remove_masks(total, masked.roster, masked.context, masked.revealed)
    assert total.dtype == masked.total.dtype
    assert (total == masked.total).all()
    assert (total == modular_sum(vectors)).all()
    by_name = [sign_sum(total, n, IDENTITIES[n], masked.context).sum_digest for n in names]
    assert len(set(by_name)) == 1


def test_several_processes_encrypt_the_same_vector_with_other_randomness() -> None:
    vector = random_vector(5 * SLOTS + 7)
    once = encrypt_symmetric(vector, KEY)
    split = encrypt_symmetric(vector, KEY, processes=3)
    seeds = np.concatenate([once.seeds, split.seeds])
    assert len(np.unique(seeds, axis=0)) == len(seeds) == 12
    whole = encrypt_public(vector, PUBLIC, processes=2)
    assert len(np.unique(whole.residues[:, 1], axis=0)) == 6
    vectors = {"p000": vector, "p001": vector}
    sums = aggregate(vectors, lambda v: encrypt_symmetric(v, KEY, processes=2), KEY.key_id(CONTEXT))
    assert (decrypt(sums, vector.size, KEY) == vector + vector).all()


def test_a_failing_child_process_fails_the_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    real = encrypt_module._encode

    def failing(vector: RingArray, chunk: int, seal: Any) -> Any:
        if chunk == 2:
            raise MemoryError
        return real(vector, chunk, seal)

    monkeypatch.setattr(encrypt_module, "_encode", failing)
    with pytest.raises(ChildProcessError):
        encrypt_symmetric(random_vector(3 * SLOTS), KEY, processes=2)


def test_two_chunks_with_equal_randomness_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    real = encrypt_module.words_of_ciphertext
    first: list[Any] = []

    def repeated(stored: bytes, shape: Any) -> Any:
        first.append(real(stored, shape))
        return first[0]

    monkeypatch.setattr(encrypt_module, "words_of_ciphertext", repeated)
    for encrypt in (symmetric, to_custodian):
        first.clear()
        with pytest.raises(RuntimeError, match="same randomness"):
            encrypt(random_vector(2 * SLOTS))


def test_a_ciphertext_that_happens_to_compress_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = encrypt_module.words_of_ciphertext
    refusals = [StoredOtherwiseError("a zstd block that is not raw")] * 2

    def sometimes(stored: bytes, shape: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return real(stored, shape)

    monkeypatch.setattr(encrypt_module, "words_of_ciphertext", sometimes)
    assert symmetric(random_vector(5)).chunks == 1
    assert not refusals
    refusals += [StoredOtherwiseError("a zstd block that is not raw")] * 8
    with pytest.raises(EncryptionUnavailableError, match="otherwise"):
        symmetric(random_vector(5))


def test_an_upload_is_at_most_16_2_bytes_an_element() -> None:
    size = 20 * SLOTS
    message = EncryptedInput(CONTEXT, "p000", KEY.key_id(CONTEXT), symmetric(random_vector(size)))
    assert len(encode(message.to_message())) <= 16.2 * size
    message = EncryptedInput(CONTEXT, "p000", CONTEXT, to_custodian(random_vector(size)))
    assert len(encode(message.to_message())) <= 32.1 * size


def test_equal_vectors_have_unlike_ciphertexts() -> None:
    vector = np.zeros(10, np.uint32)
    first, second = symmetric(vector), symmetric(vector)
    assert (first.residues != second.residues).mean() > 0.99


def test_plaintexts_of_127_owners_leave_room_for_noise_below_half_the_modulus() -> None:
    assert MAX_OWNERS * TOP * int(SCALE) + 2**51 < MODULUS // 2
    assert (MODULUS * SPECIAL_MODULUS).bit_length() == 109
    assert MODULUS % (2 * DEGREE) == SPECIAL_MODULUS % (2 * DEGREE) == 1


@pytest.mark.parametrize(
    ("error", "numbers"),
    [
        (PolicyError, {"owners": 128, "dimension": 1}),
        (PolicyError, {"owners": 1, "dimension": 1}),
        (PolicyError, {"owners": 2, "dimension": 1, "ring_bits": 64}),
        (LimitError, {"owners": 2, "dimension": 0}),
        (LimitError, {"owners": 2, "dimension": 2**24 + 1}),
    ],
)
def test_other_parameters_are_refused(error: type[Exception], numbers: dict[str, int]) -> None:
    with pytest.raises(error):
        EncryptedPlan(**numbers)


@pytest.mark.parametrize(
    "vector", [np.zeros(3, np.uint64), np.zeros(3), np.zeros((2, 2), np.uint32)]
)
def test_only_uint32_vectors_are_encrypted(vector: Any) -> None:
    with pytest.raises(TypeError):
        encrypt_symmetric(vector, KEY)


def test_an_empty_vector_is_not_encrypted() -> None:
    with pytest.raises(ValueError, match="0 elements"):
        encrypt_symmetric(np.zeros(0, np.uint32), KEY)
