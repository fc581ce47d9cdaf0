"""A whole round: the exact sum of the survivors, or an abort that reveals nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.errors import (
    OutOfOrderError,
    ProtocolError,
    ShareError,
    ThresholdError,
)
from feddiff_crypto.fixedpoint import Grid, RingArray
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import AgreementKey, IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.coordinator import CoordinatorStart, RoundSum
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.seeds import commit_secret, pairwise_seed, self_seed
from feddiff_crypto.masking.unmasking import Revealed, remove_masks
from feddiff_crypto.randomness import SecureRandom, VectorRandom

RANDOM = SecureRandom()
NAMES = [f"owner-{i:03d}" for i in range(100)]
IDENTITIES = {name: IdentityKey.generate(RANDOM) for name in NAMES}
PHASES = ("advertise", "share", "masked input", "consistency", "unmask")
NEVER = len(PHASES)


def context(round_index: int = 0, attempt: int = 0) -> RoundContext:
    return RoundContext("session", round_index, attempt, bytes(32), b"c" * 32)


def through_codec(message: Any) -> Any:
    return type(message).from_message(decode(encode(message.to_message())))


def random_vector(size: int, bits: int = 32) -> RingArray:
    raw = RANDOM.random_bytes(size * bits // 8)
    return np.frombuffer(raw, np.uint32) if bits == 32 else np.frombuffer(raw, np.uint64)


@dataclass
class Round:
    """One attempt among honest parties, where owner p falls silent in phase `drops[p]`."""

    policy: Policy
    vectors: Mapping[str, RingArray]
    drops: Mapping[str, int] = field(default_factory=dict)
    context: RoundContext = field(default_factory=context)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)  # phase → party → message
    revealed_to: list[bytes] = field(default_factory=list)
    agreement: KeyAgreement = KeyAgreement.X25519

    def run(self) -> RoundSum:
        names = sorted(self.vectors)
        registry = Registry({name: IDENTITIES[name].public for name in names})
        first = next(iter(self.vectors.values()))
        owners: dict[str, Any] = {
            name: OwnerStart(
                party=name,
                identity=IDENTITIES[name],
                registry=registry,
                policy=self.policy,
                context=self.context,
                random=RANDOM,
                agreement=self.agreement,
            )
            for name in names
        }
        coordinator = CoordinatorStart(
            registry=registry,
            policy=self.policy,
            context=self.context,
            dimension=first.size,
            ring_bits=first.dtype.itemsize * 8,
            agreement=self.agreement,
        )

        def exchange(
            phase: str, sent: Mapping[str, Any], step: Callable[[str, Any, Any], Any]
        ) -> dict[str, Any]:
            replies = {}
            for name in names:
                if name in sent and self.drops.get(name, NEVER) > PHASES.index(phase):
                    owners[name], reply = step(name, owners[name], through_codec(sent[name]))
                    replies[name] = through_codec(reply)
            self.sent[phase] = replies
            return replies

        adverts = {}
        for name in names:
            if self.drops.get(name, NEVER) > 0:
                owners[name], adverts[name] = owners[name].advertise()
        self.sent["advertise"] = adverts
        sharing, rosters = coordinator.roster(adverts)
        shares = exchange("share", rosters, lambda _, owner, message: owner.share(message))
        masking, delivered = sharing.deliver(shares)
        inputs = exchange(
            "masked input", delivered, lambda name, owner, m: owner.mask(m, self.vectors[name])
        )
        consistency, survivor_sets = masking.collect(inputs)
        signatures = exchange("consistency", survivor_sets, lambda _, owner, m: owner.sign(m))
        unmasking, requests = consistency.request(signatures)
        replies = exchange(
            "unmask", requests, lambda _, owner, m: owner.reveal(m, self.revealed_to.append)
        )
        return unmasking.finish(replies)


def make_round(n: int, size: int = 50, bits: int = 32, dropouts: int = 0, **rest: Any) -> Round:
    vectors = {name: random_vector(size, bits) for name in NAMES[:n]}
    return Round(Policy(n, dropouts), vectors, **rest)


def plain_sum(attempt: Round, survivors: tuple[str, ...]) -> RingArray:
    vectors = list(attempt.vectors.values())
    total = np.zeros_like(vectors[0])
    for name in survivors:
        total += attempt.vectors[name]
    return total


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_unmasked_result_is_the_plain_modular_sum(n: int, bits: int) -> None:
    attempt = make_round(n, bits=bits)
    result = attempt.run()
    assert result.survivors == tuple(NAMES[:n])
    assert result.total.dtype.itemsize * 8 == bits
    assert (result.total == plain_sum(attempt, result.survivors)).all()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_dropouts_in_any_phase_leave_the_survivors_sum_or_an_abort(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 9), "n")
    dropouts = data.draw(st.integers(0, n - 1), "d")
    drops = {
        name: data.draw(st.sampled_from([NEVER] * 8 + list(range(NEVER)))) for name in NAMES[:n]
    }
    attempt = make_round(n, size=30, dropouts=dropouts, drops=drops)
    alive = [sum(drop > phase for drop in drops.values()) for phase in range(NEVER)]
    if min(alive) < attempt.policy.threshold:
        with pytest.raises(ThresholdError):
            attempt.run()
        assert len(attempt.sent.get("unmask", {})) < attempt.policy.threshold
        return
    result = attempt.run()
    assert result.survivors == tuple(name for name in NAMES[:n] if drops[name] > 2)
    assert (result.total == plain_sum(attempt, result.survivors)).all()
    assert set(result.revealed.mask_keys) == {name for name in drops if drops[name] == 2}


def byte_uniformity(vector: RingArray) -> float:
    """p-value of the chi-square test that the vector's bytes are uniform."""
    counts = np.bincount(vector.view(np.uint8), minlength=256)
    expected = vector.nbytes / 256
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), 255))


