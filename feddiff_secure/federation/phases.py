"""How the coordinator asks: one phase to some parties, replies parsed strictly, refusals raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TypeVar

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import CryptoError
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.transport.exchange import REFUSED, Exchange, Message

TRAIN_TIMEOUT = 600.0  # seconds: owners compute their gradients
PHASE_TIMEOUT = 60.0  # seconds: owners answer from memory

M = TypeVar("M")


class _ToMessage(Protocol):
    def to_message(self) -> dict[str, Value]: ...


def to_messages(objects: Mapping[str, _ToMessage]) -> dict[str, Message]:
    """The flat fields of each party's message."""
    return {party: item.to_message() for party, item in objects.items()}


def ask(
    exchange: Exchange,
    phase: str,
    messages: Mapping[str, Message],
    parse: Callable[[Mapping[str, Value]], M],
    *,
    timeout: float = PHASE_TIMEOUT,
) -> dict[str, M]:
    """Exchange one phase and parse the replies; a missing party is a dropout.

    Raises:
        ProtocolAbortedError: a party refused.
        CryptoError: whatever `parse` raises.
    """
    replies = exchange.exchange(phase, messages, timeout)
    for party, reply in replies.items():
        if REFUSED in reply:
            raise ProtocolAbortedError(
                f"{party} refused the phase {phase}: {reply[REFUSED]!s}",
                "ask that owner; docs/protocol.md lists the codes",
            )
    return {party: parse(reply) for party, reply in replies.items()}


def ask_one(
    exchange: Exchange,
    phase: str,
    party: str,
    message: Message,
    parse: Callable[[Mapping[str, Value]], M],
) -> M:
    """Ask a single party that the round cannot do without.

    Raises:
        ProtocolAbortedError: it refused or did not answer.
        CryptoError: whatever `parse` raises.
    """
    replies = ask(exchange, phase, {party: message}, parse)
    if party not in replies:
        raise ProtocolAbortedError(f"{party} did not answer the phase {phase}", "start it again")
    return replies[party]


@contextmanager
def aborted(phase: str, round_index: int, attempt: int) -> Iterator[None]:
    """Turn a protocol error inside an attempt into the run's error, naming the attempt."""
    try:
        yield
    except CryptoError as error:
        raise ProtocolAbortedError(
            f"round {round_index}, attempt {attempt} ({phase}): {type(error).__name__}: {error}",
            "nothing was revealed beyond what the attempt is charged for; start the run again",
        ) from error
