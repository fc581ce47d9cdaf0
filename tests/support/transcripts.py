"""Small finished run directories for tests, written by the real parties without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import RegistryFile
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.config.load import dump_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.custodian import CustodianIdentity, CustodianNode
from feddiff_secure.federation.encrypted_training import delivered_model, train_encrypted
from feddiff_secure.federation.ledgers import largest_epsilon
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.statement import privacy_statement
from feddiff_secure.federation.training import Trained, train
from feddiff_secure.federation.transcription import LogKeeper, Transcription
from feddiff_secure.model.weights_file import file_bytes, split_weights
from feddiff_secure.transcript.files import COORDINATOR
from feddiff_secure.transcript.leaves import FeaturesLeaf
from feddiff_secure.transcript.witness import MemoryStore, OwnerWitness
from feddiff_secure.transport.exchange import Message, Party
from feddiff_secure.transport.inprocess import InProcessExchange
from tests.support.federations import BLOCKS, FEATURES, examples, plan_for

Tamper = Callable[[str, str, Message], Message]
DESCRIPTION: dict[str, Any] = {
    "format": "feddiff-secure model 1",
    "classes": ["asphalt", "meadow", "water"],
    "features": {"columns": [{"modality": "hsi", "columns": FEATURES}]},
}
PUBLIC = FeaturesLeaf(DESCRIPTION, "pixel", ("hsi branch 0: simulated scenes",), None)


class ScriptedExchange(InProcessExchange):
    """The in-process transport, on which replies can be lost and messages changed.

    Args:
        lost: (phase, party, how many such messages before): its reply is lost.
        tamper: phase, party, message → what is delivered instead.
    """

    def __init__(
        self,
        owners: Mapping[str, Party],
        others: Mapping[str, Party],
        lost: Iterable[tuple[str, str, int]] = (),
        tamper: Tamper | None = None,
    ) -> None:
        super().__init__(owners, others)
        self.lost, self.tamper = set(lost), tamper
        self.counts: dict[tuple[str, str], int] = {}
        self.asked: list[tuple[str, str]] = []

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        if self.tamper is not None:
            messages = {p: self.tamper(phase, p, m) for p, m in messages.items()}
        replies = super().exchange(phase, messages, timeout)
        for party in list(replies):
            self.asked.append((phase, party))
            seen = self.counts.get((phase, party), 0)
            self.counts[phase, party] = seen + 1
            if (phase, party, seen) in self.lost:
                del replies[party]
        return replies


@dataclass
class Parties:
    """Everybody of a small run, with keys that a test may use to cheat."""

    plan: Plan
    config: RunConfig
    keys: dict[str, IdentityKey]
    coordinator: IdentityKey
    owners: dict[str, Owner]
    registry: Registry
    custodians: Registry | None
    exchange: ScriptedExchange
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def pins(self) -> RegistryFile:
        """A registry file of everybody, as a reader may have it."""
        pinned = RegistryFile({}).put(COORDINATOR, self.coordinator.public)
        for name, key in self.registry.identities.items():
            pinned = pinned.put(name, key)
        for name, key in (self.custodians.identities if self.custodians else {}).items():
            pinned = pinned.put(name, key)
        return pinned


def small_config(**options: Any) -> RunConfig:
    """Three owners and rounds, δ for a few tiles; no mean unless it is asked for."""
    small = {"rounds": 3, "owners": 3, "delta": 1e-4, "colluders": 0, "centring": False}
    return RunConfig(**{**small, **options})


def parties(
    directory: Path,
    stack: ExitStack,
    config: RunConfig,
    *,
    lost: Iterable[tuple[str, str, int]] = (),
    tamper: Tamper | None = None,
    ledgers: Path | None = None,
) -> Parties:
    """Everybody, their ledgers open until `stack` closes."""
    plan = plan_for(config, config.owners, BLOCKS if config.centring else None)
    keys = {name: IdentityKey.generate(SecureRandom()) for name in plan.owners}
    coordinator = IdentityKey.generate(SecureRandom())
    registry = Registry({name: key.public for name, key in keys.items()})
    custodians, others = None, {}
    if plan.custodian is not None:
        key = IdentityKey.generate(SecureRandom())
        custodians = Registry({plan.custodian: key.public})
        who = CustodianIdentity(plan.custodian, key, registry)
        others = {plan.custodian: CustodianNode(who, SecureRandom())}
    folder = ledgers or directory / "ledger"
    folder.mkdir(parents=True, exist_ok=True)
    books, owners = {}, {}
    for index, name in enumerate(plan.owners):
        books[name] = stack.enter_context(
            Ledger.open(
                folder / f"{name}.{config.holding}.jsonl",
                owner=name,
                holding=config.holding,
                lifetime_epsilon=config.lifetime_epsilon,
                delta=config.delta,
                tiles=bytes(32),
            )
        )
        owners[name] = Owner(
            name,
            examples(index),
            keys[name],
            registry,
            SecureRandom(),
            ledger=books[name],
            custodians=custodians,
            witness=OwnerWitness(name, keys[name], registry, coordinator.public, MemoryStore()),
        )
    exchange = ScriptedExchange(owners, others, lost, tamper)
    return Parties(plan, config, keys, coordinator, owners, registry, custodians, exchange, books)


def rounds_of(people: Parties, transcript: Transcription) -> Trained:
    """The secure rounds in the plan's mode."""
    plan, exchange, registry = people.plan, people.exchange, people.registry
    if plan.aggregation == "encrypted":
        events = train_encrypted(
            exchange,
            registry,
            plan,
            log=lambda _line: None,
            progress=Silent(),
            transcript=transcript,
        )
        return delivered_model(list(people.owners.values()), plan, events)
    return train(
        exchange,
        registry,
        plan,
        check_count=lambda _tiles: None,
        log=lambda _line: None,
        progress=Silent(),
        transcript=transcript,
    )


def begin(directory: Path, people: Parties) -> Transcription:
    """The run's log, in a directory that has its configuration."""
    (directory / "config.toml").write_text(dump_config(people.config))
    keeper = LogKeeper(directory, people.coordinator, PUBLIC, people.custodians)
    return Transcription(keeper, people.plan, people.registry, people.exchange)


def finish(directory: Path, people: Parties, trained: Trained, transcript: Transcription) -> None:
    """Write the files of a run and close its transcript."""
    weights = split_weights(np.asarray(trained.weights), {"hsi": FEATURES})
    (directory / "model.safetensors").write_bytes(file_bytes(weights, DESCRIPTION))
    statement = privacy_statement(
        people.config,
        people.plan,
        trained.events,
        tile=people.plan.tile,
        support=PUBLIC.support,
        priors=PUBLIC.networks,
        lifetime_epsilon=largest_epsilon(people.ledgers),
        second_opinion=lambda *_: None,
    )
    (directory / "privacy.json").write_text(json.dumps(statement.to_json(), indent=2) + "\n")
    (directory / "privacy.md").write_text(statement.to_markdown())
    (directory / "metrics.json").write_text('{"oa": 0.5}\n')
    transcript.finish()


def finished_run(directory: Path, config: RunConfig, **options: Any) -> Parties:
    """A finished run directory, and who made it."""
    directory.mkdir(parents=True)
    with ExitStack() as stack:
        people = parties(directory, stack, config, **options)
        transcript = begin(directory, people)
        trained = rounds_of(people, transcript)
    finish(directory, people, trained, transcript)
    return people