def test_one_owners_masked_vector_is_uniform_and_its_plain_vector_is_not() -> None:
    grid = Grid(1.0)
    plain = grid.to_ring(np.arange(50_000) % 1000 - 500)
    attempt = Round(Policy(3), dict.fromkeys(NAMES[:3], plain))
    attempt.run()
    masked = attempt.sent["masked input"][NAMES[0]].vector
    assert byte_uniformity(masked) > 1e-6
    assert byte_uniformity(plain) < 1e-6  # the test does tell the two apart


def test_partial_sums_of_masked_vectors_are_uniform_too() -> None:
    """All but one vector is not unmasked by addition: the self masks hold."""
    zeros = np.zeros(50_000, np.uint32)
    attempt = Round(Policy(3), dict.fromkeys(NAMES[:3], zeros))
    attempt.run()
    vectors = [message.vector for message in attempt.sent["masked input"].values()]
    for partial in (vectors[0] + vectors[1], vectors[0] + vectors[1] + vectors[2]):
        assert byte_uniformity(partial) > 1e-6


def test_no_key_secret_or_mask_serves_a_second_round_or_attempt() -> None:
    zeros = np.zeros(50, np.uint32)
    seen: set[bytes] = set()
    for attempt_context in (context(0, 0), context(0, 1), context(1, 0)):
        attempt = Round(Policy(3), dict.fromkeys(NAMES[:3], zeros), context=attempt_context)
        result = attempt.run()
        for name in NAMES[:3]:
            advert = attempt.sent["advertise"][name]
            seen |= {advert.mask_key, advert.sealing_key, advert.secret_commitment}
            seen.add(attempt.sent["masked input"][name].vector.tobytes())
            seen.add(result.revealed.self_secrets[name])
    assert len(seen) == 3 * 3 * 5


def test_equal_randomness_in_another_round_still_gives_other_masks() -> None:
    """Seeds bind the round: even generators that start again do not repeat a mask."""
    registry = Registry({name: IDENTITIES[name].public for name in NAMES[:2]})
    adverts, masked = [], []
    for index in (0, 1):
        owners: dict[str, Any] = {
            name: OwnerStart(
                party=name,
                identity=IDENTITIES[name],
                registry=registry,
                policy=Policy(2),
                context=context(index),
                random=VectorRandom(name.encode()),
            )
            for name in NAMES[:2]
        }
        coordinator = CoordinatorStart(
            registry=registry, policy=Policy(2), context=context(index), dimension=4
        )
        steps = {name: owner.advertise() for name, owner in owners.items()}
        sharing, rosters = coordinator.roster({name: advert for name, (_, advert) in steps.items()})
        shared = {name: state.share(rosters[name]) for name, (state, _) in steps.items()}
        _, delivered = sharing.deliver({name: shares for name, (_, shares) in shared.items()})
        state, _ = shared[NAMES[0]]
        _, message = state.mask(delivered[NAMES[0]], np.zeros(4, np.uint32))
        adverts.append(steps[NAMES[0]][1].mask_key)
        masked.append(message.vector.tobytes())
    assert adverts[0] == adverts[1]  # the generators did start again
    assert masked[0] != masked[1]


def test_a_pairs_seed_is_the_same_from_both_sides_and_bound_to_pair_and_round() -> None:
    ann, bob = AgreementKey.generate(RANDOM), AgreementKey.generate(RANDOM)
    seed = pairwise_seed(ann, "ann", bob.public, "bob", b"round")
    assert seed == pairwise_seed(bob, "bob", ann.public, "ann", b"round")
    assert seed != pairwise_seed(ann, "ann", bob.public, "bob", b"another round")
    assert seed != pairwise_seed(ann, "ann", bob.public, "cy", b"round")


