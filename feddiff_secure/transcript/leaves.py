"""The leaves of a run's log: one frozen type each, and its JSON object.

    leaf          when                          says
    run/1         first                         who takes part, the plan, the owners' signatures
    features/1    second                        the public feature map and what the statement names
    round/1       a release was completed       who was in it, hashes of all that made the sum
    abort/1       an attempt was given up       what had been received until then
    privacy/1     after the last release        the privacy events
    end/1         then                          each owner's last word: ledger head, model
    manifest/1    last                          SHA-256 of every file of the run

`to_json` gives the object, `read_leaf` is its strict inverse. The vocabulary is append-only: the
meaning of a kind never changes, another one gets another number. docs/formats/transcript.md is the
specification.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from feddiff_crypto.errors import DecodeError
from feddiff_crypto.jcs import Json, jcs
from feddiff_crypto.keys import KEY_BYTES, SIGNATURE_BYTES
from feddiff_crypto.rotation import read_hex
from feddiff_secure.transcript.leaf_fields import LeafFields, hex_table

HASH_BYTES: Final = 32
MODES: Final = ("masked", "encrypted", "plain")
MOST_EVENTS: Final = 64
MOST_NETWORKS: Final = 16
MOST_FILES: Final = 1000
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,3}", re.A)
_PHASE: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


def is_file_name(name: str) -> bool:
    """Whether a manifest may list `name`: up to four parts, none hidden, none leading outside."""
    return len(name) <= 200 and _FILE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class RunLeaf:
    """Who takes part in which plan; signed by every owner.

    Attributes:
        origin: of the log. coordinator: its keeper. log_key: the keeper's identity key.
        owners: name → identity key. custodians: likewise, none or one.
        plan: the plan's JSON object.
        signatures: owner → its signature of `signed_digest`.
    """

    KIND: ClassVar[str] = "run/1"
    origin: str
    coordinator: str
    log_key: bytes
    owners: Mapping[str, bytes]
    custodians: Mapping[str, bytes]
    plan: Mapping[str, Json]
    signatures: Mapping[str, bytes]

    def plan_bytes(self) -> bytes:
        """The plan's canonical JSON."""
        return jcs(self.plan)

    def signed_digest(self) -> bytes:
        """What owners sign: every field but the signatures."""
        return hashlib.sha256(jcs({**self.to_json(), "signatures": {}})).digest()

    def to_json(self) -> dict[str, Json]:
        """The leaf."""
        return {
            "kind": self.KIND,
            "origin": self.origin,
            "coordinator": self.coordinator,
            "log_key": self.log_key.hex(),
            "owners": hex_table(self.owners),
            "custodians": hex_table(self.custodians),
            "plan": self.plan,
            "plan_digest": hashlib.sha256(self.plan_bytes()).hexdigest(),
            "signatures": hex_table(self.signatures),
        }

    @classmethod
    def from_json(cls, leaf: Mapping[str, Any]) -> RunLeaf:
        """Read the leaf. Raises DecodeError for any other."""
        names = ("origin", "coordinator", "log_key", "owners", "custodians", "plan")
        fields = LeafFields(leaf, cls.KIND, (*names, "plan_digest", "signatures"))
        read = cls(
            origin=fields.text("origin"),
            coordinator=fields.party("coordinator"),
            log_key=fields.blob("log_key", KEY_BYTES),
            owners=fields.table("owners", KEY_BYTES),
            custodians=fields.table("custodians", KEY_BYTES),
            plan=fields.mapping("plan"),
            signatures=fields.table("signatures", SIGNATURE_BYTES),
        )
        digest = fields.blob("plan_digest", HASH_BYTES)
        if digest != hashlib.sha256(read.plan_bytes()).digest():
            raise DecodeError(f"{cls.KIND}.plan_digest: not that of the plan")
        return read


@dataclass(frozen=True, slots=True)
class FeaturesLeaf:
    """What is public about the features before a value is released.

    Attributes:
        model: the description that the model file carries: format, classes, feature map with the
            digests of its projections and networks.
        support: of the data, as the privacy statement says it.
        networks: one line of provenance for each frozen network.
        alignment: in words; None where nothing was aligned.
    """

    KIND: ClassVar[str] = "features/1"
    model: Mapping[str, Json]
    support: str
    networks: tuple[str, ...]
    alignment: str | None

    def to_json(self) -> dict[str, Json]:
        """The leaf."""
        return {
            "kind": self.KIND,
            "model": self.model,
            "model_digest": hashlib.sha256(jcs(self.model)).hexdigest(),
            "support": self.support,
            "networks": list(self.networks),
            "alignment": [] if self.alignment is None else [self.alignment],
        }

    @classmethod
    def from_json(cls, leaf: Mapping[str, Any]) -> FeaturesLeaf:
        """Read the leaf. Raises DecodeError for any other."""
        names = ("model", "model_digest", "support", "networks", "alignment")
        fields = LeafFields(leaf, cls.KIND, names)
        model, alignment = fields.mapping("model"), fields.lines("alignment", 1)
        if fields.blob("model_digest", HASH_BYTES) != hashlib.sha256(jcs(model)).digest():
            raise DecodeError(f"{cls.KIND}.model_digest: not that of the model")
        return cls(
            model=model,
            support=fields.choice("support", ("pixel", "neighbourhood")),
            networks=fields.lines("networks", MOST_NETWORKS),
            alignment=alignment[0] if alignment else None,
        )


