"""Whole encrypted rounds: the same sums as masked ones, with dropouts, by owners or a custodian."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.errors import (
    ContextMismatchError,
    CryptoError,
    OutOfOrderError,
    ShareError,
    SignatureInvalidError,
    SurvivorSetError,
    ThresholdError,
)
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.coordinator import (
    EncryptedOpened,
    EncryptedRound,
    EncryptedSum,
    deliver_custodian,
    deliver_keyed,
)
from feddiff_crypto.he.custodian import CustodianStart
from feddiff_crypto.he.custodian_messages import SealedSums
from feddiff_crypto.he.decrypt import Decryption, check_sum_signatures
from feddiff_crypto.he.errors import DecryptionRefusedError, KeyMismatchError
from feddiff_crypto.he.keys import CkksSecretKey, generate_pair, seal_secret_key
from feddiff_crypto.he.messages import AGGREGATE_LABEL, EncryptedAggregate, sum_digest
from feddiff_crypto.he.owner import Custodian, EncryptedStart
from feddiff_crypto.he.parameters import MODULUS, EncryptedPlan
from feddiff_crypto.he.round_messages import DecryptRequest
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.randomness import SecureRandom

RANDOM = SecureRandom()
NAMES = tuple(f"p{i:02d}" for i in range(12))
IDENTITIES = {name: IdentityKey.generate(RANDOM) for name in (*NAMES, "carl")}
CUSTODIANS = Registry({"carl": IDENTITIES["carl"].public})
CONTEXT = RoundContext("session", 3, 0, b"m" * 32, b"c" * 32)
PHASES = ("advertise", "share", "mask", "sign", "reveal", "decrypt")
NEVER = len(PHASES)


def through_the_codec(message: Any) -> Any:
    """What the other side gets: every message travels as bytes."""
    return type(message).from_message(decode(encode(message.to_message())))


@dataclass
class EncryptedPlay:
    """One attempt among the first `n` owners, phase by phase."""

    n: int
    dropouts: int = 0
    custody: bool = False
    size: int = 40
    drops: Mapping[str, int] = field(default_factory=dict)  # owner → first phase it misses
    states: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, RingArray] = field(default_factory=dict)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    persisted: list[bytes] = field(default_factory=list)
    delivered: dict[str, Any] = field(default_factory=dict)
    agreement: KeyAgreement = KeyAgreement.X25519

    def __post_init__(self) -> None:
        self.names = NAMES[: self.n]
        self.registry = Registry({name: IDENTITIES[name].public for name in self.names})
        self.policy = Policy(self.n, self.dropouts, colluders=0)
        self.round = EncryptedRound(self.registry, self.policy, EncryptedPlan(self.n, self.size))
        self.vectors = {
            name: np.frombuffer(RANDOM.random_bytes(4 * self.size), np.uint32)
            for name in self.names
        }
        for name in self.names:
            start = OwnerStart(
                party=name,
                identity=IDENTITIES[name],
                registry=self.registry,
                policy=self.policy,
                context=CONTEXT,
                random=RANDOM,
                agreement=self.agreement,
            )
            self.states[name] = EncryptedStart(
                start,
                dimension=self.size,
                custodian=Custodian("carl", CUSTODIANS) if self.custody else None,
            )

    def ask(self, phase: int, messages: Mapping[str, Any], *more: Any) -> dict[str, Any]:
        """What those that are still there answer; `more` are further arguments of the step."""
        replies = {}
        for name, message in messages.items():
            if self.drops.get(name, NEVER) <= phase:
                continue
            step = getattr(self.states[name], PHASES[phase])
            given = () if message is None else (through_the_codec(message),)
            if PHASES[phase] == "mask":
                given = (*given, self.vectors[name])
            self.states[name], *out = step(*given, *more)
            if PHASES[phase] == "decrypt":
                self.totals[name] = out[0]
            replies[name] = through_the_codec(out[-1])
        self.sent[PHASES[phase]] = replies
        return replies

    def opened(self) -> EncryptedOpened:
        """Up to the end of the unmask phase."""
        start = CoordinatorStart(
            registry=self.registry,
            policy=self.policy,
            context=CONTEXT,
            dimension=self.size,
            agreement=self.agreement,
        )
        sharing, rosters = start.roster(self.ask(0, dict.fromkeys(self.names)))
        shares = self.ask(1, rosters)
        if self.custody:
            custodian = CustodianStart(
                party="carl",
                identity=IDENTITIES["carl"],
                registry=self.registry,
                policy=self.policy,
                context=CONTEXT,
                dimension=self.size,
                random=RANDOM,
                agreement=self.agreement,
            )
            self.states["carl"], key = custodian.key(
                through_the_codec(next(iter(rosters.values())))
            )
            gathering, delivered = deliver_custodian(
                sharing, self.round, shares, through_the_codec(key)
            )
        else:
            gathering, delivered = deliver_keyed(sharing, self.round, shares)
        self.delivered = dict(delivered)
        agreement, aggregates = gathering.collect(self.ask(2, delivered))
        self.sent["aggregate"] = dict(aggregates)
        unmasking, requests = agreement.request(self.ask(3, aggregates))
        return unmasking.open(self.ask(4, requests, self.persisted.append))

    def run(self) -> EncryptedSum:
        opened = self.opened()
        requests: Mapping[str, Any]
        if self.custody:
            self.states["carl"], sums = self.states["carl"].decrypt(
                through_the_codec(opened.custody()), self.persisted.append
            )
            requests = opened.receive("carl", through_the_codec(sums))
        else:
            requests = opened.requests()
        return opened.finish(self.ask(5, requests, self.persisted.append))


def modular_sum(play: EncryptedPlay, names: tuple[str, ...]) -> RingArray:
    return np.sum([play.vectors[name] for name in names], axis=0, dtype=np.uint32)


@pytest.mark.parametrize("custody", [False, True])
@pytest.mark.parametrize("size", [1, 2048, 2049])
def test_every_owner_ends_with_the_modular_sum_and_the_coordinator_with_its_digest(
    size: int, custody: bool
) -> None:
    play = EncryptedPlay(3, size=size, custody=custody)
    result = play.run()
    expected = modular_sum(play, play.names)
    for total in play.totals.values():
        np.testing.assert_array_equal(total, expected)
    assert result.digest == sum_digest(expected, result.opened.context)
    # The coordinator's own total was never given a vector.
    assert not result.opened.total.any()


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, int, dict[str, int]]:
    n = draw(st.integers(2, 9))
    dropouts = draw(st.integers(0, n // 3))
    count = draw(st.integers(0, n - Policy(n, dropouts).threshold + 1))
    phases = draw(st.lists(st.integers(0, NEVER - 1), min_size=count, max_size=count))
    order = draw(st.randoms(use_true_random=False)).sample(NAMES[:n], count)
    return n, dropouts, dict(zip(order, phases, strict=True))


@given(schedules(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_dropouts_in_any_phase_give_the_survivors_sum_or_an_abort(
    case: tuple[int, int, dict[str, int]], custody: bool
) -> None:
    n, dropouts, drops = case
    play = EncryptedPlay(n, dropouts, custody, size=5, drops=drops)
    alive = [n - sum(drop <= phase for drop in drops.values()) for phase in range(NEVER)]
    maker_is_gone = not custody and any(
        drops.get(name) == 1 and all(drops.get(other) == 0 for other in NAMES[:i])
        for i, name in enumerate(play.names)
    )
    if min(alive) < play.policy.threshold:
        with pytest.raises((ThresholdError, ShareError)):
            play.run()
        assert not play.totals or alive[5] < play.policy.threshold <= alive[4]
        return
    if maker_is_gone:
        with pytest.raises(ShareError, match="before the round had a key"):
            play.run()
        assert "mask" not in play.sent
        return
    result = play.run()
    survivors = tuple(name for name in play.names if drops.get(name, NEVER) > 2)
    assert result.opened.survivors == survivors
    for total in play.totals.values():
        np.testing.assert_array_equal(total, modular_sum(play, survivors))


def test_what_reaches_the_coordinator_is_neither_a_vector_nor_a_masked_one() -> None:
    """With all secrets of the masks opened, the aggregate's residues still show no sum."""
    play = EncryptedPlay(2, size=2048)
    play.run()
    aggregate = play.sent["aggregate"][NAMES[0]]
    expected = modular_sum(play, play.names)
    residues = aggregate.ciphertexts.residues.reshape(-1)
    low = residues.astype(np.uint32)
    assert (low[:2048] == expected).mean() < 0.01
    for message in play.sent["mask"].values():
        assert set(message.to_message()) == {
            "kind", "context", "party", "key_id", "residues", "seeds"
        }  # fmt: skip


