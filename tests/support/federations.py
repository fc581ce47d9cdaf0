"""Small federations for tests: owners with random labelled tiles, over the real transport."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_secure.aggregation.centring import Block
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.custodian import CustodianIdentity, CustodianNode
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.transcription import LogKeeper, Transcription
from feddiff_secure.transcript.leaves import FeaturesLeaf
from feddiff_secure.transcript.witness import MemoryStore, OwnerWitness
from feddiff_secure.transport.exchange import Message, Party
from feddiff_secure.transport.inprocess import InProcessExchange
from tests.support.ledgers import fresh_ledger

CLASSES = 3
FEATURES = 8
BLOCKS = (
    Block("hsi", FEATURES - 1, 0.9, constant=False),
    Block("hsi", 1, 0.1, constant=True),
)
"""A layout for plans that release the mean; the examples' last column is no constant, which no
sum minds."""
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def examples(seed: int, tiles: int = 30, most: int = 4) -> TileExamples:
    """Labelled tiles with ‖ψ‖ = 1 whose classes can be told apart."""
    rng = np.random.default_rng(seed)
    tile = np.repeat(np.arange(tiles), rng.integers(1, most + 1, tiles))
    labels = rng.integers(0, CLASSES, tiles)[tile]
    psi = rng.standard_normal((len(tile), FEATURES)) * 0.4
    psi[np.arange(len(tile)), labels] += 1.0
    return TileExamples.group(psi / np.linalg.norm(psi, axis=1, keepdims=True), labels, tile)


def plan_for(config: RunConfig, owners: int = 4, blocks: tuple[Block, ...] | None = None) -> Plan:
    """A plan over `owners` owners with the small dimensions used here."""
    names = tuple(f"owner-{i:03d}" for i in range(1, owners + 1))
    return make_plan(
        config,
        session=bytes(16),
        owners=names,
        tile=1,
        classes=CLASSES,
        features=FEATURES,
        blocks=blocks,
    )


@dataclass
class Federation:
    """Owners, their registry and a transport that remembers every message."""

    plan: Plan
    registry: Registry
    owners: dict[str, Owner]
    exchange: RecordingExchange
    keys: dict[str, IdentityKey]
    coordinator: IdentityKey
    custodians: Registry | None

    @classmethod
    def of(cls, plan: Plan, data: list[TileExamples] | None = None) -> Federation:
        """A federation whose owners hold `data` (random tiles by default)."""
        keys = {name: IdentityKey.generate(SecureRandom()) for name in plan.owners}
        registry = Registry({name: key.public for name, key in keys.items()})
        coordinator = IdentityKey.generate(SecureRandom())
        custodians, others = None, {}
        if plan.custodian is not None:
            key = IdentityKey.generate(SecureRandom())
            custodians = Registry({plan.custodian: key.public})
            who = CustodianIdentity(plan.custodian, key, registry)
            others = {plan.custodian: CustodianNode(who, SecureRandom())}
        held = data or [examples(i) for i in range(len(plan.owners))]
        owners = {
            name: Owner(
                name,
                part,
                keys[name],
                registry,
                SecureRandom(),
                ledger=fresh_ledger(),
                custodians=custodians,
                witness=OwnerWitness(name, keys[name], registry, coordinator.public, MemoryStore()),
            )
            for name, part in zip(plan.owners, held, strict=True)
        }
        exchange = RecordingExchange(owners, others)
        return cls(plan, registry, owners, exchange, keys, coordinator, custodians)

    def transcription(self, directory: Path | None = None) -> Transcription:
        """A log of the run, by default in a folder that goes away with the process."""
        if directory is None:
            _KEPT.append(tempfile.TemporaryDirectory(prefix="run-"))
            directory = Path(_KEPT[-1].name)
        public = FeaturesLeaf({"format": "none"}, "pixel", (), None)
        keeper = LogKeeper(directory, self.coordinator, public, self.custodians)
        return Transcription(keeper, self.plan, self.registry, self.exchange)

    def agree(self, plan: Plan | None = None) -> dict[str, Message]:
        """Offer a plan to all owners."""
        message = {"plan": (plan or self.plan).to_json()}
        return self.exchange.exchange("plan", dict.fromkeys(self.plan.owners, message), 1.0)


@dataclass
class Sent:
    """One message that crossed the transport."""

    phase: str
    party: str
    request: Message
    reply: Message


class RecordingExchange(InProcessExchange):
    """The in-process transport, keeping what was sent."""

    def __init__(
        self, owners: Mapping[str, Party], others: Mapping[str, Party] | None = None
    ) -> None:
        super().__init__(owners, others)
        self.sent: list[Sent] = []

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        replies = super().exchange(phase, messages, timeout)
        self.sent += [Sent(phase, name, messages[name], reply) for name, reply in replies.items()]
        return replies

    def replies(self, phase: str) -> list[Sent]:
        """What owners sent in a phase, in order."""
        return [sent for sent in self.sent if sent.phase == phase]


def with_shares_for(plan: Plan, honest: int) -> Plan:
    """A plan whose noise shares are sized for another number of honest owners."""
    factor = (plan.calibrated_shares / honest) ** 0.5
    count = plan.count_share_std
    return replace(
        plan,
        train_share_std=plan.train_share_std * factor,
        count_share_std=None if count is None else count * factor,
    )
