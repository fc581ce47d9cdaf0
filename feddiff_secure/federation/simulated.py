"""Every party of a run in this process, with identities made for the run and pinned to nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.witness import WitnessStore
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.federation.custodian import CustodianIdentity, CustodianNode
from feddiff_secure.federation.encrypted_training import delivered_model, train_encrypted
from feddiff_secure.federation.ledgers import largest_epsilon, run_ledgers, witness_stores
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.training import RoundLog, Trained, train
from feddiff_secure.federation.transcription import LogKeeper, Transcription
from feddiff_secure.transcript.leaves import FeaturesLeaf
from feddiff_secure.transcript.witness import MemoryStore, OwnerWitness
from feddiff_secure.transport.inprocess import InProcessExchange


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What a federation is made for.

    Attributes:
        config: the configuration. plan: the public numbers.
        tiles: owner → its tiles, in roster order.
        examples: computes the owners' labelled tiles, in roster order.
        ledgers: folder of the owners' ledgers.
    """

    config: RunConfig
    plan: Plan
    tiles: Mapping[str, TileSet]
    examples: Callable[[], list[TileExamples]]
    ledgers: Path


class Parties(Protocol):
    """The owners of a run, wherever they are, as the path of a run uses them."""

    def transcription(self, plan: Plan, directory: Path, features: FeaturesLeaf) -> Transcription:
        """The log of a run of this federation, in its run directory."""
        ...

    def train(
        self,
        plan: Plan,
        *,
        check_count: Callable[[int], None],
        log: RoundLog,
        progress: Progress,
        transcript: Transcription | None = None,
    ) -> Trained:
        """The secure rounds, in the plan's mode; the model as its recipient gets it."""
        ...

    def bytes_up(self, owner: str) -> int:
        """Bytes that an owner has sent so far."""
        ...

    def lifetime_epsilon(self) -> float:
        """ε of everything in an owner's ledger, the largest over owners, once they are closed."""
        ...


Federate = Callable[[Setting], AbstractContextManager[Parties]]
"""Makes the parties of a run; their ledgers are closed when the block is left."""


@contextmanager
def in_one_process(setting: Setting) -> Iterator[Federation]:
    """Every party in this process.

    Raises:
        UsageError, DataError, VerificationError, BudgetError: as `run_ledgers`.
    """
    with run_ledgers(setting.config, setting.tiles, setting.ledgers) as books:
        stores = witness_stores(setting.config, setting.ledgers)
        yield Federation.simulated(setting.plan, books, setting.examples(), stores)


@dataclass(frozen=True, slots=True, eq=False)
class Federation:
    """The parties and the way between them.

    Attributes:
        owners: in roster order. ledgers: owner → its ledger.
        registry: their identities.
        exchange: the transport to them and to the custodian, where there is one.
        coordinator: the coordinator's identity: the key of the run's log.
        custodians: identities of custodians; None where there are none.
    """

    owners: list[Owner]
    registry: Registry
    exchange: InProcessExchange
    coordinator: IdentityKey
    custodians: Registry | None
    ledgers: Mapping[str, Ledger]

    @classmethod
    def simulated(
        cls,
        plan: Plan,
        ledgers: Mapping[str, Ledger],
        examples: Sequence[TileExamples],
        witness_store: Callable[[str], WitnessStore] = lambda _owner: MemoryStore(),
    ) -> Self:
        """Owners and, where the plan names one, a custodian.

        Args:
            plan: names the parties.
            ledgers: owner → its open ledger, in roster order.
            examples: the owners' labelled tiles, in roster order.
            witness_store: owner → where it keeps the last checkpoint it cosigned.
        """
        coordinator = IdentityKey.generate(SecureRandom())
        identities = {name: IdentityKey.generate(SecureRandom()) for name in plan.owners}
        registry = Registry({name: key.public for name, key in identities.items()})
        custodians, others = None, {}
        if plan.custodian is not None:
            key = IdentityKey.generate(SecureRandom())
            custodians = Registry({plan.custodian: key.public})
            who = CustodianIdentity(plan.custodian, key, registry)
            others = {plan.custodian: CustodianNode(who, SecureRandom())}
        owners = [
            Owner(
                name,
                part,
                identities[name],
                registry,
                SecureRandom(),
                ledger=ledgers[name],
                custodians=custodians,
                witness=OwnerWitness(
                    name, identities[name], registry, coordinator.public, witness_store(name)
                ),
            )
            for name, part in zip(plan.owners, examples, strict=True)
        ]
        exchange = InProcessExchange({o.name: o for o in owners}, others)
        return cls(owners, registry, exchange, coordinator, custodians, ledgers)

    def bytes_up(self, owner: str) -> int:
        """Bytes that an owner has sent so far."""
        return self.exchange.traffic.up[owner]

    def lifetime_epsilon(self) -> float:
        """ε of everything in a ledger, the largest over owners."""
        return largest_epsilon(self.ledgers)

    def transcription(self, plan: Plan, directory: Path, features: FeaturesLeaf) -> Transcription:
        """The log of a run of this federation, in its run directory."""
        keeper = LogKeeper(directory, self.coordinator, features, self.custodians)
        return Transcription(keeper, plan, self.registry, self.exchange)

    def train(
        self,
        plan: Plan,
        *,
        check_count: Callable[[int], None],
        log: RoundLog,
        progress: Progress,
        transcript: Transcription | None = None,
    ) -> Trained:
        """The secure rounds, in the plan's mode; the model as its recipient gets it.

        Raises:
            BudgetError, ProtocolAbortedError, UsageError: as `train` and `train_encrypted`.
        """
        if plan.aggregation == "encrypted":
            events = train_encrypted(
                self.exchange,
                self.registry,
                plan,
                log=log,
                progress=progress,
                transcript=transcript,
            )
            return delivered_model(self.owners, plan, events)
        return train(
            self.exchange,
            self.registry,
            plan,
            check_count=check_count,
            log=log,
            progress=progress,
            transcript=transcript,
        )
