"""The pinned registry at rest: whose key speaks for whom, and which keys no longer do.

One JSON object, in exactly one form (keys sorted, one space of indent, ASCII, lists in ascending
order, a newline at the end), so that two people who compare its SHA-256 compare its meaning:

    {"format": "feddiff-secure registry", "parties": […], "revoked": […], "version": 1}

A party is `{"fingerprint", "name", "public"}`; a revoked key has a `reason` too. The fingerprint is
a function of the key and is checked: it is there for people. The rules of the registry:

- One key speaks for a party, and one party for a key. A key that was revoked never comes back.
- An entry changes by a rotation that its *old* key signed (`rotate`), or by the explicit word of
  whoever keeps the file (`put(replace=True)`). Either way the old key is revoked.
- Asking for a party whose key was revoked names the party and the reason.

Nothing here is secret; what matters is who can write it: a file that others can write is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from feddiff_crypto import protected_file
from feddiff_crypto.canonical_json import canonical_json, parse_canonical
from feddiff_crypto.errors import DecodeError, LimitError, RegistryRefusedError, RevokedKeyError
from feddiff_crypto.keys import KEY_BYTES, IdentityPublic, Registry, is_party_name
from feddiff_crypto.rotation import Rotation, read_hex

MAX_FILE_BYTES: Final = 2**20
MAX_PARTIES: Final = 1000
MAX_REVOKED: Final = 2000
FORMAT: Final = "feddiff-secure registry"
VERSION: Final = 1
_REASON: Final = re.compile(r"[ -~]{1,200}")


@dataclass(frozen=True, slots=True, order=True)
class RevokedKey:
    """A key that no longer speaks for anyone.

    Attributes:
        name: the party it spoke for.
        public: the key.
        reason: 1 to 200 printable ASCII characters.
    """

    name: str
    public: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """A registry with its revocations; every change gives a new one.

    Attributes:
        parties: name → public key, in ascending order.
        revoked: in ascending order of name and key.
    """

    parties: Mapping[str, IdentityPublic]
    revoked: tuple[RevokedKey, ...] = ()

    def put(self, name: str, public: IdentityPublic, *, replace: bool = False) -> RegistryFile:
        """Pin `public` for `name`, by the word of whoever keeps the registry.

        Args:
            name: the party.
            public: its key.
            replace: whether `name` may be pinned already; its old key is then revoked.

        Raises:
            RegistryRefusedError: a wrong name, a name that is taken, a key that another name has,
                or a full registry.
            RevokedKeyError: the key was revoked.
        """
        if not is_party_name(name):
            raise RegistryRefusedError(f"{name!r} is not a party name of letters, digits, '._-'")
        self._check_new_key(public)
        old = self.parties.get(name)
        if old is not None and not replace:
            raise RegistryRefusedError(f"{name} is already pinned to {old.fingerprint}")
        if old is None:
            return self._with({**self.parties, name: public}, self.revoked)
        return self._replaced(name, public, "replaced by the keeper of the registry")

    def rotate(self, rotation: Rotation) -> RegistryFile:
        """Replace a party's key by one that its old key signed for.

        Raises:
            RegistryRefusedError: the party is not pinned to the rotation's old key.
            RevokedKeyError: the old or the new key was revoked.
            SignatureInvalidError: a signature of the rotation does not verify.
        """
        for key in (rotation.old, rotation.new):
            self._check_not_revoked(key)
        if self.parties.get(rotation.party) != rotation.old:
            raise RegistryRefusedError(
                f"{rotation.party} is not pinned to the rotation's old key "
                f"{rotation.old.fingerprint}"
            )
        self._check_new_key(rotation.new)
        rotation.verify()
        return self._replaced(rotation.party, rotation.new, "rotated by its owner")

    def revoke(self, name: str, reason: str) -> RegistryFile:
        """Take the key of `name` out of use for good.

        Raises:
            RegistryRefusedError: `name` is not pinned, or a reason outside its limits.
        """
        if name not in self.parties:
            raise RegistryRefusedError(f"{name!r} is not pinned")
        kept = {party: key for party, key in self.parties.items() if party != name}
        return self._with(kept, (*self.revoked, _revoked(name, self.parties[name], reason)))

    def pinned(self, parties: Iterable[str] | None = None) -> Registry:
        """The registry of a round.

        Args:
            parties: the owners of the plan; by default every pinned party.

        Raises:
            RevokedKeyError: a party whose key was revoked and not replaced; names it and why.
            RegistryRefusedError: a party that is not pinned, or none at all.
        """
        wanted = tuple(self.parties) if parties is None else tuple(parties)
        for name in wanted:
            if name in self.parties:
                continue
            for key in self.revoked:
                if key.name == name:
                    fingerprint = IdentityPublic(key.public).fingerprint
                    raise RevokedKeyError(
                        f"the key {fingerprint} of {name} is revoked: {key.reason}"
                    )
            raise RegistryRefusedError(f"{name!r} is not one of {len(self.parties)} pinned parties")
        if not wanted:
            raise RegistryRefusedError("the registry pins no party")
        return Registry({name: self.parties[name] for name in wanted})

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        content = {
            "format": FORMAT,
            "parties": [_entry(name, key) for name, key in sorted(self.parties.items())],
            "revoked": [
                {**_entry(key.name, IdentityPublic(key.public)), "reason": key.reason}
                for key in sorted(self.revoked)
            ],
            "version": VERSION,
        }
        return canonical_json(content)

    def digest(self) -> bytes:
        """SHA-256 of the file: what a transcript or two people on the telephone compare."""
        return hashlib.sha256(self.to_bytes()).digest()

    def _check_not_revoked(self, public: IdentityPublic) -> None:
        for key in self.revoked:
            if key.public == public.raw:
                raise RevokedKeyError(
                    f"the key {public.fingerprint} of {key.name} is revoked: {key.reason}"
                )

    def _check_new_key(self, public: IdentityPublic) -> None:
        self._check_not_revoked(public)
        for name, key in self.parties.items():
            if key == public:
                raise RegistryRefusedError(
                    f"the key {public.fingerprint} is already that of {name}"
                )

    def _replaced(self, name: str, public: IdentityPublic, reason: str) -> RegistryFile:
        retired = _revoked(name, self.parties[name], reason)
        return self._with({**self.parties, name: public}, (*self.revoked, retired))

    def _with(
        self, parties: Mapping[str, IdentityPublic], revoked: tuple[RevokedKey, ...]
    ) -> RegistryFile:
        if len(parties) > MAX_PARTIES or len(revoked) > MAX_REVOKED:
            raise RegistryRefusedError(
                f"{len(parties)} parties and {len(revoked)} revoked keys, at most "
                f"{MAX_PARTIES} and {MAX_REVOKED}"
            )
        return replace(self, parties=dict(sorted(parties.items())), revoked=tuple(sorted(revoked)))


def parse_registry(data: bytes) -> RegistryFile:
    """Read the bytes of a registry file.

    Raises:
        DecodeError: not the one form of a registry; the message names the field.
        LimitError: larger than a registry may be.
    """
    content = parse_canonical(data, FORMAT, VERSION, ("parties", "revoked"), MAX_FILE_BYTES)
    parties: dict[str, IdentityPublic] = {}
    for item in _rows(content, "parties", MAX_PARTIES):
        name, public = _parse_entry(item, "parties", {"fingerprint", "name", "public"})
        parties[name] = public
    revoked = []
    for item in _rows(content, "revoked", MAX_REVOKED):
        fields = {"fingerprint", "name", "public", "reason"}
        name, public = _parse_entry(item, "revoked", fields)
        if not isinstance(item["reason"], str) or not _REASON.fullmatch(item["reason"]):
            raise DecodeError("registry.revoked.reason: not 1 to 200 printable characters")
        revoked.append(RevokedKey(name, public.raw, item["reason"]))
    keys = [*(key.raw for key in parties.values()), *(key.public for key in revoked)]
    if len(set(keys)) != len(keys):
        raise DecodeError("registry: one key appears twice")
    registry = RegistryFile(parties, tuple(revoked))
    if registry.to_bytes() != data:  # order, repeated names, spaces, escapes: one form only
        raise DecodeError("registry: not in its one canonical form")
    return registry


def read_registry(path: Path) -> RegistryFile:
    """Read a registry that nobody but its owner can write.

    Raises:
        FileRefusedError: missing, a link, another user's, or writable by others.
        DecodeError, LimitError: not a registry.
    """
    forbidden = protected_file.WRITABLE_BY_OTHERS
    data = protected_file.read_protected(path, forbidden_mode=forbidden, max_bytes=MAX_FILE_BYTES)
    return parse_registry(data)


def write_registry(path: Path, registry: RegistryFile) -> None:
    """Write a registry, mode 0644, in place of an older one.

    Raises:
        FileRefusedError: it cannot be written.
    """
    protected_file.replace(
        path, registry.to_bytes(), mode=protected_file.PUBLIC_MODE, check=parse_registry
    )


def _entry(name: str, public: IdentityPublic) -> dict[str, str]:
    return {"fingerprint": public.fingerprint, "name": name, "public": public.raw.hex()}


def _rows(content: dict[str, Any], name: str, most: int) -> list[Any]:
    rows = content[name]
    if not isinstance(rows, list):
        raise DecodeError(f"registry.{name}: {type(rows).__name__}, expected list")
    if len(rows) > most:
        raise LimitError(f"registry.{name}: {len(rows)} > limit {most}")
    return rows


def _parse_entry(item: Any, kind: str, fields: set[str]) -> tuple[str, IdentityPublic]:
    if not isinstance(item, dict) or item.keys() != fields:
        raise DecodeError(f"registry.{kind}: an entry is not an object of {sorted(fields)}")
    name = item["name"]
    if not isinstance(name, str) or not is_party_name(name):
        raise DecodeError(f"registry.{kind}.name: {str(name)[:64]!r} is not a party name")
    public = IdentityPublic(read_hex(item, f"registry.{kind}", "public", KEY_BYTES))
    if item["fingerprint"] != public.fingerprint:
        raise DecodeError(f"registry.{kind}: the fingerprint of {name} is not that of its key")
    return name, public


def _revoked(name: str, public: IdentityPublic, reason: str) -> RevokedKey:
    if not _REASON.fullmatch(reason):
        raise RegistryRefusedError("a reason is 1 to 200 printable ASCII characters")
    return RevokedKey(name, public.raw, reason)
