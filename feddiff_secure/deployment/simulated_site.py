"""A site of a federation on one machine: its data is its share of the simulated dealing.

Everything else is as in a node: an identity of its own, a pinned registry, a ledger, and a log that
it follows. All of it is in the site's own folder, made by who started the federation.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.identity_file import read_identity
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import read_registry
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.deployment.job_files import JobFiles
from feddiff_secure.deployment.site_party import SiteParty, examples_of
from feddiff_secure.errors import DataError
from feddiff_secure.federation.ledgers import tiles_digest, witness_stores
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.transcript.files import COORDINATOR
from feddiff_secure.transcript.witness import OwnerWitness
from feddiff_secure.transport.exchange import Party
from feddiff_secure.transport.flare.executor import PartyExecutor

IDENTITY_FILE: Final = "identity.key"
REGISTRY_FILE: Final = "registry.json"
SITE_FILE: Final = "simulated_site.json"


@dataclass(frozen=True, slots=True)
class SimulatedSite:
    """The settings of such a site.

    Attributes:
        local: its own folder, with identity and registry. ledgers: folder of all ledgers.
        run: the unfinished run's directory, where what it goes on from is kept.
        plan: digest of the plan that an earlier process was interrupted in; empty for a new run.
    """

    local: Path
    ledgers: Path
    run: Path
    plan: bytes = b""

    def write(self) -> None:
        """Write the settings into the folder."""
        fields = {
            "ledgers": str(self.ledgers),
            "run": str(self.run),
            "plan": self.plan.hex(),
        }
        (self.local / SITE_FILE).write_text(json.dumps(fields) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, local: Path) -> SimulatedSite:
        """The settings in a site's folder.

        Raises:
            DataError: none, or not of their form.
        """
        path = local / SITE_FILE
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8"))
            plan = bytes.fromhex(found["plan"])
            return cls(local, Path(found["ledgers"]), Path(found["run"]), plan)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: no settings of a simulated site", "start it with run --engine flare"
            ) from error

    def open_owner(self, job: JobFiles, held: ExitStack) -> Owner:
        """The owner of this site's share of the data that the job's configuration names.

        Raises:
            DataError, UsageError: data that cannot be read or dealt, or of another layout.
        """
        identity = read_identity(self.local / IDENTITY_FILE)
        name, key = identity.party, identity.open()
        known = read_registry(self.local / REGISTRY_FILE)
        owners = known.pinned([party for party in known.parties if party != COORDINATOR])
        prepared = prepare(job.config)
        job.layout.check_same(prepared.dataset.layout, "the data of this site")
        if (prepared.dataset.classes, prepared.tile) != (job.classes, job.tile):
            raise DataError("the job has other classes or tiles than the data of this site", "-")
        tiles = prepared.owners[prepared.names.index(name)]
        folder = ResumeFolder(self.run)
        folder.keep_identity(name, key)
        ledger = Ledger.open(
            self.ledgers / f"{name}.{job.config.holding}.jsonl",
            owner=name,
            holding=job.config.holding,
            lifetime_epsilon=job.config.lifetime_epsilon,
            delta=job.config.delta,
            tiles=tiles_digest(tiles),
            keep=self.plan or None,
        )
        held.callback(_leave, ledger)
        store = witness_stores(job.config, self.ledgers, folder.witness)(name)
        return Owner(
            name,
            examples_of(job, tiles),
            key,
            owners,
            SecureRandom(),
            ledger=ledger,
            witness=OwnerWitness(name, key, owners, known.parties[COORDINATOR], store),
            sent=folder.sent(name),
        )


def _leave(ledger: Ledger) -> None:
    """Close a ledger; what a run has begun to spend stays reserved, so that it can go on."""
    open_ones = ledger.balance.open_reservations
    if any(sum(ledger.balance.reservations[one].spent.values()) for one in open_ones):
        ledger.suspend()
        return
    with ledger:
        pass


class SimulatedOwnerExecutor(PartyExecutor):
    """FLARE's component at a site of a federation on one machine."""

    def __init__(self) -> None:
        super().__init__()
        self._site: SiteParty | None = None

    def make_party(self, name: str, local: Path) -> Party:
        """The site's party, from its folder."""
        self._site = SiteParty(name, SimulatedSite.read(local).open_owner)
        return self._site

    def close(self) -> None:
        """Close the ledger."""
        if self._site is not None:
            self._site.close()
