"""The attacks on messages of encrypted rounds that `make_bad_messages` writes down.

Each is a good message with one field changed to something that must be refused before any of it
reaches a key or SEAL. Keys and chunks are long, so their attacks are short: a wrong shape does.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from feddiff_crypto.encoding import Value, encode
from feddiff_crypto.he import custodian_messages as c
from feddiff_crypto.he import round_messages as r
from feddiff_crypto.he.messages import EncryptedInput, SumSignature
from feddiff_crypto.masking import messages as m

CONTEXT: Final = bytes(range(32))
SEALED: Final = {"bob": b"1" * m.SEALED_BYTES, "cy": b"2" * m.SEALED_BYTES}

Row = tuple[str, str, bytes, str, str, str]


def rows_of_encrypted_mode() -> list[Row]:
    """(parser, attack, bytes, error, its words, why)."""
    shares = r.KeyedShares(m.SealedShares(CONTEXT, "ann", SEALED), {})
    delivery = r.KeyedDelivery(m.DeliveredShares(CONTEXT, "ann", SEALED), b"")
    opened = r.OpenedSecrets({"ann": bytes(32)}, {"bob": bytes(32)})
    request = r.DecryptRequest(CONTEXT, {"ann": bytes(64)}, opened)
    signed = r.EncryptedConsistency(CONTEXT, "ann", bytes(64), bytes(64))
    total = SumSignature(CONTEXT, "ann", bytes(32), bytes(64))
    sealed_sum = np.zeros(4 * 3 + 16, np.uint8)
    sums = c.SealedSums(CONTEXT, "carl", {"ann": sealed_sum, "bob": sealed_sum})
    receive = c.ReceiveRequest(CONTEXT, sealed_sum, opened)
    chunk: dict[str, Value] = {
        "kind": EncryptedInput.KIND, "context": CONTEXT, "party": "ann", "key_id": bytes(32),
        "residues": np.zeros((1, 1, 8), np.uint64), "seeds": np.zeros((1, 64), np.uint8),
    }  # fmt: skip
    aggregate = {**chunk, "kind": "encrypted aggregate", "survivors": "ann\nbob"}
    del aggregate["party"]
    custody = {
        **aggregate, "kind": c.CustodyRequest.KIND, "signers": "ann",
        "signatures": np.zeros((1, 64), np.uint8),
    }  # fmt: skip
    key: dict[str, Value] = {
        "kind": c.CustodianKey.KIND, "context": CONTEXT, "party": "carl", "public_key": bytes(40),
        "agreement": bytes(32), "signature": bytes(64),
    }  # fmt: skip
    with_key = {
        **delivery.shares.to_message(), **key, "custodian_context": CONTEXT,
        "kind": c.CustodianDelivery.KIND,
    }  # fmt: skip
    short = np.zeros((2, 16), np.uint8)
    table: list[tuple[str, str, bytes, str, str]] = [
        (
            "keyed-shares", "keys-for-some", _with(shares, sealed_keys=short[:1]), "sealed_keys",
            "the CKKS key for one of two recipients, or of another length",
        ),
        (
            "keyed-delivery", "two-keys", _with(delivery, sealed_key=short), "sealed_key",
            "two CKKS keys for one owner",
        ),
        (
            "encrypted-input", "short-chunk", encode(chunk), "residues",
            "a polynomial of another degree, for SEAL to choke on",
        ),
        (
            "encrypted-aggregate", "short-chunk", encode(aggregate), "residues",
            "a sum of another degree",
        ),
        (
            "encrypted-consistency", "one-signature", _with(signed, aggregate_signature=b""),
            "aggregate_signature", "a survivor set signed without its aggregate",
        ),
        (
            "decrypt-request", "both-kinds-for-one-owner", _with(request, dropped="ann"),
            "both kinds", "self-mask secret and mask key of one owner open its vector",
        ),
        (
            "decrypt-request", "nobody-signs",
            _with(request, signers="", signatures=np.zeros((0, 64), np.uint8)), "signers",
            "a decryption that nobody agreed to",
        ),
        (
            "sum-signature", "long-digest", _with(total, sum_digest=bytes(33)), "sum_digest",
            "a digest with room for a hidden byte",
        ),
        ("custodian-key", "short-key", encode(key), "public_key", "a public key cut short"),
        (
            "custodian-delivery", "short-key", encode(with_key), "public_key",
            "a public key cut short, beside good shares",
        ),
        (
            "custody-request", "short-chunk", encode(custody), "residues",
            "an aggregate of another degree, with a signature",
        ),
        (
            "sealed-sums", "one-sum-for-two", _with(sums, sealed=sums.to_message()["sealed"][:1]),  # type: ignore[index]  # an array
            "rows", "one owner gets the other's sum",
        ),
        (
            "receive-request", "no-ring-vector", _with(receive, sealed_sum=sealed_sum[:-1]),
            "no ring vector", "a sum that is no whole number of elements",
        ),
    ]  # fmt: skip
    return [(p, attack, data, "DecodeError", words, why) for p, attack, data, words, why in table]


def _with(message: Any, **fields: Value) -> bytes:
    return encode({**message.to_message(), **fields})
