"""C2SP tlog-cosignature, version 1 with Ed25519: a witness found this checkpoint consistent.

The signed bytes are

    cosignature/v1
    time <POSIX seconds>
    <the checkpoint's text>

and the signature of the note's line is the time as 8 bytes, big-endian, and 64 bytes of Ed25519.
Its meaning: at that time, the checkpoint was the largest consistent state of the log that this
witness had seen. The line's key ID has type 0x04, so the same identity key under type 0x01 is
another key to a note, and the header keeps the signed bytes apart (see `domains`).
"""

from __future__ import annotations

from typing import Final

from feddiff_crypto.domains import COSIGNATURE_HEADER, Domain
from feddiff_crypto.errors import SignatureInvalidError
from feddiff_crypto.keys import SIGNATURE_BYTES, IdentityKey, IdentityPublic
from feddiff_crypto.tlog.checkpoint import Checkpoint
from feddiff_crypto.tlog.errors import LogSignatureError
from feddiff_crypto.tlog.note import NoteSignature, SignatureType, key_id

MAX_TIME: Final = 2**63 - 1  # seconds
_TIME_BYTES: Final = 8


def cosigned_message(checkpoint: Checkpoint, time: int) -> bytes:
    """The bytes that a witness signs.

    Args:
        checkpoint: what it saw.
        time: seconds since 1970, 0..2⁶³ − 1.

    Raises:
        ValueError: another time.
    """
    if not 0 <= time <= MAX_TIME:
        raise ValueError(f"time: {time} is not in 0..{MAX_TIME}")
    return COSIGNATURE_HEADER + f"time {time}\n{checkpoint.text}".encode()


def cosign(checkpoint: Checkpoint, name: str, key: IdentityKey, time: int) -> NoteSignature:
    """The line of the witness `name`. Only `witness.Witness` should call it: it checks nothing.

    Raises:
        ValueError: no key name, or a time outside 0..2⁶³ − 1.
    """
    made = key.sign_message(Domain.COSIGNATURE, cosigned_message(checkpoint, time))
    blob = time.to_bytes(_TIME_BYTES, "big") + made
    return NoteSignature(name, key_id(name, SignatureType.COSIGNATURE_V1, key.public), blob)


def verify_cosignature(
    checkpoint: Checkpoint, signature: NoteSignature, key: IdentityPublic
) -> int:
    """The time of a cosignature, if `key` made it over `checkpoint`.

    Raises:
        LogSignatureError: it did not; the message names the witness.
    """
    if signature.key_id != key_id(signature.name, SignatureType.COSIGNATURE_V1, key):
        raise LogSignatureError(f"{signature.name}: a line of another key")
    blob = signature.signature
    if len(blob) != _TIME_BYTES + SIGNATURE_BYTES:
        raise LogSignatureError(f"{signature.name}: a cosignature of {len(blob)} bytes")
    time = int.from_bytes(blob[:_TIME_BYTES], "big")
    if time > MAX_TIME:
        raise LogSignatureError(f"{signature.name}: time {time} > {MAX_TIME}")
    message = cosigned_message(checkpoint, time)
    try:
        key.verify_message(blob[_TIME_BYTES:], Domain.COSIGNATURE, message)
    except SignatureInvalidError as error:
        raise LogSignatureError(f"{signature.name}: {error}") from None
    return time
