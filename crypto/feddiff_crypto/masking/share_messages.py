"""The messages of the share phase: shares sealed to their holders, and the same sorted by holder.

With hybrid key agreement each sealed share is longer by an ML-KEM-768 ciphertext, and a field more
holds the contributions to pairwise masks (`feddiff_crypto.masking.contributions`), one for each
member whose name is above the sender's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from feddiff_crypto.encoding import Value
from feddiff_crypto.keys import SIGNATURE_BYTES
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.fields import Fields, join_parties, stack_by_party
from feddiff_crypto.sealing import HYBRID_SEALING_BYTES, TAG_BYTES
from feddiff_crypto.shamir import SECRET_BYTES, SHARE_BYTES

BUNDLE_BYTES: Final = 2 * SHARE_BYTES  # a share of the self-mask secret, then one of the mask key
SEALED_BYTES: Final = BUNDLE_BYTES + TAG_BYTES
HYBRID_SEALED_BYTES: Final = BUNDLE_BYTES + HYBRID_SEALING_BYTES
CONTRIBUTION_BYTES: Final = HYBRID_SEALING_BYTES + SECRET_BYTES + SIGNATURE_BYTES
_HYBRID: Final = ("contributions",)


@dataclass(frozen=True, slots=True)
class SealedShares:
    """An owner's shares, each sealed to its recipient: every other member of the roster."""

    KIND: ClassVar[str] = "sealed shares"
    context: bytes
    party: str
    sealed: Mapping[str, bytes] = field(repr=False)  # recipient → ciphertext
    contributions: Mapping[str, bytes] | None = None
    """Recipient above the sender → sealed contribution; None without hybrid key agreement."""

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "recipients": join_parties(self.sealed),
            **_sealed_fields(self.sealed, self.contributions),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> SealedShares:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "party", "recipients", "sealed")
        fields = Fields(message, cls.KIND, names, hybrid=_HYBRID)
        recipients, party = fields.parties("recipients", least=1), fields.party("party")
        above = [recipient for recipient in recipients if recipient > party]
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=party,
            sealed=_sealed(fields, recipients),
            contributions=_contributions(fields, above),
        )


@dataclass(frozen=True, slots=True)
class DeliveredShares:
    """The shares that the other owners sealed to `recipient`; the senders took part so far."""

    KIND: ClassVar[str] = "delivered shares"
    context: bytes
    recipient: str
    sealed: Mapping[str, bytes] = field(repr=False)  # sender → ciphertext
    contributions: Mapping[str, bytes] | None = None
    """Sender below the recipient → sealed contribution; None without hybrid key agreement."""

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "recipient": self.recipient,
            "senders": join_parties(self.sealed),
            **_sealed_fields(self.sealed, self.contributions),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> DeliveredShares:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "recipient", "senders", "sealed")
        fields = Fields(message, cls.KIND, names, hybrid=_HYBRID)
        senders, recipient = fields.parties("senders", least=1), fields.party("recipient")
        below = [sender for sender in senders if sender < recipient]
        return cls(
            context=fields.blob("context", HASH_BYTES),
            recipient=recipient,
            sealed=_sealed(fields, senders),
            contributions=_contributions(fields, below),
        )


def _sealed_fields(
    sealed: Mapping[str, bytes], contributions: Mapping[str, bytes] | None
) -> dict[str, Value]:
    if contributions is None:
        return {"sealed": stack_by_party(sealed, SEALED_BYTES)}
    return {
        "sealed": stack_by_party(sealed, HYBRID_SEALED_BYTES),
        "contributions": stack_by_party(contributions, CONTRIBUTION_BYTES),
    }


def _sealed(fields: Fields, parties: tuple[str, ...]) -> dict[str, bytes]:
    width = HYBRID_SEALED_BYTES if fields.is_hybrid else SEALED_BYTES
    return dict(zip(parties, fields.rows("sealed", len(parties), width), strict=True))


def _contributions(fields: Fields, parties: Iterable[str]) -> dict[str, bytes] | None:
    if not fields.is_hybrid:
        return None
    parties = tuple(parties)
    rows = fields.rows("contributions", len(parties), CONTRIBUTION_BYTES)
    return dict(zip(parties, rows, strict=True))
