"""Known attacks on the messages of the hybrid key agreement, for make_bad_messages.py."""

from __future__ import annotations

import numpy as np

from feddiff_crypto.encoding import Value, encode
from feddiff_crypto.he.round_messages import DecryptRequest, OpenedSecrets
from feddiff_crypto.masking import messages as m
from feddiff_crypto.masking.share_messages import CONTRIBUTION_BYTES, HYBRID_SEALED_BYTES
from feddiff_crypto.mlkem import KEM_PUBLIC_BYTES


def hybrid_attacks(context: bytes) -> list[tuple[str, str, bytes, str, str]]:
    """Parser, attack, bytes, words of the refusal, and why, for each attack.

    Args:
        context: 32 bytes that every message carries.
    """
    weak = m.Advertise(context, "ann", b"m" * 32, b"s" * 32, b"c" * 32, bytes(64))
    kem = {"kem_mask_key": b"k" * KEM_PUBLIC_BYTES, "kem_sealing_key": b"l" * KEM_PUBLIC_BYTES}
    advert = weak.to_message() | kem
    roster = m.Roster(context, (m.Advertise.from_message(advert),)).to_message()
    row, contributed = bytes(HYBRID_SEALED_BYTES), bytes(CONTRIBUTION_BYTES)
    shares = m.SealedShares(context, "ann", {"bob": row}, {"bob": contributed}).to_message()
    delivered = m.DeliveredShares(context, "bob", {"ann": row}, {"ann": contributed}).to_message()
    opened = OpenedSecrets({"ann": bytes(32)}, {"bob": bytes(32)}, {"bob": {"ann": contributed}})
    request = DecryptRequest(context, {"ann": bytes(64)}, opened).to_message()
    none = np.zeros((0, CONTRIBUTION_BYTES), np.uint8)
    return [
        (
            "hybrid-advertise",
            "one-mlkem-key",
            encode({k: v for k, v in advert.items() if k != "kem_mask_key"}),
            "missing",
            "half an advert: sealing protected, masks not",
        ),
        (
            "hybrid-advertise",
            "empty-mlkem-key",
            _changed(advert, kem_mask_key=b""),
            "kem_mask_key",
            "talked down to X25519 by a field that is there and empty",
        ),
        (
            "hybrid-roster",
            "one-column-missing",
            encode({k: v for k, v in roster.items() if k != "kem_sealing_keys"}),
            "missing",
            "ML-KEM keys for masks, none for shares",
        ),
        (
            "hybrid-sealed-shares",
            "rows-without-ciphertext",
            _changed(shares, sealed=np.zeros((1, m.SEALED_BYTES), np.uint8)),
            "sealed",
            "shares sealed with X25519 alone in a hybrid message",
        ),
        (
            "hybrid-sealed-shares",
            "contribution-to-nobody",
            _changed(shares, party="zoe"),
            "contributions",
            "a contribution to who is not above its sender",
        ),
        (
            "hybrid-delivered-shares",
            "contribution-left-out",
            _changed(delivered, contributions=none),
            "contributions",
            "a mask without what ML-KEM protects",
        ),
        (
            "hybrid-decrypt-request",
            "contribution-left-out",
            _changed(request, contributions=none),
            "contributions",
            "masks that cannot come off",
        ),
    ]


def _changed(message: dict[str, Value], **fields: Value) -> bytes:
    return encode(message | fields)
