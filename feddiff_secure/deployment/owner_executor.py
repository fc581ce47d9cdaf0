"""An owner of a federation across organisations, as a component of FLARE's site job."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from feddiff_secure.deployment.job_files import JobFiles
from feddiff_secure.deployment.site_party import SiteParty
from feddiff_secure.errors import UsageError
from feddiff_secure.node.opening import open_keys
from feddiff_secure.node.owner_opening import PublicJob, open_party
from feddiff_secure.node.settings import SETTINGS_FILE, NodeSettings
from feddiff_secure.transport.exchange import Party
from feddiff_secure.transport.flare.executor import PartyExecutor


class OwnerExecutor(PartyExecutor):
    """The owner that the node's own settings make; the job names what is public."""

    def __init__(self) -> None:
        super().__init__()
        self._site: SiteParty | None = None

    def make_party(self, name: str, local: Path) -> Party:
        """The node's party, from `local/node.toml`.

        Raises:
            UsageError: settings or keys that cannot be used, or of another owner than the site's.
        """
        settings = NodeSettings.load(local / SETTINGS_FILE)
        if (owner := open_keys(settings).name) != name:
            raise UsageError(
                f"{settings.path}: identity: {settings.identity} is of {owner}, the site is {name}",
                "an owner has one name: in the registry and in the project",
            )

        def opened(job: JobFiles, held: ExitStack) -> Party:
            public = PublicJob(job.config, job.layout, job.classes, job.tile, job.owners)
            return open_party(settings, public, held)

        self._site = SiteParty(name, opened)
        return self._site

    def close(self) -> None:
        """Close the ledger."""
        if self._site is not None:
            self._site.close()
