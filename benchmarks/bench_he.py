"""Encrypt and serialise 10⁶ masked parameters: ours, and NVFLARE's default CKKS parameters.

Both run in one session on one machine, one process each, timed in CPU seconds. The peer is what
NVFLARE 2.9 does with TenSEAL (`nvflare.lighter.impl.he`, `app_opt.he.model_encryptor`): symmetric
CKKS of degree 8192, primes [60, 40, 40], scale 2⁴⁰, `ckks_vector` of a float64 array, `serialize`.
`extra_info` has bytes a parameter and, beside ours, the ratios to the peer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.rows import record, row
from feddiff_crypto.encoding import encode
from feddiff_crypto.he.aggregate import CiphertextSum
from feddiff_crypto.he.decrypt import Decryption
from feddiff_crypto.he.encrypt import encrypt_public, encrypt_symmetric
from feddiff_crypto.he.endorse import AggregateReview, ExpectedAggregate
from feddiff_crypto.he.keys import CkksSecretKey, generate_pair
from feddiff_crypto.he.messages import CIPHERTEXT_LIMITS, EncryptedAggregate, EncryptedInput
from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.randomness import SecureRandom

ts = pytest.importorskip("tenseal")

PARAMETERS = 10**6
ROUNDS = 5
CONTEXT = b"c" * 32
NAMES = ("ann", "bob")


@cache
def masked_vector() -> NDArray[np.uint32]:
    return np.frombuffer(SecureRandom().random_bytes(4 * PARAMETERS), np.uint32)


@cache
def secret_key() -> CkksSecretKey:
    return CkksSecretKey.generate()


def ours() -> bytes:
    ciphertexts = encrypt_symmetric(masked_vector(), secret_key())
    message = EncryptedInput(CONTEXT, "ann", CONTEXT, ciphertexts)
    return encode(message.to_message(), CIPHERTEXT_LIMITS)


@cache
def peer_context() -> Any:
    context = ts.context(
        ts.SCHEME_TYPE.CKKS,
        poly_modulus_degree=8192,
        coeff_mod_bit_sizes=[60, 40, 40],
        encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.generate_relin_keys()
    context.global_scale = 2**40
    return context


@cache
def peer_values() -> NDArray[np.float64]:
    return masked_vector().astype(np.float64) / 2**32 - 0.5


def peer() -> bytes:
    vector: bytes = ts.ckks_vector(peer_context(), peer_values()).serialize()
    return vector


@cache
def cpu_and_bytes(run: Callable[[], bytes]) -> tuple[float, float]:
    """Median CPU seconds, and bytes a parameter."""
    size = len(run())
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds)), size / PARAMETERS


@pytest.mark.benchmark(group="encrypt", timer=time.process_time)
def test_encrypt_and_serialise(benchmark: Any) -> None:
    size = len(benchmark.pedantic(ours, rounds=ROUNDS, warmup_rounds=1)) / PARAMETERS
    peer_seconds, peer_size = cpu_and_bytes(peer)
    benchmark.extra_info |= {
        "bytes_a_parameter": size,
        "peer_seconds": peer_seconds,
        "peer_bytes_a_parameter": peer_size,
        "seconds_ratio": peer_seconds / benchmark.stats.stats.median,
        "bytes_ratio": peer_size / size,
    }
    reference = f"{peer_seconds:.2f} with NVFLARE's parameters (same run)"
    record(benchmark, "s CPU / 1e6 parameters", peer=peer_seconds, reference=reference)


@row("upload encrypted")
def test_upload_encrypted(benchmark: Any) -> None:
    size = len(benchmark.pedantic(ours, rounds=1)) / PARAMETERS
    theirs = cpu_and_bytes(peer)[1]
    reference = f"{theirs:.1f} with NVFLARE's parameters (same run)"
    record(benchmark, "B/parameter", value=size, peer=theirs, reference=reference)


@pytest.mark.benchmark(group="encrypt", timer=time.process_time)
def test_peer_encrypt_and_serialise(benchmark: Any) -> None:
    size = len(benchmark.pedantic(peer, rounds=ROUNDS, warmup_rounds=1))
    benchmark.extra_info["bytes_a_parameter"] = size / PARAMETERS


@pytest.mark.benchmark(group="encrypt-custodian", timer=time.process_time)
def test_encrypt_for_a_custodian(benchmark: Any) -> None:
    _, public = generate_pair()
    made = benchmark.pedantic(encrypt_public, (masked_vector(), public), rounds=ROUNDS)
    benchmark.extra_info["bytes_a_parameter"] = made.residues.nbytes / PARAMETERS


@pytest.mark.benchmark(group="encrypt-wall")
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_encrypt_wall_time_by_processes(benchmark: Any, processes: int) -> None:
    benchmark.pedantic(
        lambda: encrypt_symmetric(masked_vector(), secret_key(), processes=processes),
        rounds=ROUNDS,
        warmup_rounds=1,
    )


def new_sum() -> CiphertextSum:
    plan = EncryptedPlan(len(NAMES), PARAMETERS)
    return CiphertextSum(plan=plan, context=CONTEXT, key_id=CONTEXT)


def add_all(message: EncryptedInput) -> EncryptedAggregate:
    total = new_sum()
    for name in NAMES:
        total.add(EncryptedInput(CONTEXT, name, CONTEXT, message.ciphertexts))
    return total.finish(NAMES)


@cache
def one_input() -> EncryptedInput:
    return EncryptedInput(CONTEXT, "ann", CONTEXT, encrypt_symmetric(masked_vector(), secret_key()))


@pytest.mark.benchmark(group="he-aggregate", timer=time.process_time)
def test_add_two_owners_and_finish(benchmark: Any) -> None:
    benchmark.pedantic(add_all, (one_input(),), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="he-decrypt", timer=time.process_time)
def test_decrypt_a_signed_aggregate(benchmark: Any) -> None:
    identities = {name: IdentityKey.generate(SecureRandom()) for name in NAMES}
    registry = Registry({name: key.public for name, key in identities.items()})
    plan = EncryptedPlan(len(NAMES), PARAMETERS)
    expected = ExpectedAggregate(plan, Policy(2), CONTEXT, NAMES, CONTEXT)
    aggregate = add_all(one_input())
    signatures = {}
    for name, identity in identities.items():
        review = AggregateReview(party=name, identity=identity, expected=expected)
        signatures[name] = review.endorse(aggregate)[1]

    def decrypt() -> Any:
        state = Decryption(key=secret_key(), registry=registry, expected=expected, endorsed=None)
        return state.decrypt(aggregate, signatures, lambda _: None)

    total = benchmark.pedantic(decrypt, rounds=3, warmup_rounds=1)
    assert (total == masked_vector() + masked_vector()).all()