def test_a_self_mask_and_its_commitment_are_bound_to_party_and_round() -> None:
    secret = RANDOM.random_bytes(32)
    outputs = {self_seed(secret, party, r).key for party in ("ann", "bob") for r in (b"1", b"2")}
    outputs |= {commit_secret(secret, party, r) for party in ("ann", "bob") for r in (b"1", b"2")}
    assert len(outputs) == 8


def test_the_callers_vector_is_left_as_it_is() -> None:
    attempt = make_round(2)
    before = {name: vector.tobytes() for name, vector in attempt.vectors.items()}
    attempt.run()
    assert before == {name: vector.tobytes() for name, vector in attempt.vectors.items()}


def test_each_owner_persists_the_reveal_before_it_replies() -> None:
    attempt = make_round(3)
    result = attempt.run()
    assert len(attempt.revealed_to) == 3
    assert len(set(attempt.revealed_to)) == 1
    assert len(result.signatures) == 3


def test_a_verifier_repeats_the_sum_from_what_was_revealed() -> None:
    attempt = make_round(4, dropouts=1, drops={NAMES[1]: 2})
    result = attempt.run()
    total = np.zeros(50, np.uint32)
    for name in result.survivors:
        total += attempt.sent["masked input"][name].vector
    remove_masks(total, result.roster, result.context, result.revealed)
    assert (total == result.total).all()
    forged = Revealed({**result.revealed.self_secrets, NAMES[0]: bytes(32)}, {})
    with pytest.raises(ShareError, match=NAMES[0]):
        remove_masks(total, result.roster, result.context, forged)


def owner_start(name: str = NAMES[0], **change: Any) -> OwnerStart:
    arguments: dict[str, Any] = {
        "party": name,
        "identity": IDENTITIES[name],
        "registry": Registry({n: IDENTITIES[n].public for n in NAMES[:2]}),
        "policy": Policy(2),
        "context": context(),
        "random": RANDOM,
    }
    return OwnerStart(**arguments | change)


def test_a_state_serves_once_and_then_holds_no_secret() -> None:
    start = owner_start()
    start.advertise()
    with pytest.raises(OutOfOrderError, match="OwnerStart"):
        start.advertise()
    assert not any(vars(start).values())


def test_a_state_is_neither_copied_nor_serialised() -> None:
    for state in (owner_start(), owner_start().advertise()[0]):
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="memory only"):
                duplicate(state)


@pytest.mark.parametrize(
    "change",
    [
        {"policy": Policy(3)},
        {"identity": IDENTITIES[NAMES[1]]},
        {"party": NAMES[5]},
        {"context": context().with_roster(bytes(32))},
    ],
)
def test_an_owner_that_does_not_fit_its_plan_is_the_callers_bug(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"registry|roster"):
        owner_start(**change)


def test_the_coordinator_keeps_one_accumulator_however_many_owners_send() -> None:
    attempt = make_round(4, size=1000)
    attempt.run()
    registry = Registry({name: IDENTITIES[name].public for name in NAMES[:4]})
    start = CoordinatorStart(registry=registry, policy=Policy(4), context=context(), dimension=1000)
    sharing, _ = start.roster(attempt.sent["advertise"])
    masking, _ = sharing.deliver(attempt.sent["share"])
    before = masking._total
    for name, message in attempt.sent["masked input"].items():
        masking.add(name, message)
    assert masking._total is before
    state = [value for value in vars(masking).values() if isinstance(value, np.ndarray)]
    assert len(state) == 1
    with pytest.raises(OutOfOrderError, match="second"):
        masking.add(NAMES[0], attempt.sent["masked input"][NAMES[0]])
    masking.close()
    with pytest.raises(OutOfOrderError, match="closed"):
        masking.add(NAMES[0], attempt.sent["masked input"][NAMES[0]])


@pytest.mark.parametrize(
    ("vector", "reason"),
    [(np.zeros(49, np.uint32), "49"), (np.zeros(50, np.uint64), "uint64")],
)
def test_a_vector_of_another_shape_aborts_and_names_its_owner(
    vector: RingArray, reason: str
) -> None:
    attempt = make_round(2)
    attempt.vectors = {NAMES[0]: attempt.vectors[NAMES[0]], NAMES[1]: vector}
    with pytest.raises(ProtocolError, match=reason) as caught:
        attempt.run()
    assert caught.value.party == NAMES[1]
