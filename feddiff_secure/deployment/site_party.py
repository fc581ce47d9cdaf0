"""An owner's party at a site: it makes its owner from the job's public files, then answers for it.

The first phase is `prepare`: the node reads its own data, checks that it has the job's layout, and
computes the features. What leaves is that it is prepared, or a fixed code. Everything after is the
owner's (`federation/owner.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from feddiff_privacy.clipping import TileExamples
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.deployment.job_files import JobFiles
from feddiff_secure.errors import FeddiffError
from feddiff_secure.federation.examples import describe, labelled_examples
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.run import default_features
from feddiff_secure.transport.exchange import REFUSED, Message, Party

_log = logging.getLogger(__name__)

PREPARE: Final = "prepare"

OpenOwner = Callable[[JobFiles, ExitStack], Party]
"""Makes the owner of a job; what it opens, such as its ledger, is closed with the stack."""


class SiteParty:
    """The party of one site.

    Args:
        name: of the site.
        open_owner: makes its owner. Raises `FeddiffError` where the job does not fit the site.
    """

    def __init__(self, name: str, open_owner: OpenOwner) -> None:
        self._name, self._open = name, open_owner
        self._held = ExitStack()
        self._owner: Party | None = None

    def handle(self, phase: str, message: Message) -> Message:
        """Answer one message: prepare once, then as the owner does."""
        if phase != PREPARE:
            return (
                {REFUSED: "not_prepared"}
                if self._owner is None
                else self._owner.handle(phase, message)
            )
        if self._owner is not None:
            return {REFUSED: "already_prepared"}
        try:
            self._owner = self._open(JobFiles.from_message(message), self._held)
        except FeddiffError as error:
            _log.error("%s: the job does not fit this node: %s (%s)", self._name, error, error.hint)
            self.close()
            return {REFUSED: "layout_refused"}
        return {"prepared": True}

    def close(self) -> None:
        """Close what the owner had open."""
        self._held.close()


def examples_of(job: JobFiles, tiles: TileSet) -> TileExamples:
    """ψ of a node's labelled pixels, by the job's public features."""
    features = default_features(job.config, job.layout, job.tile)
    return labelled_examples(features, describe(features, tiles, Silent()))
