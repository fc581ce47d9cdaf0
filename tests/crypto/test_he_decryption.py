"""Who may decrypt what, how often, and what leaves a decryption."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from feddiff_crypto.errors import (
    ContextMismatchError,
    CryptoError,
    DecodeError,
    OutOfOrderError,
    RosterError,
    SignatureInvalidError,
    SurvivorSetError,
    ThresholdError,
)
from feddiff_crypto.he.aggregate import CiphertextSum
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.he.decrypt import Decryption, check_sum_signatures, sign_sum
from feddiff_crypto.he.encrypt import encrypt_symmetric
from feddiff_crypto.he.endorse import AggregateReview, ExpectedAggregate
from feddiff_crypto.he.errors import (
    AlreadyDecryptedError,
    DecryptionRefusedError,
    KeyMismatchError,
)
from feddiff_crypto.he.keys import CkksSecretKey
from feddiff_crypto.he.messages import EncryptedAggregate, EncryptedInput
from feddiff_crypto.he.parameters import MODULUS, EncryptedPlan
from feddiff_crypto.keys import CONSISTENCY_LABEL, IdentityKey, Registry
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.randomness import SecureRandom

RANDOM = SecureRandom()
NAMES = ("ann", "bob", "cy", "dee")
SURVIVORS = ("ann", "bob", "cy")
IDENTITIES = {name: IdentityKey.generate(RANDOM) for name in (*NAMES, "eve")}
REGISTRY = Registry({name: IDENTITIES[name].public for name in NAMES})
POLICY = Policy(4, dropouts=1, colluders=1)  # τ = 3
CONTEXT = b"c" * 32
SIZE = 3000
KEY = CkksSecretKey.generate()
KEY_ID = KEY.key_id(CONTEXT)
VECTORS = {name: np.frombuffer(RANDOM.random_bytes(4 * SIZE), np.uint32) for name in SURVIVORS}
TOTAL = np.sum(list(VECTORS.values()), axis=0, dtype=np.uint32)
EXPECTED = ExpectedAggregate(EncryptedPlan(4, SIZE), POLICY, CONTEXT, SURVIVORS, KEY_ID)


def make_aggregate(key: CkksSecretKey = KEY) -> EncryptedAggregate:
    total = CiphertextSum(plan=EncryptedPlan(4, SIZE), context=CONTEXT, key_id=KEY_ID)
    for name in SURVIVORS:
        total.add(EncryptedInput(CONTEXT, name, KEY_ID, encrypt_symmetric(VECTORS[name], key)))
    return total.finish(SURVIVORS)


AGGREGATE = make_aggregate()


def endorse(name: str, aggregate: EncryptedAggregate = AGGREGATE) -> bytes:
    review = AggregateReview(party=name, identity=IDENTITIES[name], expected=EXPECTED)
    return review.endorse(aggregate)[1]


def endorse_all(aggregate: EncryptedAggregate) -> dict[str, bytes]:
    return {name: endorse(name, aggregate) for name in SURVIVORS}


SIGNATURES = endorse_all(AGGREGATE)


def holder(aggregate: EncryptedAggregate = AGGREGATE, key: CkksSecretKey = KEY) -> Decryption:
    return Decryption(key=key, registry=REGISTRY, expected=EXPECTED, endorsed=aggregate.digest())


def altered(change: Callable[[Any], None]) -> EncryptedAggregate:
    residues = AGGREGATE.ciphertexts.residues.copy()
    change(residues)
    ciphertexts = Ciphertexts(residues, AGGREGATE.ciphertexts.seeds)
    return dataclasses.replace(AGGREGATE, ciphertexts=ciphertexts)


def test_a_signed_aggregate_is_decrypted_once_and_the_fact_kept_first() -> None:
    state, kept = holder(), []
    assert (state.decrypt(AGGREGATE, SIGNATURES, kept.append) == TOTAL).all()
    assert kept == [AGGREGATE.digest()]
    with pytest.raises(AlreadyDecryptedError):
        state.decrypt(AGGREGATE, SIGNATURES, kept.append)
    assert len(kept) == 1


def test_nothing_is_decrypted_if_the_fact_cannot_be_kept() -> None:
    def full_disk(digest: bytes) -> None:
        raise OSError("no space left")

    state = holder()
    with pytest.raises(OSError, match="no space"):
        state.decrypt(AGGREGATE, SIGNATURES, full_disk)
    with pytest.raises(AlreadyDecryptedError):
        state.decrypt(AGGREGATE, SIGNATURES, lambda _: None)


@pytest.mark.parametrize(
    ("error", "signatures"),
    [
        (ThresholdError, {}),
        (ThresholdError, {n: SIGNATURES[n] for n in ("ann", "bob")}),
        (SurvivorSetError, SIGNATURES | {"dee": SIGNATURES["ann"]}),
        (SurvivorSetError, SIGNATURES | {"eve": SIGNATURES["ann"]}),
        (SignatureInvalidError, SIGNATURES | {"cy": SIGNATURES["ann"]}),
        (SignatureInvalidError, SIGNATURES | {"cy": bytes(64)}),
        (
            SignatureInvalidError,
            SIGNATURES | {"cy": IDENTITIES["cy"].sign(CONSISTENCY_LABEL, AGGREGATE.digest())},
        ),
    ],
)
def test_an_aggregate_without_threshold_signatures_is_not_decrypted(
    error: type[CryptoError], signatures: dict[str, bytes]
) -> None:
    kept: list[bytes] = []
    with pytest.raises(error):
        holder().decrypt(AGGREGATE, signatures, kept.append)
    assert not kept


def test_an_aggregate_altered_after_signing_is_not_decrypted() -> None:
    def add_one(residues: Any) -> None:
        residues[0, 0, 0] = (residues[0, 0, 0] + 1) % MODULUS

    other = altered(add_one)
    with pytest.raises(SurvivorSetError, match="signed"):
        holder().decrypt(other, SIGNATURES, lambda _: None)
    custodian = Decryption(key=KEY, registry=REGISTRY, expected=EXPECTED, endorsed=None)
    with pytest.raises(SignatureInvalidError):
        custodian.decrypt(other, SIGNATURES, lambda _: None)


def scramble(residues: Any) -> None:
    residues[1, 0, 5] = (residues[1, 0, 5] + 2**58) % MODULUS


def add_half_a_unit(residues: Any) -> None:
    # A constant polynomial is the same in every transformed place: 2¹⁹ is Δ/2 in every slot.
    residues[:, 0] = (residues[:, 0] + 2**19) % MODULUS


def add_a_third_of_a_unit(residues: Any) -> None:
    residues[:, 0] = (residues[:, 0] + 2**20 // 3) % MODULUS


def fill_the_padding(residues: Any) -> None:
    residues[1, 0] = (residues[1, 0] + 2**20) % MODULUS  # 1 in each slot of the last chunk


def go_negative(residues: Any) -> None:
    residues[0, 0] = (residues[0, 0] + MODULUS - 2**56) % MODULUS  # −2³⁶


@pytest.mark.parametrize(
    "change", [scramble, add_half_a_unit, add_a_third_of_a_unit, fill_the_padding, go_negative]
)
def test_a_signed_forgery_decrypts_to_one_fixed_refusal(change: Callable[[Any], None]) -> None:
    forged = altered(change)
    kept: list[bytes] = []
    state = holder(forged)
    with pytest.raises(DecryptionRefusedError) as caught:
        state.decrypt(forged, endorse_all(forged), kept.append)
    assert str(caught.value) == "the aggregate does not decrypt to a sum on the ring"
    assert kept
    with pytest.raises(AlreadyDecryptedError):
        state.decrypt(AGGREGATE, SIGNATURES, kept.append)


def test_a_wrong_key_decrypts_to_a_refusal() -> None:
    other = CkksSecretKey.generate()
    with pytest.raises(DecryptionRefusedError):
        holder(key=other).decrypt(AGGREGATE, SIGNATURES, lambda _: None)
    mixed = make_aggregate(other)
    with pytest.raises(DecryptionRefusedError):
        holder(mixed).decrypt(mixed, endorse_all(mixed), lambda _: None)


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (ContextMismatchError, {"context": b"x" * 32}),
        (KeyMismatchError, {"key_id": b"x" * 32}),
        (SurvivorSetError, {"survivors": ("ann", "bob", "dee")}),
        (SurvivorSetError, {"survivors": ("ann", "bob", "cy", "dee")}),
        (DecodeError, {"ciphertexts": encrypt_symmetric(VECTORS["ann"][:5], KEY)}),
        (DecodeError, {"ciphertexts": encrypt_symmetric(VECTORS["ann"], KEY)}),
    ],
)
def test_another_aggregate_is_neither_signed_nor_decrypted(
    error: type[CryptoError], changes: dict[str, Any]
) -> None:
    other = dataclasses.replace(AGGREGATE, **changes)
    review = AggregateReview(party="ann", identity=IDENTITIES["ann"], expected=EXPECTED)
    with pytest.raises(error):
        review.endorse(other)
    with pytest.raises(OutOfOrderError):
        review.endorse(AGGREGATE)
    with pytest.raises(error):
        holder(other).decrypt(other, SIGNATURES, lambda _: None)


def test_an_owner_signs_one_aggregate_a_round() -> None:
    review = AggregateReview(party="ann", identity=IDENTITIES["ann"], expected=EXPECTED)
    review.endorse(AGGREGATE)
    with pytest.raises(OutOfOrderError):
        review.endorse(make_aggregate())


def test_an_owner_that_is_no_survivor_signs_nothing() -> None:
    with pytest.raises(SurvivorSetError):
        AggregateReview(party="dee", identity=IDENTITIES["dee"], expected=EXPECTED)


def test_too_few_survivors_are_neither_signed_nor_decrypted() -> None:
    few = dataclasses.replace(EXPECTED, survivors=("ann", "bob"))
    aggregate = dataclasses.replace(AGGREGATE, survivors=("ann", "bob"))
    review = AggregateReview(party="ann", identity=IDENTITIES["ann"], expected=few)
    with pytest.raises(ThresholdError):
        review.endorse(aggregate)


def test_the_states_are_not_serialised() -> None:
    with pytest.raises(TypeError, match="memory only"):
        pickle.dumps(holder())
    assert "KEY" not in repr(holder())


def test_owners_vouch_for_the_sum_they_decrypted() -> None:
    messages = {name: sign_sum(TOTAL, name, IDENTITIES[name], CONTEXT) for name in SURVIVORS}
    digest = check_sum_signatures(messages, REGISTRY, POLICY, CONTEXT)
    assert digest == messages["ann"].sum_digest
    with pytest.raises(ThresholdError):
        check_sum_signatures({n: messages[n] for n in ("ann", "bob")}, REGISTRY, POLICY, CONTEXT)
    with pytest.raises(ContextMismatchError):
        check_sum_signatures(messages, REGISTRY, POLICY, b"x" * 32)
    with pytest.raises(ContextMismatchError):
        check_sum_signatures(messages | {"dee": messages["ann"]}, REGISTRY, POLICY, CONTEXT)
    other = messages | {"cy": sign_sum(TOTAL + np.uint32(1), "cy", IDENTITIES["cy"], CONTEXT)}
    with pytest.raises(KeyMismatchError):
        check_sum_signatures(other, REGISTRY, POLICY, CONTEXT)
    forged = messages | {
        "cy": dataclasses.replace(messages["cy"], signature=messages["ann"].signature)
    }
    with pytest.raises(SignatureInvalidError):
        check_sum_signatures(forged, REGISTRY, POLICY, CONTEXT)
    stranger = messages | {"eve": sign_sum(TOTAL, "eve", IDENTITIES["eve"], CONTEXT)}
    with pytest.raises(RosterError):
        check_sum_signatures(stranger, REGISTRY, POLICY, CONTEXT)
