"""An owner's end of the sealed ways to its peers in one attempt.

The sealing key seals one message a peer and key derivation. Whoever seals a second kind of message
under it gives that kind its own context, and by that its own keys (`feddiff_crypto.sealing`).
"""

from __future__ import annotations

from dataclasses import dataclass

from feddiff_crypto.hybrid import SealingKey
from feddiff_crypto.masking.adverts import Roster


@dataclass(frozen=True, slots=True, repr=False)
class Channel:
    """Never shown, never stored.

    Attributes:
        key: the private sealing key of this attempt.
        party: whose it is.
        roster: the attempt's roster, with the peers' public sealing keys.
        context: digest of the round's context, with the roster.
    """

    key: SealingKey
    party: str
    roster: Roster
    context: bytes
