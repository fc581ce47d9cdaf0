"""Inputs that the parsers of a run's transcript accept: see fuzz_parsers.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from log_vectors import ORIGIN, identities, witnessed

from feddiff_crypto.jcs import Json, jcs
from feddiff_crypto.masking.adverts import Advertise, Roster
from feddiff_crypto.mlkem import KEM_PUBLIC_BYTES
from feddiff_crypto.tlog.log import parse_leaf
from feddiff_secure.audit.prove import ContributionProof, parse_contribution
from feddiff_secure.transcript.checkpoints import parse_checkpoints, write_checkpoints
from feddiff_secure.transcript.leaves import (
    AbortLeaf,
    AttemptKey,
    EndLeaf,
    FeaturesLeaf,
    LastWord,
    Leaf,
    ManifestLeaf,
    PrivacyLeaf,
    RoundLeaf,
    RunLeaf,
    read_leaf,
)
from feddiff_secure.transcript.rosters import parse_rosters, write_rosters

_CONTEXT: Final = bytes(range(32))
_PLAN: Final[dict[str, Json]] = {"session": "00" * 16, "epsilon": 8.0, "owners": ["ann", "bob"]}


def leaves() -> tuple[Leaf, ...]:
    """A leaf of every kind."""
    keys = identities()
    both = {"ann": bytes(64), "bob": bytes(range(64))}
    hashes = {"ann": bytes(32), "bob": _CONTEXT}
    masked = RoundLeaf(
        AttemptKey("train", 3, 0), "masked", bytes(32), hashes, _CONTEXT,
        context=_CONTEXT, roster=_CONTEXT, signatures=both, opened=_CONTEXT,
    )  # fmt: skip
    return (
        RunLeaf(
            origin=ORIGIN,
            coordinator="coordinator",
            log_key=keys["log"].public.raw,
            owners={name: keys[name].public.raw for name in ("ann", "bob")},
            custodians={},
            plan=_PLAN,
            signatures=both,
        ),
        FeaturesLeaf({"classes": ["meadow"]}, "pixel", ("hsi branch: simulated",), "same grid"),
        masked,
        replace(masked, mode="encrypted", sum_signatures=both),
        RoundLeaf(AttemptKey("count", 0, 0), "plain", bytes(32), hashes, bytes(32)),
        AbortLeaf(AttemptKey("train", 4, 1), {"bob": _CONTEXT}, "ThresholdError"),
        PrivacyLeaf(({"kind": "noised_sum/1", "phase": "train"},)),
        EndLeaf({"ann": LastWord(63, _CONTEXT, None, bytes(64))}),
        ManifestLeaf({"config.toml": bytes(32), "transcript/vectors.h5": _CONTEXT}),
    )


def leaf_bytes() -> tuple[bytes, ...]:
    """The same as a log has them."""
    return tuple(jcs(leaf.to_json()) for leaf in leaves())


def checkpoints() -> bytes:
    """Three checkpoints in one file."""
    _, _, proof, _ = witnessed()
    return write_checkpoints([proof.note] * 3)


def rosters() -> bytes:
    """The rosters of two releases, one of hybrid key agreement."""
    advert = Advertise(_CONTEXT, "ann", b"a" * 32, b"b" * 32, bytes(32), bytes(64))
    kem = b"k" * KEM_PUBLIC_BYTES
    hybrid = replace(advert, kem_mask_key=kem, kem_sealing_key=kem)
    return write_rosters([Roster(_CONTEXT, (advert,)), Roster(_CONTEXT, (hybrid,))])


def contribution() -> bytes:
    """A proof about a contribution, as far as its form goes."""
    _, _, proof, _ = witnessed()
    return ContributionProof("ann", proof, proof).to_bytes()


def transcript_parts() -> dict[str, dict[str, Any]]:
    """The parsers of a transcript by name, as the fuzzer takes them."""
    return {
        "run-leaf": {
            "parse": lambda data: read_leaf(parse_leaf(data, "leaf")),
            "write": lambda leaf: jcs(leaf.to_json()),
            "seeds": leaf_bytes(),
            "to_json": jcs,
        },
        "checkpoints": {
            "parse": parse_checkpoints,
            "write": write_checkpoints,
            "seeds": (checkpoints(),),
        },
        "rosters": {"parse": parse_rosters, "write": write_rosters, "seeds": (rosters(),)},
        "contribution-proof": {
            "parse": parse_contribution,
            "write": ContributionProof.to_bytes,
            "seeds": (contribution(),),
        },
    }