@dataclass(frozen=True, slots=True, order=True)
class AttemptKey:
    """Which release: phase, round within it, attempt of the round; both numbers from 0."""

    phase: str
    round_index: int
    attempt: int

    def to_json(self) -> dict[str, Json]:
        """Three fields of a leaf."""
        return {"phase": self.phase, "round": self.round_index, "attempt": self.attempt}

    @classmethod
    def from_fields(cls, fields: LeafFields) -> AttemptKey:
        """Read them. Raises DecodeError for others."""
        phase = fields.text("phase")
        if not _PHASE.fullmatch(phase):
            raise DecodeError(f"leaf: phase {phase[:40]!a}")
        return cls(phase, fields.index("round"), fields.index("attempt"))


@dataclass(frozen=True, slots=True)
class RoundLeaf:
    """A completed release.

    Attributes:
        key: which.
        mode: `masked`, `encrypted` or `plain`.
        model: SHA-256 of the model on which the owners computed.
        inputs: owner whose vector is in the sum → SHA-256 of the message that carried it.
        aggregate: digest of the sum, bound to the context.
        context: digest of the round's context, with the roster; None in plain mode.
        roster: digest of the roster; likewise.
        signatures: survivor → its signature of the survivor set; none in plain mode.
        opened: SHA-256 of the message of opened secrets; None in plain mode.
        sum_signatures: in encrypted mode, owner → its signature of `aggregate`.
    """

    KIND: ClassVar[str] = "round/1"
    key: AttemptKey
    mode: str
    model: bytes
    inputs: Mapping[str, bytes]
    aggregate: bytes
    context: bytes | None = None
    roster: bytes | None = None
    signatures: Mapping[str, bytes] | None = None
    opened: bytes | None = None
    sum_signatures: Mapping[str, bytes] | None = None

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whose vectors are in the sum, ascending."""
        return tuple(sorted(self.inputs))

    def to_json(self) -> dict[str, Json]:
        """The leaf."""
        return {
            "kind": self.KIND,
            **self.key.to_json(),
            "mode": self.mode,
            "model": self.model.hex(),
            "inputs": hex_table(self.inputs),
            "aggregate": self.aggregate.hex(),
            "context": _hex(self.context),
            "roster": _hex(self.roster),
            "signatures": hex_table(self.signatures or {}),
            "opened": _hex(self.opened),
            "sum_signatures": hex_table(self.sum_signatures or {}),
        }

    @classmethod
    def from_json(cls, leaf: Mapping[str, Any]) -> RoundLeaf:
        """Read the leaf. Raises DecodeError for any other."""
        names = ("mode", "model", "inputs", "aggregate", "context", "roster", "signatures")
        keys = ("phase", "round", "attempt")
        fields = LeafFields(leaf, cls.KIND, (*keys, *names, "opened", "sum_signatures"))
        mode = fields.choice("mode", MODES)
        read = cls(
            key=AttemptKey.from_fields(fields),
            mode=mode,
            model=fields.blob("model", HASH_BYTES),
            inputs=fields.table("inputs", HASH_BYTES),
            aggregate=fields.blob("aggregate", HASH_BYTES),
            context=fields.blob_or_none("context", HASH_BYTES),
            roster=fields.blob_or_none("roster", HASH_BYTES),
            signatures=fields.table("signatures", SIGNATURE_BYTES),
            opened=fields.blob_or_none("opened", HASH_BYTES),
            sum_signatures=fields.table("sum_signatures", SIGNATURE_BYTES),
        )
        masks = (read.context, read.roster, read.opened)
        if any((value is None) != (mode == "plain") for value in masks):
            raise DecodeError(f"{cls.KIND}: context, roster and opened do not go with mode {mode}")
        if bool(read.signatures) != (mode != "plain"):
            raise DecodeError(f"{cls.KIND}: signatures do not go with mode {mode}")
        if bool(read.sum_signatures) != (mode == "encrypted"):
            raise DecodeError(f"{cls.KIND}: sum_signatures do not go with mode {mode}")
        return read


@dataclass(frozen=True, slots=True)
class AbortLeaf:
    """An attempt that was given up; it counts as a release.

    Attributes:
        key: which.
        inputs: owner → SHA-256 of the message with its vector, of those that had arrived.
        reason: name of the error.
    """

    KIND: ClassVar[str] = "abort/1"
    key: AttemptKey
    inputs: Mapping[str, bytes]
    reason: str

    def to_json(self) -> dict[str, Json]:
        """The leaf."""
        inputs = hex_table(self.inputs)
        return {"kind": self.KIND, **self.key.to_json(), "inputs": inputs, "reason": self.reason}

    @classmethod
    def from_json(cls, leaf: Mapping[str, Any]) -> AbortLeaf:
        """Read the leaf. Raises DecodeError for any other."""
        fields = LeafFields(leaf, cls.KIND, ("phase", "round", "attempt", "inputs", "reason"))
        inputs = fields.table("inputs", HASH_BYTES)
        return cls(AttemptKey.from_fields(fields), inputs, fields.text("reason"))


@dataclass(frozen=True, slots=True)
class PrivacyLeaf:
    """The privacy events of the run, as their own vocabulary writes them."""

    KIND: ClassVar[str] = "privacy/1"
    events: tuple[Mapping[str, Json], ...]

    def to_json(self) -> dict[str, Json]:
        """The leaf."""
        return {"kind": self.KIND, "events": list(self.events)}

    @classmethod
    def from_json(cls, leaf: Mapping[str, Any]) -> PrivacyLeaf:
        """Read the leaf. Raises DecodeError for any other."""
        return cls(tuple(LeafFields(leaf, cls.KIND, ("events",)).objects("events", MOST_EVENTS)))


@dataclass(frozen=True, slots=True)
class LastWord:
    """What an owner says when a run is over, signed.

    Attributes:
        entries: number of entries of its ledger. head: SHA-256 of the last one.
        model: SHA-256 of the trained weights it holds, in encrypted mode; None otherwise.
        signature: its own, of `end_digest`.
    """

    entries: int
    head: bytes
    model: bytes | None
    signature: bytes


@dataclass(frozen=True, slots=True)
class EndLeaf:
    """Every owner's last word; an owner that did not answer is missing."""

    KIND: ClassVar[str] = "end/1"
    owners: Mapping[str, LastWord]

    def to_json(self) -> dict[str, Json]:
        """The leaf."""
        owners: dict[str, Json] = {
            party: {
                "entries": word.entries,
                "head": word.head.hex(),
                "model": _hex(word.model),
                "signature": word.signature.hex(),
            }
            for party, word in self.owners.items()
        }
        return {"kind": self.KIND, "owners": owners}

    @classmethod
    def from_json(cls, leaf: Mapping[str, Any]) -> EndLeaf:
        """Read the leaf. Raises DecodeError for any other."""
        rows = LeafFields(leaf, cls.KIND, ("owners",)).mapping("owners")
        owners = {}
        for party in sorted(rows):
            row = rows[party] if isinstance(rows[party], dict) else {}
            names = ("entries", "head", "model", "signature")
            row = {"kind": cls.KIND, "party": party, **row}
            word = LeafFields(row, cls.KIND, ("party", *names))
            owners[word.party("party")] = LastWord(
                word.index("entries"),
                word.blob("head", HASH_BYTES),
                word.blob_or_none("model", HASH_BYTES),
                word.blob("signature", SIGNATURE_BYTES),
            )
        return cls(owners)