def test_an_owner_signs_one_aggregate_and_decrypts_once() -> None:
    play = EncryptedPlay(3)
    opened = play.opened()
    request = next(iter(opened.requests().values()))
    state = play.states[NAMES[0]]
    state.decrypt(request, lambda _digest: None)
    with pytest.raises(OutOfOrderError):
        state.decrypt(request, lambda _digest: None)


def test_a_decryption_is_not_made_when_it_cannot_be_persisted() -> None:
    play = EncryptedPlay(3)
    opened = play.opened()

    def disk_is_full(_digest: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        play.states[NAMES[0]].decrypt(opened.requests()[NAMES[0]], disk_is_full)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_fewer_than_threshold_signatures_of_the_aggregate_open_nothing(kept: int) -> None:
    play = EncryptedPlay(4, dropouts=1)  # τ = 3
    request = play.opened().requests()[NAMES[0]]
    few = dataclasses.replace(request, signatures=dict(list(request.signatures.items())[:kept]))
    with pytest.raises(ThresholdError):
        play.states[NAMES[0]].decrypt(few, lambda _digest: None)


def shifted(aggregate: EncryptedAggregate, by: int) -> EncryptedAggregate:
    """An aggregate with other residues: no sum of ciphertexts that owners sent."""
    residues = (aggregate.ciphertexts.residues + np.uint64(by)) % np.uint64(MODULUS)
    ciphertexts = dataclasses.replace(aggregate.ciphertexts, residues=residues)
    return dataclasses.replace(aggregate, ciphertexts=ciphertexts)


def request_after_crafting(play: EncryptedPlay, by: int) -> DecryptRequest:
    """A malicious coordinator has every owner sign a crafted aggregate, then goes on."""
    endorsed: dict[str, bytes] = {}
    original = play.ask

    def craft(phase: int, messages: Mapping[str, Any], *more: Any) -> dict[str, Any]:
        if PHASES[phase] != "sign":
            return original(phase, messages, *more)
        replies = original(phase, {n: shifted(a, by) for n, a in messages.items()}, *more)
        honest = next(iter(messages.values())).digest()
        for name, reply in replies.items():
            endorsed[name] = reply.aggregate_signature
            # Only so that the honest coordinator of this test does not stop here.
            own = IDENTITIES[name].sign(AGGREGATE_LABEL, honest)
            replies[name] = dataclasses.replace(reply, aggregate_signature=own)
        return replies

    play.ask = craft  # type: ignore[method-assign]
    request = play.opened().requests()[play.names[0]]
    return dataclasses.replace(request, signatures=endorsed)


def test_two_aggregates_shown_to_different_owners_gather_no_threshold_of_signatures() -> None:
    play = EncryptedPlay(4, dropouts=1)  # τ = 3
    original = play.ask

    def split(phase: int, messages: Mapping[str, Any], *more: Any) -> dict[str, Any]:
        if PHASES[phase] == "sign":
            other = {n: shifted(messages[n], 1) for n in play.names[:2]}
            messages = {**messages, **other}
        return original(phase, messages, *more)

    play.ask = split  # type: ignore[method-assign]
    with pytest.raises(SignatureInvalidError):  # an honest coordinator sees it at once
        play.run()
    # A malicious one has two signatures of each, and an owner wants three of its own.
    for signer in play.names[:2]:
        reply = play.sent["sign"][signer]
        assert reply.signature
    assert not play.totals


@pytest.mark.parametrize("by", [2**40, 2**55])
def test_an_aggregate_that_is_no_sum_gives_every_owner_one_fixed_refusal(by: int) -> None:
    """All owners are led to sign a crafted aggregate; what they decrypt stays with them."""
    play = EncryptedPlay(3, size=2048)
    request = request_after_crafting(play, by)
    refusals = set()
    for name in play.names:
        with pytest.raises(DecryptionRefusedError) as caught:
            play.states[name].decrypt(request, lambda _digest: None)
        refusals.add(str(caught.value))
    assert len(refusals) == 1


def test_a_survivor_set_that_leaves_an_owner_out_is_not_signed_by_it() -> None:
    play = EncryptedPlay(4, dropouts=1)
    original = play.ask

    def leave_out(phase: int, messages: Mapping[str, Any], *more: Any) -> dict[str, Any]:
        if PHASES[phase] == "sign":
            messages = {
                name: dataclasses.replace(aggregate, survivors=play.names[1:])
                for name, aggregate in messages.items()
            }
        return original(phase, messages, *more)

    play.ask = leave_out  # type: ignore[method-assign]
    with pytest.raises(SurvivorSetError, match=NAMES[0]):
        play.run()


@pytest.mark.parametrize(
    "fault",
    ["dropped key withheld", "survivor withheld", "survivor's key too", "another secret"],
)
def test_opened_secrets_of_other_owners_than_agreed_are_refused(fault: str) -> None:
    """Each is one change to what this very round opened; nothing else is wrong with it."""
    play = EncryptedPlay(4, dropouts=1, drops={NAMES[3]: 2})
    request = play.opened().requests()[NAMES[0]]
    honest = request.opened
    others = {p: s for p, s in honest.self_secrets.items() if p != NAMES[1]}
    opened = {
        "dropped key withheld": dataclasses.replace(honest, mask_keys={}),
        "survivor withheld": dataclasses.replace(honest, self_secrets=others),
        "survivor's key too": dataclasses.replace(
            honest, mask_keys={**honest.mask_keys, NAMES[1]: honest.mask_keys[NAMES[3]]}
        ),
        "another secret": dataclasses.replace(honest, self_secrets={**others, NAMES[1]: bytes(32)}),
    }[fault]
    revealed = list(play.persisted)
    with pytest.raises(ShareError):
        play.states[NAMES[0]].decrypt(
            dataclasses.replace(request, opened=opened), play.persisted.append
        )
    assert play.persisted == revealed, "refused before anything is decrypted"


def test_a_key_from_a_member_that_does_not_make_it_ends_the_round() -> None:
    play = EncryptedPlay(3)
    original = play.ask

    def swap(phase: int, messages: Mapping[str, Any], *more: Any) -> dict[str, Any]:
        replies = original(phase, messages, *more)
        if PHASES[phase] == "share":
            maker = replies[NAMES[0]]
            moved = {NAMES[0]: maker.sealed_keys[NAMES[1]], NAMES[2]: maker.sealed_keys[NAMES[2]]}
            replies[NAMES[1]] = dataclasses.replace(replies[NAMES[1]], sealed_keys=moved)
        return replies

    play.ask = swap  # type: ignore[method-assign]
    with pytest.raises(ShareError, match=NAMES[1]):
        play.run()


def test_an_owner_without_a_key_sends_nothing() -> None:
    play = EncryptedPlay(3)
    original = play.ask

    def withhold(phase: int, messages: Mapping[str, Any], *more: Any) -> dict[str, Any]:
        if PHASES[phase] == "mask":
            last = dataclasses.replace(messages[NAMES[2]], sealed_key=b"")
            messages = {**messages, NAMES[2]: last}
        return original(phase, messages, *more)

    play.ask = withhold  # type: ignore[method-assign]
    with pytest.raises(ShareError, match="made once"):
        play.run()


def test_a_maker_that_seals_different_keys_ends_the_round_before_a_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def two_keys(secret: Any, **rest: Any) -> dict[str, bytes]:
        honest = original(secret, **rest)
        other = original(CkksSecretKey.generate(), **rest)
        return {**honest, NAMES[2]: other[NAMES[2]]}

    original = seal_secret_key
    monkeypatch.setattr("feddiff_crypto.he.owner.seal_secret_key", two_keys)
    play = EncryptedPlay(3)
    with pytest.raises(KeyMismatchError, match=NAMES[2]):
        play.run()


def test_owners_who_decrypt_different_sums_do_not_count_as_agreed() -> None:
    play = EncryptedPlay(3)
    opened = play.opened()
    messages = play.ask(5, opened.requests(), play.persisted.append)
    other = EncryptedPlay(3)
    other_messages = other.ask(5, other.opened().requests(), other.persisted.append)
    mixed = {**messages, NAMES[1]: other_messages[NAMES[1]]}
    with pytest.raises((ContextMismatchError, KeyMismatchError)):
        check_sum_signatures(mixed, play.registry, play.policy, messages[NAMES[0]].context)


def test_a_custodian_decrypts_once() -> None:
    play = EncryptedPlay(4, dropouts=1, custody=True)
    request = play.opened().custody()
    carl = play.states["carl"]
    carl.decrypt(request, lambda _digest: None)
    with pytest.raises(OutOfOrderError):
        carl.decrypt(request, lambda _digest: None)


@pytest.mark.parametrize("fault", ["unsigned", "two", "crafted", "stranger"])
def test_a_custodian_decrypts_only_what_the_threshold_of_survivors_signed(fault: str) -> None:
    play = EncryptedPlay(4, dropouts=1, custody=True)  # τ = 3
    request = play.opened().custody()
    two = dict(list(request.signatures.items())[:2])
    forged = {
        "unsigned": dataclasses.replace(request, signatures={}),
        "two": dataclasses.replace(request, signatures=two),
        "crafted": dataclasses.replace(request, aggregate=shifted(request.aggregate, 1)),
        "stranger": dataclasses.replace(request, signatures={**two, "eve": bytes(64)}),
    }[fault]
    with pytest.raises((ThresholdError, SignatureInvalidError, SurvivorSetError)):
        play.states["carl"].decrypt(forged, lambda _digest: None)


def test_a_custodian_that_is_an_owner_is_refused() -> None:
    play = EncryptedPlay(3)
    with pytest.raises(ValueError, match="owner"):
        CustodianStart(
            party=NAMES[0],
            identity=IDENTITIES[NAMES[0]],
            registry=play.registry,
            policy=play.policy,
            context=CONTEXT,
            dimension=5,
            random=RANDOM,
        )


def test_what_a_custodian_decrypts_is_still_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RingArray] = []

    class Spy(Decryption):
        def decrypt(self, *args: Any, **kwargs: Any) -> RingArray:
            seen.append(super().decrypt(*args, **kwargs))
            return seen[-1]

    monkeypatch.setattr("feddiff_crypto.he.custodian.Decryption", Spy)
    play = EncryptedPlay(3, custody=True, size=500)
    play.run()
    assert (seen[0] == modular_sum(play, play.names)).mean() < 0.02


