"""A hostile coordinator against an owner's node: fixed codes, one answer a step, nothing else.

The node is the real one; the coordinator sends what it likes, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.messages import (
    Advertise,
    ConsistencySignature,
    MaskedInput,
    SealedShares,
    UnmaskReply,
)
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.context import round_context
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.transport.exchange import REFUSED, Message
from tests.support.ledgers import fresh_ledger

NAMES = ("ann", "bob", "cy")
CLASSES, FEATURES = 3, 10
IDENTITIES = {name: IdentityKey.generate(SecureRandom()) for name in NAMES}
REGISTRY = Registry({name: key.public for name, key in IDENTITIES.items()})
PLAN: Plan = make_plan(  # without noise, which is not what is attacked here
    RunConfig(owners=3, nominal_tiles=1000, rounds=4, colluders=0, epsilon=math.inf),
    session=bytes(16),
    owners=NAMES,
    tile=1,
    classes=CLASSES,
    features=FEATURES,
)
WEIGHTS = np.zeros((CLASSES, FEATURES))
TRAIN: Message = {"phase": "train", "round": 0, "attempt": 0, "weights": WEIGHTS}
TILE = TileExamples.group(np.ones((1, FEATURES)), np.zeros(1, np.int64), np.zeros(1, np.int64))
STEPS = ("advertise", "share", "mask", "consistency", "unmask")
CODES = {"unknown_phase", "out_of_order", "no_plan", "attempt_refused", "message_refused"}


def node(name: str = "ann") -> Owner:
    return Owner(name, TILE, IDENTITIES[name], REGISTRY, SecureRandom(), ledger=fresh_ledger())


def ready(name: str = "ann") -> Owner:
    owner = node(name)
    assert "accepted" in owner.handle("plan", {"plan": PLAN.to_json()})
    assert owner.handle("train", TRAIN) == {"ready": True}
    return owner


def code(reply: Message) -> Any:
    """The code of a reply that is a refusal and nothing else."""
    assert set(reply) == {REFUSED}
    return reply[REFUSED]


def wire(message: Message) -> dict[str, Any]:
    return decode(encode(message))


class Play:
    """An honest coordinator up to a step, so that the step after it can be attacked."""

    def __init__(self, weights: Mapping[str, np.ndarray[Any, Any]] | None = None) -> None:
        self.owners = {name: node(name) for name in NAMES}
        for name, owner in self.owners.items():
            owner.handle("plan", {"plan": PLAN.to_json()})
            shown = WEIGHTS if weights is None else weights[name]
            assert owner.handle("train", {**TRAIN, "weights": shown}) == {"ready": True}
        self.state: Any = CoordinatorStart(
            registry=REGISTRY,
            policy=PLAN.policy,
            context=round_context(PLAN, "train", (0, 0), WEIGHTS),
            dimension=CLASSES * FEATURES,
        )
        self.requests: dict[str, Message] = {name: {} for name in NAMES}
        self.sent: list[dict[str, Any]] = []

    def step(self, phase: str) -> None:
        """Play one phase honestly."""
        kinds: dict[str, tuple[Any, str]] = {
            "advertise": (Advertise, "roster"),
            "share": (SealedShares, "deliver"),
            "mask": (MaskedInput, "collect"),
            "consistency": (ConsistencySignature, "request"),
            "unmask": (UnmaskReply, "finish"),
        }
        kind, transition = kinds[phase]
        replies = {n: wire(self.owners[n].handle(phase, r)) for n, r in self.requests.items()}
        assert not any(REFUSED in reply for reply in replies.values()), replies
        self.sent += replies.values()
        result = getattr(self.state, transition)(
            {n: kind.from_message(reply) for n, reply in replies.items()}
        )
        if phase != "unmask":
            self.state, messages = result
            self.requests = {n: wire(m.to_message()) for n, m in messages.items()}

    def until(self, phase: str) -> Play:
        """Play all phases before `phase`."""
        for earlier in STEPS[: STEPS.index(phase)]:
            self.step(earlier)
        return self


@pytest.mark.parametrize("phase", [*STEPS, "plain", "train"])
def test_a_node_without_a_plan_does_nothing(phase: str) -> None:
    assert code(node().handle(phase, TRAIN)) in {"no_plan", "out_of_order"}


def test_an_unknown_phase_has_its_code() -> None:
    for phase in ("", "reveal", "__init__", "_unmask"):
        assert code(ready().handle(phase, {})) == "unknown_phase"


def test_a_second_plan_is_refused_even_if_it_is_the_same() -> None:
    owner = ready()
    assert code(owner.handle("plan", {"plan": PLAN.to_json()})) == "plan_already_accepted"


@pytest.mark.parametrize("now", STEPS)
@pytest.mark.parametrize("asked", STEPS)
def test_a_step_out_of_order_is_refused(now: str, asked: str) -> None:
    play = Play().until(now)
    if asked != now:
        assert code(play.owners["ann"].handle(asked, play.requests["ann"])) == "out_of_order"


@pytest.mark.parametrize("phase", STEPS)
def test_a_step_is_answered_once(phase: str) -> None:
    play = Play().until(phase)
    owner, request = play.owners["ann"], play.requests["ann"]
    assert REFUSED not in owner.handle(phase, request)
    assert code(owner.handle(phase, request)) == "out_of_order"


def test_an_attempt_is_not_trained_twice() -> None:
    owner = ready()
    assert code(owner.handle("train", TRAIN)) == "attempt_refused"
    assert code(owner.handle("train", {**TRAIN, "phase": "test"})) == "attempt_refused"


def test_a_new_attempt_makes_the_old_one_unanswerable() -> None:
    """Two attempts open at once would give two maskings of related vectors."""
    play = Play().until("unmask")
    owner = play.owners["ann"]
    assert owner.handle("train", {**TRAIN, "attempt": 1}) == {"ready": True}
    assert code(owner.handle("unmask", play.requests["ann"])) == "out_of_order"


@pytest.mark.parametrize("phase", STEPS[1:])
def test_a_restarted_node_is_a_dropout_of_its_round(phase: str) -> None:
    """Nothing of a round is on disk, so there is no old state to roll back to either."""
    play = Play().until(phase)
    restarted = ready("ann")  # the same organisation, key and plan; the memory is gone
    assert code(restarted.handle(phase, play.requests["ann"])) == "out_of_order"
    restarted.handle("advertise", {})
    refused = restarted.handle(phase, play.requests["ann"])
    assert code(refused) in {"out_of_order", "RosterError"}
    assert restarted.charged["train"] == 0


@pytest.mark.parametrize("phase", STEPS[1:])
def test_a_refused_message_ends_the_attempt(phase: str) -> None:
    play = Play().until(phase)
    owner, request = play.owners["ann"], play.requests["ann"]
    assert code(owner.handle(phase, {**request, "context": bytes(32)})) == "ContextMismatchError"
    assert code(owner.handle(phase, request)) == "out_of_order"


@pytest.mark.parametrize("phase", STEPS[1:])
def test_a_recorded_round_is_not_answered_in_another(phase: str) -> None:
    recorded, play = Play().until(phase), Play().until(phase)
    refused = play.owners["ann"].handle(phase, recorded.requests["ann"])
    assert code(refused) in {"ContextMismatchError", "RosterError"}


def test_owners_that_are_shown_different_models_refuse_the_roster() -> None:
    other = WEIGHTS + 1e-12
    play = Play(weights={"ann": WEIGHTS, "bob": WEIGHTS, "cy": other})
    adverts = {
        name: Advertise.from_message(wire(play.owners[name].handle("advertise", {})))
        for name in NAMES
    }
    assert adverts["ann"].context == adverts["bob"].context != adverts["cy"].context
    roster: dict[str, Any] = {
        "kind": "roster",
        "context": adverts["ann"].context,
        "parties": "\n".join(NAMES),
        "mask_keys": rows(adverts, "mask_key"),
        "sealing_keys": rows(adverts, "sealing_key"),
        "secret_commitments": rows(adverts, "secret_commitment"),
        "signatures": rows(adverts, "signature"),
    }
    assert code(play.owners["ann"].handle("share", roster)) == "SignatureInvalidError"
    assert code(play.owners["cy"].handle("share", roster)) == "ContextMismatchError"


def rows(adverts: Mapping[str, Advertise], name: str) -> np.ndarray[Any, Any]:
    return np.stack([np.frombuffer(getattr(adverts[p], name), np.uint8) for p in NAMES])


def test_an_aborted_attempt_stays_charged() -> None:
    play = Play().until("consistency")  # the masked vectors have left; the coordinator stops here
    assert [owner.charged["train"] for owner in play.owners.values()] == [1, 1, 1]


def test_a_masked_plan_never_gives_a_plain_vector() -> None:
    assert code(ready().handle("plain", {})) == "plain_refused"


def test_all_that_leaves_a_node_is_what_the_protocol_names() -> None:
    play = Play().until("unmask")
    play.step("unmask")
    fields = {
        "advertise": {"mask_key", "sealing_key", "secret_commitment", "signature"},
        "sealed shares": {"recipients", "sealed"},
        "masked input": {"vector"},
        "consistency signature": {"signature"},
        "unmask reply": {"survivors", "self_shares", "dropped", "key_shares"},
    }
    assert len(play.sent) == 5 * len(NAMES)
    for reply in play.sent:
        assert set(reply) == {"kind", "context", "party"} | fields[reply["kind"]]


values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=80),
    st.sampled_from([np.zeros((2, 32), np.uint8), np.zeros(0, np.uint32), np.zeros(())]),
)


@given(st.sampled_from(STEPS[1:]), st.data())
@settings(max_examples=120)
def test_whatever_is_sent_the_answer_is_a_fixed_code(phase: str, data: st.DataObject) -> None:
    owner = ready()
    owner.handle("advertise", {})
    kind = {"share": "roster", "mask": "delivered shares", "unmask": "unmask request"}
    message: dict[str, Any] = data.draw(st.dictionaries(st.sampled_from(FIELDS), values))
    if data.draw(st.booleans()):
        message["kind"] = kind.get(phase, "survivor set")
    reply = code(owner.handle(phase, message))
    assert reply in CODES | {"DecodeError"}


FIELDS = (
    "kind",
    "context",
    "party",
    "parties",
    "recipient",
    "senders",
    "sealed",
    "survivors",
    "signers",
    "signatures",
    "mask_keys",
)
