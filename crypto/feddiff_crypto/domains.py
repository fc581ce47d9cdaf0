"""What bytes under an Ed25519 signature are for: a function of the bytes, so never two things.

One identity key signs four kinds of message. Each begins in a way that no other can:

| domain | begins with | made by |
|---|---|---|
| labelled digest | `feddiff-secure v1 ` | `IdentityKey.sign`: a label, a zero byte, a digest |
| attestation | `DSSEv1 ` | DSSE's pre-authentication encoding |
| cosignature | `cosignature/v1` and a newline | C2SP tlog-cosignature |
| checkpoint | an origin and a newline | C2SP tlog-checkpoint in a signed note |

An origin is 1 to 255 visible ASCII characters: no space, no plus sign, and none of the reserved
words. The first two kinds have a space before any newline and the third one's first line is a
reserved word, so no checkpoint's text begins like them: a signed note, whose signed bytes are its
text alone and carry no label, cannot be taken for any other signature, nor the reverse. Keys sign
and verify a message only together with the domain that `domain_of` finds for it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

LABEL_PREFIX: Final = b"feddiff-secure v1 "
ENVELOPE_PREFIX: Final = b"DSSEv1 "
COSIGNATURE_HEADER: Final = b"cosignature/v1\n"
MAX_ORIGIN: Final = 255  # characters
# First lines that C2SP tlog-cosignature gives to signed messages other than checkpoints.
_RESERVED: Final = (b"cosignature/v1", b"subtree/v1")
_ORIGIN: Final = re.compile(rb"[!-*,-~]{1,%d}" % MAX_ORIGIN)


class Domain(Enum):
    """One purpose of a signature; the value is its name in error messages."""

    LABELLED = "labelled digest"
    ATTESTATION = "attestation"
    COSIGNATURE = "cosignature"
    CHECKPOINT = "checkpoint"


def domain_of(message: bytes) -> Domain | None:
    """The one domain that `message` belongs to, or None: then no key signs it."""
    for prefix, domain in (
        (LABEL_PREFIX, Domain.LABELLED),
        (ENVELOPE_PREFIX, Domain.ATTESTATION),
        (COSIGNATURE_HEADER, Domain.COSIGNATURE),
    ):
        if message.startswith(prefix):
            return domain
    first, newline, _ = message.partition(b"\n")
    if newline and first not in _RESERVED and _ORIGIN.fullmatch(first):
        return Domain.CHECKPOINT
    return None
