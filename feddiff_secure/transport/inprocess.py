"""The in-process transport: every owner in this process, every message through the codec.

It proves nothing about secrecy (one process sees everything), which is why runs over it are
labelled `deployment: simulated`. It does exercise the real messages byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping

from feddiff_crypto.encoding import decode, encode
from feddiff_secure.transport.exchange import Message, Party
from feddiff_secure.transport.traffic import Traffic


class InProcessExchange:
    """Calls each party in turn; there are no timeouts, because nothing can be late.

    Args:
        owners: name → party, in roster order.
        others: parties that can be reached and are no owners, such as a custodian.
    """

    def __init__(
        self, owners: Mapping[str, Party], others: Mapping[str, Party] | None = None
    ) -> None:
        self._owners = tuple(owners)
        self._reachable = {**owners, **(others or {})}
        self.traffic = Traffic(dict.fromkeys(self._reachable, 0), dict.fromkeys(self._reachable, 0))

    def parties(self) -> tuple[str, ...]:
        """Names of the owners, in roster order."""
        return self._owners

    def exchange(
        self,
        phase: str,
        messages: Mapping[str, Message],
        timeout: float,  # noqa: ARG002  # part of the seam; nothing here can be late
    ) -> dict[str, Message]:
        """Deliver, through the codec both ways, and collect the replies."""
        replies: dict[str, Message] = {}
        for name, message in messages.items():
            request = encode(message)
            answer = encode(self._reachable[name].handle(phase, decode(request)))
            self.traffic.down[name] += len(request)
            self.traffic.up[name] += len(answer)
            replies[name] = decode(answer)
        return replies
