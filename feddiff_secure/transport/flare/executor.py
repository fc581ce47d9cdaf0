"""The owner's end of the transport: FLARE's client job process holds the party and answers for it.

The process is FLARE's job process, a child of the site's own process: whatever happens in a
computation, the site stays up and the coordinator sees a site that does not answer.

* A message is answered at most once and in order: one that is not newer than the last is refused,
  so what a frozen site finds in its queue when it wakes changes nothing.
* Whether the process is there is answered at any time, and says nothing else.
* Every exception becomes a reply, of a fixed code; what went wrong is in the site's own log.
* Which process sent a message is not checked here: the protocol trusts signatures under pinned
  identities, not the transport.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from feddiff_crypto.errors import CryptoError
from feddiff_secure.transport.exchange import REFUSED, Message, Party
from feddiff_secure.transport.flare.envelope import (
    THERE,
    TOPIC,
    Request,
    pack_reply,
    unpack_request,
)
from feddiff_secure.transport.flare.watched_process import end_with_parent

_log = logging.getLogger(__name__)


class PartyExecutor(Executor, ABC):  # type: ignore[misc]  # nvflare has no types
    """A site's component of the job; a subclass says what the site's party is."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._last = 0
        self._party: Party | None = None
        self._name, self._local = "", Path()

    @abstractmethod
    def make_party(self, name: str, local: Path) -> Party:
        """The party of this site, made when its first message comes.

        Args:
            name: of the site, as the certificate says it.
            local: the site's own configuration folder, which nobody else writes.
        """

    def close(self) -> None:
        """The job is over; a subclass closes what its party holds."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Listen from the start of the job to its end."""
        if event_type == EventType.START_RUN:
            end_with_parent()
            engine = fl_ctx.get_engine()
            self._name = fl_ctx.get_identity_name()
            self._local = Path(engine.get_workspace().get_site_config_dir())
            engine.register_aux_message_handler(TOPIC, self._answer)
            engine.register_aux_message_handler(THERE, self._here)
        elif event_type == EventType.END_RUN:
            self.close()

    def execute(
        self,
        task_name: str,
        shareable: Shareable,  # noqa: ARG002  # the signature FLARE calls
        fl_ctx: FLContext,  # noqa: ARG002
        abort_signal: Signal,  # noqa: ARG002
    ) -> Shareable:
        """FLARE's tasks are not used: there is none that this site would do."""
        _log.warning("%s: refused a task %r", self._name, task_name[:40])
        return make_reply(ReturnCode.TASK_UNKNOWN)

    def _here(self, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:  # noqa: ARG002  # as FLARE calls it
        """Answered while a message is being handled: long work is no silence."""
        return make_reply(ReturnCode.OK)

    def _answer(
        self,
        topic: str,  # noqa: ARG002  # the signature FLARE calls, by name
        request: Shareable,
        fl_ctx: FLContext,  # noqa: ARG002
    ) -> Shareable:
        try:
            reply = self._handle(unpack_request(request))
        except CryptoError as error:
            _log.warning("%s: refused a request: %s", self._name, error)
            reply = {REFUSED: "message_refused"}
        except Exception:  # noqa: BLE001  # a bug here must not reach the coordinator as text
            _log.exception("%s: a request failed", self._name)
            reply = {REFUSED: "site_failed"}
        return pack_reply(reply)

    def _handle(self, request: Request) -> Message:
        with self._lock:
            if request.number <= self._last:
                return {REFUSED: "stale"}
            self._last = request.number
            if self._party is None:
                self._party = self.make_party(self._name, self._local)
            return self._party.handle(request.phase, request.message)
