"""The attacks on parsers of a run's transcript: see make_bad_messages.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from transcript_seeds import checkpoints, contribution, leaf_bytes, rosters

from feddiff_crypto.jcs import jcs

_RUN, _, _MASKED, _ENCRYPTED, _PLAIN, _, _, _END, _MANIFEST = leaf_bytes()
_LINES: Final = rosters().splitlines(keepends=True)
_NOTES: Final = checkpoints()
_PROOF: Final = contribution()


def _changed(leaf: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(leaf)
    change(content)
    return jcs(content)


# parser, attack, bytes, error, words of its message, why it is an attack
ROWS: Final[list[tuple[str, str, bytes, str, str, str]]] = [
    ("run-leaf", "unknown-kind", jcs({"kind": "round/2"}), "DecodeError", "unknown kind",
     "a leaf of the future that a reader skips"),
    ("run-leaf", "another-plans-digest",
     _changed(_RUN, lambda leaf: leaf["plan"].update(epsilon=1)), "DecodeError", "plan_digest",
     "a plan that the digest beside it does not name"),
    ("run-leaf", "masked-without-signatures",
     _changed(_MASKED, lambda leaf: leaf.update(signatures={})), "DecodeError", "signatures",
     "a survivor set that nobody signed"),
    ("run-leaf", "masked-said-to-be-plain",
     _changed(_MASKED, lambda leaf: leaf.update(mode="plain")), "DecodeError", "mode plain",
     "a masked release whose signatures no verifier looks at"),
    ("run-leaf", "encrypted-without-sum-signatures",
     _changed(_ENCRYPTED, lambda leaf: leaf.update(sum_signatures={})), "DecodeError",
     "sum_signatures", "a sum that no key holder vouches for"),
    ("run-leaf", "round-true", _changed(_PLAIN, lambda leaf: leaf.update(round=True)),
     "DecodeError", "integer", "a round that compares equal to 1"),
    ("run-leaf", "file-outside-the-folder",
     _changed(_MANIFEST, lambda leaf: leaf["files"].update({"../key": "0" * 64})),
     "DecodeError", "no file of a run", "a verifier that reads elsewhere"),
    ("run-leaf", "hidden-file",
     _changed(_MANIFEST, lambda leaf: leaf["files"].update({".a": "0" * 64})),
     "DecodeError", "no file of a run", "a file that listings leave out"),
    ("run-leaf", "newline-in-owner",
     _changed(_END, lambda leaf: leaf["owners"].update({"ann\nbob": leaf["owners"]["ann"]})),
     "DecodeError", "party name", "one name that reads as two"),
    ("checkpoints", "two-empty-lines", _NOTES.replace(b"\n\n", b"\n\n\n", 1), "DecodeError",
     "4 lines", "notes that readers split at different places"),
    ("checkpoints", "no-last-newline", _NOTES[:-1], "DecodeError", "empty line",
     "a file cut off in a signature"),
    ("rosters", "cut-off-line", _LINES[0][:-1], "DecodeError", "cut off",
     "a roster of fewer adverts than were made"),
    ("rosters", "another-field", _LINES[0].replace(b'"roster"', b'"rosters"'), "DecodeError",
     "object of roster", "a line that is skipped by its name"),
    ("rosters", "no-base64", b'{"roster":"AA"}\n', "DecodeError", "base64",
     "a second form of one roster"),
    ("contribution-proof", "one-proof", _PROOF.split(b"\n\nc2sp")[0] + b"\n", "DecodeError",
     "a head and two proofs", "a question without its answer"),
    ("contribution-proof", "owner-of-two-names", _PROOF.replace(b"owner ann", b"owner ann bob"),
     "DecodeError", "party name", "an answer that is read for another owner"),
]  # fmt: skip
