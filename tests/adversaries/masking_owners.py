"""Four honest owners for the tests of hostile coordinators, taken to any phase of a round."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from feddiff_crypto.errors import (
    CryptoError,
)
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import ADVERTISE_LABEL, IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.messages import (
    Advertise,
    DeliveredShares,
    Roster,
    SealedShares,
    SurvivorSet,
    UnmaskReply,
    UnmaskRequest,
)
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.randomness import SecureRandom

RANDOM = SecureRandom()
NAMES = ("ann", "bob", "cy", "dee")
POLICY = Policy(4, dropouts=1, colluders=1)  # τ = 3
IDENTITIES = {name: IdentityKey.generate(RANDOM) for name in (*NAMES, "eve")}
REGISTRY = Registry({name: IDENTITIES[name].public for name in NAMES})
CONTEXT = RoundContext("session", 3, 0, b"m" * 32, b"c" * 32)
LOW_ORDER = bytes(32)
VECTORS = {name: np.arange(6, dtype=np.uint32) + i for i, name in enumerate(NAMES)}


def sign_advert(advert: Advertise, identity: IdentityKey) -> Advertise:
    signature = identity.sign(ADVERTISE_LABEL, advert.signed_digest())
    return dataclasses.replace(advert, signature=signature)


@dataclass
class Owners:
    """Four honest owners, taken through the phases by whatever the coordinator sends."""

    contexts: Mapping[str, RoundContext] = field(
        default_factory=lambda: dict.fromkeys(NAMES, CONTEXT)
    )
    states: dict[str, Any] = field(default_factory=dict)
    persisted: list[bytes] = field(default_factory=list)
    replies: list[UnmaskReply] = field(default_factory=list)
    agreement: KeyAgreement = KeyAgreement.X25519

    def advertise(self) -> dict[str, Advertise]:
        adverts = {}
        for name in NAMES:
            start = OwnerStart(
                party=name,
                identity=IDENTITIES[name],
                registry=REGISTRY,
                policy=POLICY,
                context=self.contexts[name],
                random=RANDOM,
                agreement=self.agreement,
            )
            self.states[name], adverts[name] = start.advertise()
        return adverts

    def _step(self, name: str, step: Callable[[Any], tuple[Any, Any]]) -> Any:
        self.states[name], message = step(self.states[name])
        return message

    def share(self, name: str, roster: Roster) -> SealedShares:
        shares: SealedShares = self._step(name, lambda state: state.share(roster))
        return shares

    def mask(self, name: str, delivered: DeliveredShares) -> RingArray:
        message = self._step(name, lambda state: state.mask(delivered, VECTORS[name]))
        vector: RingArray = message.vector
        return vector

    def sign(self, name: str, survivors: SurvivorSet) -> bytes:
        signature: bytes = self._step(name, lambda state: state.sign(survivors)).signature
        return signature

    def reveal(self, name: str, request: UnmaskRequest) -> UnmaskReply:
        reply: UnmaskReply = self._step(
            name, lambda state: state.reveal(request, self.persisted.append)
        )
        self.replies.append(reply)
        return reply

    def refuse(
        self, error: type[CryptoError], call: Callable[[], object], match: str | None = None
    ) -> None:
        """`call` raises `error`, and no owner has revealed a share."""
        revealed = len(self.replies), len(self.persisted)
        with pytest.raises(error, match=match):
            call()
        assert (len(self.replies), len(self.persisted)) == revealed


def rostered(agreement: KeyAgreement = KeyAgreement.X25519) -> tuple[Owners, Roster]:
    owners = Owners(agreement=agreement)
    adverts = owners.advertise()
    return owners, Roster(CONTEXT.digest(), tuple(adverts[name] for name in NAMES))


def shared(
    agreement: KeyAgreement = KeyAgreement.X25519,
) -> tuple[Owners, Roster, bytes, dict[str, DeliveredShares]]:
    owners, roster = rostered(agreement)
    sealed = {name: owners.share(name, roster) for name in NAMES}
    context = CONTEXT.with_roster(roster.digest()).digest()
    delivered = {
        name: DeliveredShares(
            context,
            name,
            {other: sealed[other].sealed[name] for other in NAMES if other != name},
            _contributions(sealed, name),
        )
        for name in NAMES
    }
    return owners, roster, context, delivered


def _contributions(sealed: Mapping[str, SealedShares], recipient: str) -> dict[str, bytes] | None:
    """What those below `recipient` contributed to its masks; None without hybrid key agreement."""
    rows: dict[str, bytes] = {}
    for sender, message in sealed.items():
        if message.contributions is None:
            return None
        if sender < recipient:
            rows[sender] = message.contributions[recipient]
    return rows


def masked(agreement: KeyAgreement = KeyAgreement.X25519) -> tuple[Owners, bytes]:
    owners, _, context, delivered = shared(agreement)
    for name in NAMES:
        owners.mask(name, delivered[name])
    return owners, context


def signed(survivors: tuple[str, ...] = NAMES) -> tuple[Owners, UnmaskRequest]:
    owners, context = masked()
    survivor_set = SurvivorSet(context, survivors)
    signatures = {name: owners.sign(name, survivor_set) for name in survivors}
    return owners, UnmaskRequest(context, survivors, signatures)


def replace_advert(roster: Roster, advert: Advertise) -> Roster:
    adverts = {a.party: a for a in roster.adverts} | {advert.party: advert}
    return Roster(roster.context, tuple(adverts[name] for name in sorted(adverts)))
