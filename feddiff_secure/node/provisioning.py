"""Startup kits: all made on one machine, or each made where it will run.

Either way a kit ends as `kit` describes it. Made on one machine, whoever provisions holds every
transport key of that moment. By requests, a private key never leaves the machine of its party: the
holder of the root sees public keys alone. Neither touches an identity key of the protocol.

    provision       root → for every member: key, request, certificate, kit
    make_root_files root's holder: the root
    request_files   a member: its key and its request
    sign_file       root's holder: a request → certificate and root
    assemble        the member: key and what came back → kit
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from feddiff_crypto.errors import FileRefusedError
from feddiff_crypto.protected_file import (
    PRIVATE_MODE,
    PUBLIC_MODE,
    READABLE_BY_OTHERS,
    WRITABLE_BY_OTHERS,
    read_protected,
    replace,
    write_new,
)
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.node.certificates import (
    KEY_BITS,
    MOST_PEM_BYTES,
    Root,
    certified_key,
    check_issued,
    fingerprint,
    key_bytes,
    make_key,
    make_request,
    make_root,
    read_certificates,
    read_key,
    read_request,
    sign_request,
)
from feddiff_secure.node.kit import CERTIFICATE, STARTUP, local_files, startup_config
from feddiff_secure.node.project import Member, Project

ROOT_KEY: Final = "root.key"
ROOT_CERTIFICATE: Final = "rootCA.pem"
ISSUED: Final = "issued"


@dataclass(frozen=True, slots=True)
class Kits:
    """Folders of the startup kits.

    Attributes:
        server: the server's. admin: the submitter's, named after the admin.
        sites: name → that site's.
    """

    server: Path
    admin: Path
    sites: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class _Credentials:
    """What a kit's member shows and checks: key, its certificate, the root's; each PEM."""

    key: bytes
    certificate: bytes
    root: bytes


def provision(project: Project, folder: Path, *, key_bits: int = KEY_BITS) -> Kits:
    """Make the root and every kit on this machine.

    Args:
        project: the federation.
        folder: of the root and the kits, one folder a member.
        key_bits: size of the members' keys; 2048 will do for a federation that lives for minutes.

    Raises:
        UsageError: the folder exists or cannot be made.
    """
    root = make_root_files(project, folder / "root")
    kits = {}
    for member in project.members:
        key = make_key(key_bits)
        whose, public = read_request(make_request(member, key), project)
        certificate = sign_request(root, project, whose, public)
        kits[member] = folder / member.name
        credentials = _Credentials(key_bytes(key), certificate, _pem(root))
        _write_kit(project, member, kits[member], credentials)
    by_kind = {member.kind: path for member, path in kits.items()}
    sites = {member.name: path for member, path in kits.items() if member.kind == "site"}
    return Kits(by_kind["server"], by_kind["admin"], sites)


def make_root_files(project: Project, folder: Path) -> Root:
    """Make the root of a project; its key stays in `folder`, mode 0600.

    Raises:
        UsageError: the folder exists or cannot be made.
    """
    root = make_root(project)
    _make_folder(folder)
    with _written(folder):
        write_new(folder / ROOT_KEY, key_bytes(root.key), mode=PRIVATE_MODE, check=read_key)
        write_new(folder / ROOT_CERTIFICATE, _pem(root), mode=PUBLIC_MODE, check=read_certificates)
    return root


def request_files(project: Project, name: str, folder: Path) -> str:
    """Make a member's key and request; returns the key's fingerprint.

    `folder/NAME.key` stays here, mode 0600; `folder/NAME.csr` goes to the root's holder.

    Raises:
        UsageError: no such member, or the folder exists.
    """
    member = project.member(name)
    key = make_key()
    _make_folder(folder)
    with _written(folder):
        write_new(folder / f"{name}.key", key_bytes(key), mode=PRIVATE_MODE, check=read_key)
        raw = make_request(member, key)
        write_new(
            folder / f"{name}.csr",
            raw,
            mode=PUBLIC_MODE,
            check=lambda back: read_request(back, project),
        )
    return fingerprint(key.public_key())


def sign_file(
    project: Project, root: Path, request: Path, out: Path, *, renew: bool = False
) -> tuple[Member, str]:
    """Certify a request; returns whose it was, and the fingerprint of its key.

    Args:
        project: of the root's holder.
        root: folder of the root.
        request: the member's `.csr`.
        out: file for the certificate and the root's, which go back to the member.
        renew: whether the member may have a certificate already.

    Raises:
        UsageError: it has one, or `out` exists.
        DataError: a file that is missing, too open, too large or not what it should be.
        VerificationError: the request is not signed by the key it names.
    """
    with _read():
        key = read_protected(
            root / ROOT_KEY, forbidden_mode=READABLE_BY_OTHERS, max_bytes=MOST_PEM_BYTES
        )
        own = read_protected(
            root / ROOT_CERTIFICATE, forbidden_mode=WRITABLE_BY_OTHERS, max_bytes=MOST_PEM_BYTES
        )
        raw = read_protected(request, forbidden_mode=0, max_bytes=MOST_PEM_BYTES)
    (certificate,) = read_certificates(own, most=1)
    authority = Root(read_key(key), certificate)
    if authority.key.public_key() != certificate.public_key():
        raise DataError(f"{root}: the key is not that of the certificate", "give the root's folder")
    member, public = read_request(raw, project)
    issued = root / ISSUED / f"{member.name}.crt"
    if issued.exists() and not renew:
        raise UsageError(
            f"{member.name} was certified before: {issued}",
            "compare the fingerprint with them by voice, then give --renew",
        )
    signed = sign_request(authority, project, member, public)
    with _written(out):
        write_new(out, signed + _pem(authority), mode=PUBLIC_MODE, check=read_certificates)
        issued.parent.mkdir(mode=0o700, exist_ok=True)
        replace(issued, signed, mode=PUBLIC_MODE, check=read_certificates)
    return member, fingerprint(public)


def assemble(project: Project, name: str, key: Path, signed: Path, kit: Path) -> str:
    """Make a member's kit of its own key and what came back; returns the root's fingerprint.

    Raises:
        UsageError: no such member, or the kit exists.
        DataError: a file that is missing, too open, too large or not what it should be.
        VerificationError: the certificate is not for this key and name, or not the root's.
    """
    member = project.member(name)
    with _read():
        own = read_protected(key, forbidden_mode=READABLE_BY_OTHERS, max_bytes=MOST_PEM_BYTES)
        raw = read_protected(signed, forbidden_mode=0, max_bytes=MOST_PEM_BYTES)
    found = read_certificates(raw)
    if len(found) != 2:
        raise DataError(f"{signed}: one certificate", "give the file that provision sign wrote")
    check_issued(found[0], found[1], member, read_key(own))
    certificate, root = (one.public_bytes(serialization.Encoding.PEM) for one in found)
    _write_kit(project, member, kit, _Credentials(own, certificate, root))
    return fingerprint(certified_key(found[1]))


def _write_kit(project: Project, member: Member, kit: Path, credentials: _Credentials) -> None:
    stem = CERTIFICATE[member.kind]
    _make_folder(kit)
    startup, local = kit / "startup", kit / "local"
    for folder in (startup, local, kit / "transfer"):
        folder.mkdir(mode=0o700)
    public = {f"{stem}.crt": credentials.certificate, "rootCA.pem": credentials.root}
    with _written(kit):
        _write_json(startup / STARTUP[member.kind], startup_config(project, member))
        write_new(startup / f"{stem}.key", credentials.key, mode=PRIVATE_MODE, check=read_key)
        for name, raw in public.items():
            write_new(startup / name, raw, mode=PUBLIC_MODE, check=read_certificates)
        for name, content in local_files(member.kind, kit.absolute()).items():
            _write_json(local / name, content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    raw = (json.dumps(content, indent=1) + "\n").encode()
    write_new(path, raw, mode=PUBLIC_MODE, check=json.loads)


def _pem(root: Root) -> bytes:
    return root.certificate.public_bytes(serialization.Encoding.PEM)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise UsageError(f"{folder} exists and is not overwritten", "give another path") from error
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}", "give a folder that can be made") from error


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except FileRefusedError as error:
        raise UsageError(str(error), f"give another path than {path}") from error


@contextmanager
def _read() -> Iterator[None]:
    try:
        yield
    except FileRefusedError as error:
        raise DataError(str(error), "check the path; a private key has mode 0600") from error
