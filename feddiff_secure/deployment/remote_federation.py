"""The owners of a run as a coordinator has them across a transport: names, keys, a way to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from feddiff_crypto.encoding import Value
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_secure.deployment.job_files import JobFiles
from feddiff_secure.deployment.site_party import PREPARE
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.phases import TRAIN_TIMEOUT, ask
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.run_state import RunState
from feddiff_secure.federation.training import RoundLog, Trained, train
from feddiff_secure.federation.transcription import LogKeeper, Transcription
from feddiff_secure.transcript.growing_file import FileState
from feddiff_secure.transcript.leaves import FeaturesLeaf
from feddiff_secure.transport.exchange import Exchange, Message
from feddiff_secure.transport.traffic import Traffic

_POLL = 0.2  # seconds
_PING = 2.0  # seconds


@dataclass(frozen=True, slots=True, eq=False)
class RemoteFederation:
    """Owners at the other end of a transport, in masked or plain mode.

    Attributes:
        exchange: the transport. traffic: what it counted.
        registry: the owners' pinned identities, in roster order.
        coordinator: the coordinator's identity: the key of the run's log.
        spent: the largest ε over the owners' ledgers, where it is known here.
    """

    exchange: Exchange
    traffic: Traffic
    registry: Registry
    coordinator: IdentityKey
    spent: Callable[[], float]

    def prepare(self, job: JobFiles, patience: float) -> None:
        """Wait for all owners, and have each make its features.

        Args:
            job: the public files.
            patience: seconds in which every owner has to be there.

        Raises:
            ProtocolAbortedError: an owner is not there, or its data does not fit.
        """
        owners = self.registry.parties
        until = time.monotonic() + patience
        while missing := set(owners) - set(self._there()):
            if time.monotonic() > until:
                raise ProtocolAbortedError(
                    f"no answer from {', '.join(sorted(missing))} within {patience:g} s",
                    "nothing was released; see the logs of these sites",
                )
            time.sleep(_POLL)
        asked: Message = job.to_message()
        done = ask(
            self.exchange, PREPARE, dict.fromkeys(owners, asked), _prepared, timeout=TRAIN_TIMEOUT
        )
        if missing := set(owners) - set(done):
            raise ProtocolAbortedError(
                f"not prepared: {', '.join(sorted(missing))}", "see the logs of these sites"
            )

    def transcription(
        self,
        plan: Plan,
        directory: Path,
        features: FeaturesLeaf,
        kept: Mapping[str, FileState] | None,
    ) -> Transcription:
        """The log of a run of this federation, in its run directory, new or as it was `kept`."""
        keeper = LogKeeper(directory, self.coordinator, features)
        return Transcription(keeper, plan, self.registry, self.exchange, kept)

    def train(
        self,
        plan: Plan,
        *,
        check_count: Callable[[int], None],
        log: RoundLog,
        progress: Progress,
        transcript: Transcription,
        state: RunState,
    ) -> Trained:
        """The secure rounds.

        Raises:
            BudgetError, ProtocolAbortedError, UsageError: as `train`.
        """
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

    def bytes_up(self) -> int:
        """Bytes that owners have sent so far in this process."""
        return sum(self.traffic.up[owner] for owner in self.registry.parties)

    def _there(self) -> tuple[str, ...]:
        """Whose process answers at all, if only that it is not prepared."""
        asked: dict[str, Message] = {owner: {} for owner in self.registry.parties}
        return tuple(self.exchange.exchange("ready", asked, _PING))


def _prepared(message: Message) -> None:
    fields: dict[str, Value] = dict(message)
    if fields != {"prepared": True}:
        raise ProtocolAbortedError("a reply to prepare is not prepared", "ask that owner")
