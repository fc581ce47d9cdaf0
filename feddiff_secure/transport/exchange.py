"""The transport seam: the protocol is written once against this, whatever carries the bytes.

A phase sends one message to each of some parties and collects their replies. A party whose reply
is missing from the result has dropped out of the phase; an abort of the whole job raises.
Messages are flat dictionaries of scalars, bytes and arrays; every transport moves them through
the one pickle-free codec, the in-process one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from feddiff_crypto.encoding import Value

Message = Mapping[str, Value]

REFUSED = "refused"
"""The key of a reply that is a refusal: its value is a fixed code, never free text."""


class Party(Protocol):
    """What a transport delivers to: one owner."""

    def handle(self, phase: str, message: Message) -> Message:
        """Answer one message; a refusal is a reply too, under the key `REFUSED`."""
        ...


class Exchange(Protocol):
    """A transport as the coordinator sees it."""

    def parties(self) -> tuple[str, ...]:
        """Names of the owners that can be reached, in roster order."""
        ...

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        """Deliver one message to each named party and collect the replies.

        Args:
            phase: name of the protocol phase.
            messages: party → message.
            timeout: seconds to wait for the slowest.

        Returns:
            party → reply; a party that did not answer in time is missing.

        Raises:
            ProtocolAbortedError: the job as a whole was stopped.
        """
        ...
