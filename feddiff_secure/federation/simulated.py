"""Every party of a run in this process, with identities made for the run and pinned to nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.witness import WitnessStore
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.ledger import AttemptLedger
from feddiff_secure.federation.custodian import CustodianIdentity, CustodianNode
from feddiff_secure.federation.encrypted_training import delivered_model, train_encrypted
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prior_phase import AdaptableTiles
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.run_state import RunState
from feddiff_secure.federation.training import RoundLog, Trained, train
from feddiff_secure.federation.transcription import LogKeeper, Transcription
from feddiff_secure.transcript.files import COORDINATOR
from feddiff_secure.transcript.growing_file import FileState
from feddiff_secure.transcript.leaves import FeaturesLeaf
from feddiff_secure.transcript.sent_file import SentStore
from feddiff_secure.transcript.witness import MemoryStore, OwnerWitness
from feddiff_secure.transport.inprocess import InProcessExchange


@dataclass(frozen=True, slots=True, eq=False)
class Federation:
    """The parties and the way between them.

    Attributes:
        owners: in roster order.
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

    @classmethod
    def simulated(
        cls,
        plan: Plan,
        ledgers: Mapping[str, AttemptLedger],
        examples: Sequence[TileExamples],
        witness_store: Callable[[str], WitnessStore] = lambda _owner: MemoryStore(),
        *,
        keys: Mapping[str, IdentityKey] | None = None,
        sent_store: Callable[[str], SentStore | None] = lambda _owner: None,
        adaptable: Sequence[AdaptableTiles] = (),
    ) -> Self:
        """Owners and, where the plan names one, a custodian.

        Args:
            plan: names the parties.
            ledgers: owner → its open ledger, in roster order.
            examples: the owners' labelled tiles, in roster order.
            witness_store: owner → where it keeps the last checkpoint it cosigned.
            keys: identities of owners and coordinator; None makes new ones.
            sent_store: owner → where it keeps what it sent last; None for nowhere.
            adaptable: all the owners' tiles, where the plan adapts a branch; else empty.
        """
        if keys is None:
            parties = (COORDINATOR, *plan.owners)
            keys = {name: IdentityKey.generate(SecureRandom()) for name in parties}
        coordinator, identities = keys[COORDINATOR], {name: keys[name] for name in plan.owners}
        registry = Registry({name: key.public for name, key in identities.items()})
        custodians, others = None, {}
        if plan.custodian is not None:
            key = IdentityKey.generate(SecureRandom())
            custodians = Registry({plan.custodian: key.public})
            who = CustodianIdentity(plan.custodian, key, registry)
            others = {plan.custodian: CustodianNode(who, SecureRandom())}
        every_tile = adaptable or (None,) * len(plan.owners)
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
                sent=sent_store(name),
                adaptable=every,
            )
            for name, part, every in zip(plan.owners, examples, every_tile, strict=True)
        ]
        exchange = InProcessExchange({o.name: o for o in owners}, others)
        return cls(owners, registry, exchange, coordinator, custodians)

    def transcription(
        self,
        plan: Plan,
        directory: Path,
        features: FeaturesLeaf,
        kept: Mapping[str, FileState] | None = None,
    ) -> Transcription:
        """The log of a run of this federation, in its run directory, new or as it was `kept`."""
        keeper = LogKeeper(directory, self.coordinator, features, self.custodians)
        return Transcription(keeper, plan, self.registry, self.exchange, kept)

    def train(
        self,
        plan: Plan,
        *,
        check_count: Callable[[int], None],
        log: RoundLog,
        progress: Progress,
        transcript: Transcription | None = None,
        state: RunState | None = None,
    ) -> Trained:
        """The secure rounds, in the plan's mode; the model as its recipient gets it.

        In encrypted mode there is no state to go on from: the owners hold the model.

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
            state=state,
        )
