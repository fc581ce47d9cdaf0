"""Bytes on the wire, as the codec made them, whatever carries them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Traffic:
    """Bytes of messages by party.

    Attributes:
        up: party → bytes it sent.
        down: party → bytes it received.
    """

    up: dict[str, int] = field(default_factory=dict)
    down: dict[str, int] = field(default_factory=dict)
