"""A passphrase comes from a file: not from an option, which other users of the machine can read."""

from __future__ import annotations

from pathlib import Path

from feddiff_crypto.identity_file import MAX_PASSPHRASE_BYTES, MIN_PASSPHRASE_BYTES
from feddiff_crypto.protected_file import READABLE_BY_OTHERS, read_protected
from feddiff_secure.errors import UsageError


def read_passphrase(path: Path | None) -> bytes | None:
    """The passphrase in a file of one line; None without a file.

    Raises:
        FileRefusedError: missing, or readable by others.
        UsageError: more than one line, or too short or long.
    """
    if path is None:
        return None
    data = read_protected(
        path, forbidden_mode=READABLE_BY_OTHERS, max_bytes=MAX_PASSPHRASE_BYTES + 2
    )
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in passphrase:
        raise UsageError(f"{path}: more than one line", "a passphrase file has one line")
    if not MIN_PASSPHRASE_BYTES <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise UsageError(
            f"{path}: passphrase of {len(passphrase)} bytes, not in "
            f"{MIN_PASSPHRASE_BYTES}..{MAX_PASSPHRASE_BYTES}",
            "use several random words",
        )
    return passphrase
