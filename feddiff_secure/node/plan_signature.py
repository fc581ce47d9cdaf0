"""Across organisations a plan is the coordinator's word: signed with its identity, and so checked.

FLARE's certificates say which server a site is connected to. Who holds that server, or its
certificate, is still not the coordinator: a node accepts a plan only under the coordinator's pinned
identity, and without an accepted plan nothing of its data is computed on, reserved or sent.

The signature is over the SHA-256 of the plan's bytes, under a label of its own. A plan holds a
random session, so a signature is of one run; that a run which is over is not played again is the
ledger's matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from feddiff_crypto.errors import CryptoError
from feddiff_crypto.keys import IdentityKey, IdentityPublic
from feddiff_secure.transport.exchange import REFUSED, Exchange, Message, Party

PLAN_LABEL: Final = b"feddiff-secure v1 coordinated plan"
_PLAN: Final = "plan"
_PHASES: Final = (_PLAN, "follow")  # a plan is offered, or taken up once more


class SignedPlans:
    """The coordinator's exchange, with its signature beside every plan.

    Args:
        exchange: the transport.
        identity: the coordinator's.
    """

    def __init__(self, exchange: Exchange, identity: IdentityKey) -> None:
        self._exchange, self._identity = exchange, identity

    def parties(self) -> tuple[str, ...]:
        """As the transport says."""
        return self._exchange.parties()

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        """As the transport does; plans are signed first."""
        if phase in _PHASES:
            messages = {party: self._signed(message) for party, message in messages.items()}
        return self._exchange.exchange(phase, messages, timeout)

    def _signed(self, message: Message) -> Message:
        plan = message[_PLAN]
        assert isinstance(plan, bytes)  # ours
        return {**message, "signature": self._identity.sign(PLAN_LABEL, _digest(plan))}


class PlansOfCoordinator:
    """A node's party, reached by plans of the pinned coordinator only.

    Args:
        party: the owner.
        coordinator: the pinned identity.
    """

    def __init__(self, party: Party, coordinator: IdentityPublic) -> None:
        self._party, self._coordinator = party, coordinator

    def handle(self, phase: str, message: Message) -> Message:
        """Answer one message; a plan without the coordinator's signature is refused."""
        if phase not in _PHASES:
            return self._party.handle(phase, message)
        plan, signature = message.get(_PLAN), message.get("signature")
        if not isinstance(plan, bytes) or not isinstance(signature, bytes):
            return {REFUSED: "plan_unsigned"}
        try:
            self._coordinator.verify(signature, PLAN_LABEL, _digest(plan))
        except CryptoError:
            return {REFUSED: "plan_unsigned"}
        rest = {key: value for key, value in message.items() if key != "signature"}
        return self._party.handle(phase, rest)


def _digest(plan: bytes) -> bytes:
    return hashlib.sha256(plan).digest()
