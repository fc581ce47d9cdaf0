"""Every party of a run in this process, with identities made for the run and pinned to nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.ledger import AttemptLedger
from feddiff_secure.federation.custodian import CustodianIdentity, CustodianNode
from feddiff_secure.federation.encrypted_training import delivered_model, train_encrypted
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.training import RoundLog, Trained, train
from feddiff_secure.transport.inprocess import InProcessExchange


@dataclass(frozen=True, slots=True, eq=False)
class Federation:
    """The parties and the way between them.

    Attributes:
        owners: in roster order.
        registry: their identities.
        exchange: the transport to them and to the custodian, where there is one.
    """

    owners: list[Owner]
    registry: Registry
    exchange: InProcessExchange

    @classmethod
    def simulated(
        cls, plan: Plan, ledgers: Mapping[str, AttemptLedger], examples: Sequence[TileExamples]
    ) -> Self:
        """Owners and, where the plan names one, a custodian.

        Args:
            plan: names the parties.
            ledgers: owner → its open ledger, in roster order.
            examples: the owners' labelled tiles, in roster order.
        """
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
            )
            for name, part in zip(plan.owners, examples, strict=True)
        ]
        return cls(owners, registry, InProcessExchange({o.name: o for o in owners}, others))

    def train(
        self,
        plan: Plan,
        *,
        check_count: Callable[[int], None],
        log: RoundLog,
        progress: Progress,
    ) -> Trained:
        """The secure rounds, in the plan's mode; the model as its recipient gets it.

        Raises:
            BudgetError, ProtocolAbortedError, UsageError: as `train` and `train_encrypted`.
        """
        if plan.aggregation == "encrypted":
            events = train_encrypted(self.exchange, self.registry, plan, log=log, progress=progress)
            return delivered_model(self.owners, plan, events)
        return train(
            self.exchange,
            self.registry,
            plan,
            check_count=check_count,
            log=log,
            progress=progress,
        )
