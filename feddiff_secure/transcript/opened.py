"""The message of opened secrets: what the unmask phase of a release revealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from feddiff_crypto.encoding import Value
from feddiff_crypto.he.round_messages import HYBRID_FIELDS, OpenedSecrets
from feddiff_crypto.masking.coordinator import RoundSum
from feddiff_crypto.masking.fields import Fields


class OpenedMessage:
    """Self-mask secrets of survivors, mask keys of the dropped, contributions to their masks."""

    KIND: ClassVar[str] = "opened secrets"

    @classmethod
    def of(cls, done: RoundSum) -> dict[str, Value]:
        """The flat fields of what a round opened."""
        keys = {party: key.raw for party, key in done.revealed.mask_keys.items()}
        contributions = done.contributions if done.roster.is_hybrid else None
        secrets = OpenedSecrets(done.revealed.self_secrets, keys, contributions)
        return {"kind": cls.KIND, **secrets.to_fields()}

    @classmethod
    def read(cls, message: Mapping[str, Value]) -> OpenedSecrets:
        """Read the flat fields. Raises DecodeError for any others."""
        return OpenedSecrets.from_fields(
            Fields(message, cls.KIND, OpenedSecrets.NAMES, hybrid=HYBRID_FIELDS)
        )
