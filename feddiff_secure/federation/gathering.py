"""Who is there for an attempt: a cheap question before anything is computed.

A site that is gone, or frozen, is found out by a short timeout and left out of the attempt; it
would cost the long timeout of training otherwise. With fewer than τ owners there the attempt is not
started: nothing was asked for, so nothing is charged, and they are asked again for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from feddiff_crypto.encoding import Value
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.phases import ask
from feddiff_secure.transport.exchange import Exchange, Message

READY_TIMEOUT = 5.0  # seconds: an answer needs no computation
READY_TRIES = 6  # each as long as the timeout: half a minute for who is frozen or cut off


def present(
    exchange: Exchange, least: int, pause: Callable[[float], None] = time.sleep
) -> tuple[str, ...]:
    """The owners that answer now, in roster order.

    Args:
        exchange: the transport.
        least: τ: with fewer no attempt can succeed.
        pause: waits so many seconds; a transport may know at once that an owner cannot be reached.

    Raises:
        ProtocolAbortedError: an owner refused, or too few answered at every try.
    """
    found: Mapping[str, None] = {}
    for tries in range(READY_TRIES):
        began = time.monotonic()
        asked: dict[str, Message] = {party: {} for party in exchange.parties()}
        found = ask(exchange, "ready", asked, _ready, timeout=READY_TIMEOUT)
        if len(found) >= least:
            return tuple(party for party in exchange.parties() if party in found)
        if tries + 1 < READY_TRIES:
            pause(max(0.0, began + READY_TIMEOUT - time.monotonic()))
    missing = ", ".join(party for party in exchange.parties() if party not in found)
    raise ProtocolAbortedError(
        f"{len(found)} owners are there, {least} are needed; no answer from {missing}",
        "the attempt was not started; see that these owners' nodes run, and start again",
    )


def _ready(message: Mapping[str, Value]) -> None:
    if message != {"ready": True}:
        raise ProtocolAbortedError("a reply to ready is not ready", "ask that owner")
