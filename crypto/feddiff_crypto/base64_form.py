"""Standard base64 (RFC 4648, section 4) in exactly one form, for the text formats."""

from __future__ import annotations

import base64
import binascii

from feddiff_crypto.errors import DecodeError


def write_base64(raw: bytes) -> str:
    """The one form of `raw`."""
    return base64.b64encode(raw).decode("ascii")


def read_base64(text: str, what: str) -> bytes:
    """Decode the one form.

    Raises:
        DecodeError: another alphabet, missing padding, or bits set that no byte has; the message
            begins with `what`.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise DecodeError(f"{what}: not base64") from None
    if write_base64(raw) != text:
        raise DecodeError(f"{what}: not base64 in its one form")
    return raw