@pytest.mark.parametrize("fault", ["bit", "swap", "short"])
def test_a_sum_that_the_custodian_did_not_seal_to_this_owner_is_refused(fault: str) -> None:
    play = EncryptedPlay(3, custody=True)
    opened = play.opened()
    _, sums = play.states["carl"].decrypt(opened.custody(), lambda _digest: None)
    rows = {party: row.copy() for party, row in sums.sealed.items()}
    if fault == "bit":
        rows[NAMES[0]][0] ^= 1
    elif fault == "swap":
        rows[NAMES[0]] = rows[NAMES[1]]
    else:
        rows = {party: row[4:] for party, row in rows.items()}
    forged = SealedSums(sums.context, sums.party, rows)
    request = opened.receive("carl", forged)[NAMES[0]]
    with pytest.raises(ShareError):
        play.states[NAMES[0]].decrypt(request, lambda _digest: None)


@pytest.mark.parametrize("custody", [False, True])
def test_every_message_of_an_encrypted_round_is_read_strictly(custody: bool) -> None:
    """A field less, a field more, another kind: each is refused."""
    play = EncryptedPlay(3, custody=custody)
    opened = play.opened()
    messages = [play.sent[phase][NAMES[0]] for phase in ("share", "mask", "sign")]
    messages += [play.sent["aggregate"][NAMES[0]], *play.delivered.values()]
    if custody:
        _, sums = play.states["carl"].decrypt(opened.custody(), lambda _digest: None)
        messages += [opened.custody(), sums, opened.receive("carl", sums)[NAMES[0]]]
    else:
        messages += [opened.requests()[NAMES[0]]]
    for message in messages:
        fields = message.to_message()
        kind = type(message)
        kind.from_message(fields)
        for name in fields:
            with pytest.raises(CryptoError):
                kind.from_message({key: value for key, value in fields.items() if key != name})
        with pytest.raises(CryptoError):
            kind.from_message({**fields, "weight": 3})
        with pytest.raises(CryptoError):
            kind.from_message({**fields, "kind": "roster"})


@pytest.mark.parametrize("fault", ["own key", "own agreement", "another name"])
def test_a_public_key_that_the_custodian_did_not_sign_for_the_round_is_not_used(
    fault: str,
) -> None:
    """A coordinator that puts its own key in place of the custodian's gets no ciphertext."""
    play = EncryptedPlay(3, custody=True)
    original = play.ask

    def substitute(phase: int, messages: Mapping[str, Any], *more: Any) -> dict[str, Any]:
        if PHASES[phase] == "mask":
            key = next(iter(messages.values())).key
            changes: dict[str, dict[str, Any]] = {
                "own key": {"public_key": generate_pair()[1].to_bytes()},
                "own agreement": {"agreement": b"a" * 32},
                "another name": {"party": "eve"},
            }
            forged = dataclasses.replace(key, **changes[fault])
            messages = {n: dataclasses.replace(m, key=forged) for n, m in messages.items()}
        return original(phase, messages, *more)

    play.ask = substitute  # type: ignore[method-assign]
    with pytest.raises((SignatureInvalidError, ContextMismatchError)):
        play.run()
    assert "mask" not in play.sent
