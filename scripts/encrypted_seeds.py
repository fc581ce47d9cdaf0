"""A good message of every kind that only encrypted rounds have: where their fuzzing starts.

Those with a key or a chunk of ciphertext are long.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from feddiff_crypto.he import custodian_messages as c
from feddiff_crypto.he import round_messages as r
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.he.messages import EncryptedAggregate, EncryptedInput, SumSignature
from feddiff_crypto.he.parameters import DEGREE
from feddiff_crypto.masking import messages as m

CONTEXT: Final = bytes(range(32))


def encrypted_seeds() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Parser name → the message's class and some messages of it."""
    seeded = Ciphertexts(np.ones((1, 1, DEGREE), np.uint64), np.zeros((1, 64), np.uint8))
    whole = Ciphertexts(np.ones((1, 2, DEGREE), np.uint64), np.zeros((0, 64), np.uint8))
    aggregate = EncryptedAggregate(CONTEXT, ("ann", "bob"), bytes(32), whole)
    signatures = {"ann": bytes(64), "bob": bytes(64)}
    opened = r.OpenedSecrets({"ann": bytes(32)}, {"bob": bytes(32)})
    sealed = {"bob": b"1" * m.SEALED_BYTES, "cy": b"2" * m.SEALED_BYTES}
    shares = m.SealedShares(CONTEXT, "ann", sealed)
    delivered = m.DeliveredShares(CONTEXT, "ann", sealed)
    keys = dict.fromkeys(sealed, bytes(r.SEALED_KEY_BYTES))
    key = c.CustodianKey(CONTEXT, "carl", bytes(c.PUBLIC_KEY_BYTES), bytes(32), bytes(64))
    row = np.zeros(4 * 5 + 16, np.uint8)
    table: list[tuple[str, tuple[Any, ...]]] = [
        ("keyed-shares", (r.KeyedShares(shares, {}), r.KeyedShares(shares, keys))),
        (
            "keyed-delivery",
            (
                r.KeyedDelivery(delivered, b""),
                r.KeyedDelivery(delivered, bytes(r.SEALED_KEY_BYTES)),
            ),
        ),
        ("encrypted-input", (EncryptedInput(CONTEXT, "ann", bytes(32), seeded),)),
        ("encrypted-aggregate", (aggregate,)),
        ("encrypted-consistency", (r.EncryptedConsistency(CONTEXT, "ann", bytes(64), bytes(64)),)),
        ("decrypt-request", (r.DecryptRequest(CONTEXT, signatures, opened),)),
        ("sum-signature", (SumSignature(CONTEXT, "ann", bytes(32), bytes(64)),)),
        ("custodian-key", (key,)),
        ("custodian-delivery", (c.CustodianDelivery(delivered, key),)),
        ("custody-request", (c.CustodyRequest(aggregate, signatures),)),
        ("sealed-sums", (c.SealedSums(CONTEXT, "carl", {"ann": row, "bob": row}),)),
        ("receive-request", (c.ReceiveRequest(CONTEXT, row, opened),)),
    ]
    return {name: (type(seeds[0]), seeds) for name, seeds in table}
