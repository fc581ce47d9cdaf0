"""`Exchange` over FLARE: the coordinator's job process asks the owners' job processes.

Messages are FLARE's auxiliary requests: they are pushed to the sites and answered by reply, so a
phase costs a round trip and not a polling interval.

* A site that does not answer in time, or that FLARE cannot reach, is missing from the result.
* A phase may take minutes, and FLARE keeps waiting for a process that is dead. So whoever is waited
  for is asked now and then whether it is there; one that stays silent is missing, too.
* A stopped job raises, whatever was answered.
* A reply that is not of our form is the site's fault and ends the run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final

from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from feddiff_crypto.errors import CryptoError
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.transport.exchange import Message
from feddiff_secure.transport.flare.envelope import (
    THERE,
    TOPIC,
    envelope_bytes,
    pack_request,
    unpack_reply,
)
from feddiff_secure.transport.traffic import Traffic

ALIVE_PERIOD: Final = 5.0  # seconds between two questions, and for an answer
MOST_SILENT: Final = 4  # questions in a row: a site that is frozen for a moment is waited for
_log = logging.getLogger(__name__)


class FlareExchange:
    """The owners of a FLARE job, as its coordinator reaches them.

    Args:
        owners: names of the owners' sites, in roster order.
        engine: FLARE's server engine of the job.
        stopped: FLARE's signal that the job was stopped.
        others: sites that can be reached and are no owners', such as a custodian's.
        patience: phase → seconds that it is waited for at least, such as for a person's decision.
        job: FLARE's id of the job.
    """

    def __init__(
        self,
        owners: Sequence[str],
        engine: Any,
        stopped: Signal,
        *,
        others: Sequence[str] = (),
        patience: Mapping[str, float] | None = None,
        job: str = "",
    ) -> None:
        self.job = job
        self._patience = dict(patience or {})
        self._owners = tuple(owners)
        self._engine, self._stopped = engine, stopped
        self._number = 0
        sites = (*owners, *others)
        self.traffic = Traffic(dict.fromkeys(sites, 0), dict.fromkeys(sites, 0))

    def parties(self) -> tuple[str, ...]:
        """Names of the owners, in roster order; some may not answer."""
        return self._owners

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        """Deliver and collect, as the seam says.

        Raises:
            ProtocolAbortedError: the job was stopped, or a reply is not of our form.
        """
        self._check_running()
        self._number += 1
        requests = {
            name: pack_request(phase, self._number, message) for name, message in messages.items()
        }
        for name, request in requests.items():
            self.traffic.down[name] += envelope_bytes(request)
        longest = max(timeout, self._patience.get(phase, 0.0))
        gone = {name: Signal(parent=self._stopped) for name in requests}
        # One thread a site: FLARE's own multicast of different messages fails in release 2.9.0.
        with ThreadPoolExecutor(max_workers=max(1, 2 * len(requests))) as threads:
            waiting = {
                name: threads.submit(self._ask, name, request, longest, gone[name])
                for name, request in requests.items()
            }
            self._give_up_the_silent(waiting, gone, threads)
        self._check_running()
        replies: dict[str, Message] = {}
        for name, asked in waiting.items():
            answer = asked.result()
            if answer is not None:
                replies[name] = self._reply(name, phase, answer)
        return replies

    def _ask(self, name: str, request: Shareable, timeout: float, gone: Signal) -> Shareable | None:
        """What one site answered; None if it did not in time, or until it was found to be gone."""
        answer = self._send(name, TOPIC, request, timeout, gone)
        if answer is None or answer.get_return_code() != ReturnCode.OK:
            code = None if answer is None else answer.get_return_code()
            _log.warning("%s did not answer: %s", name, code)
            return None
        return answer

    def _send(
        self, name: str, topic: str, request: Shareable, timeout: float, until: Signal
    ) -> Shareable | None:
        with self._engine.new_context() as context:
            # FLARE gives up a request when this signal comes; by default it is the whole job's.
            context.put(ReservedKey.RUN_ABORT_SIGNAL, until, private=True, sticky=False)
            answers = self._engine.send_aux_request(
                targets=[name],
                topic=topic,
                request=request,
                timeout=max(timeout, math.ulp(1.0)),  # 0 would mean: wait for no reply
                fl_ctx=context,
                optional=True,
            )
        found: Shareable | None = (answers or {}).get(name)
        return found

    def _give_up_the_silent(
        self,
        waiting: Mapping[str, Future[Shareable | None]],
        gone: Mapping[str, Signal],
        threads: ThreadPoolExecutor,
    ) -> None:
        """Return when every request has its answer, or no site that could give one."""
        silent = dict.fromkeys(waiting, 0)
        while not self._stopped.triggered:
            open_ = wait(waiting.values(), timeout=ALIVE_PERIOD).not_done
            names = [name for name, asked in waiting.items() if asked in open_]
            if not names:
                return
            for name, there in zip(names, threads.map(self._is_there, names), strict=True):
                silent[name] = 0 if there else silent[name] + 1
                if silent[name] == MOST_SILENT:
                    _log.warning("%s is gone: %d questions unanswered", name, MOST_SILENT)
                    gone[name].trigger(True)  # FLARE's signature

    def _is_there(self, name: str) -> bool:
        """Whether a site's job process answers, whatever it is busy with."""
        answer = self._send(name, THERE, Shareable(), ALIVE_PERIOD, self._stopped)
        return answer is not None and answer.get_return_code() == ReturnCode.OK

    def _reply(self, name: str, phase: str, answer: Mapping[str, Any]) -> Message:
        try:
            reply = unpack_reply(answer)
        except CryptoError as error:
            raise ProtocolAbortedError(
                f"{name} answered the phase {phase} with no message: {error}", "ask that owner"
            ) from error
        self.traffic.up[name] += envelope_bytes(answer)
        return reply

    def _check_running(self) -> None:
        if self._stopped.triggered:
            raise ProtocolAbortedError(
                "the job was stopped", "see the logs of the coordinator and of the sites"
            )