@dataclass(frozen=True, slots=True)
class ManifestLeaf:
    """SHA-256 of every file of the run but those that the log itself covers."""

    KIND: ClassVar[str] = "manifest/1"
    files: Mapping[str, bytes]

    def to_json(self) -> dict[str, Json]:
        """The leaf."""
        return {"kind": self.KIND, "files": hex_table(self.files)}

    @classmethod
    def from_json(cls, leaf: Mapping[str, Any]) -> ManifestLeaf:
        """Read the leaf. Raises DecodeError for any other."""
        files = LeafFields(leaf, cls.KIND, ("files",)).mapping("files")
        if len(files) > MOST_FILES:
            raise DecodeError(f"{cls.KIND}.files: {len(files)} > limit {MOST_FILES}")
        for name in files:
            if not is_file_name(name):
                raise DecodeError(f"{cls.KIND}.files: {name[:80]!a} is no file of a run")
        where = f"{cls.KIND}.files"
        return cls({name: read_hex(files, where, name, HASH_BYTES) for name in sorted(files)})


Leaf: TypeAlias = (
    RunLeaf | FeaturesLeaf | RoundLeaf | AbortLeaf | PrivacyLeaf | EndLeaf | ManifestLeaf
)
_KINDS: Final[dict[str, type[Leaf]]] = {
    kind.KIND: kind
    for kind in (RunLeaf, FeaturesLeaf, RoundLeaf, AbortLeaf, PrivacyLeaf, EndLeaf, ManifestLeaf)
}


def read_leaf(leaf: Mapping[str, Any]) -> Leaf:
    """The leaf that a JSON object of a log is.

    Raises:
        DecodeError: of an unknown kind, or with other fields than its kind has.
    """
    kind = _KINDS.get(str(leaf.get("kind")))
    if kind is None:
        raise DecodeError(f"leaf: unknown kind {str(leaf.get('kind'))[:40]!a}")
    return kind.from_json(leaf)


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
