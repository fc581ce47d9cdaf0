"""Kits are made on one machine or by requests; certificates say what the project says."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from feddiff_secure.errors import DataError, UsageError, VerificationError
from feddiff_secure.node.certificates import (
    make_key,
    make_request,
    read_certificates,
    read_key,
    read_request,
)
from feddiff_secure.node.hardening import check_kit
from feddiff_secure.node.project import Member, Project, load_project
from feddiff_secure.node.provisioning import (
    assemble,
    make_root_files,
    provision,
    request_files,
    sign_file,
)
from tests.support.kits import PROJECT, kits

TEXT = """\
version = 1
name = "forest"
host = "localhost"
port = 18002
organisation = "forest_lab"
admin = "analyst@forest.org"

[sites]
ann = "ann_org"
ben = "b2"
"""


def load(folder: Path, text: str = TEXT) -> Project:
    path = folder / "project.toml"
    path.write_text(text)
    return load_project(path)


def test_a_project_is_read(tmp_path: Path) -> None:
    assert load(tmp_path) == PROJECT
    assert PROJECT.is_local
    assert not load(tmp_path, TEXT.replace("localhost", "fl.example.org")).is_local
    assert not load(tmp_path, TEXT.replace("localhost", "192.0.2.7")).is_local
    assert load(tmp_path, TEXT.replace("localhost", "127.0.0.1")).is_local


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("forest_lab", "forest-lab", "organisation is 'forest-lab'"),
        ("forest_lab", "forest lab", "organisation is"),
        ("forest_lab", "yes", "organisation is 'yes'"),
        ("ann_org", "no", "sites is"),
        ("ann_org", "1e5", "sites is"),
        ("ann =", '"a.n" =', "sites is"),
        ("ann =", "server =", "sites is"),
        ("ann =", "BEN =", "sites is"),
        ('ann = "ann_org"\n', "", "sites is"),
        ("18002", "80", "port is 80"),
        ("18002", "true", "port is True"),
        ("localhost", "local host", "host is"),
        ("localhost", "-host", "host is"),
        ("analyst@forest.org", "analyst", "admin is 'analyst'"),
        ("version = 1", "version = 2", "version is 2"),
        ("port", "prt", "unknown key prt"),
    ],
)
def test_a_wrong_project_names_the_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError, match=r"project\.toml") as error:
        load(tmp_path, TEXT.replace(old, new))
    assert words in str(error.value)


def test_every_kit_made_on_one_machine_is_safe_and_its_key_is_private() -> None:
    made = kits()
    assert set(made.sites) == {"ann", "ben"}
    assert made.admin.name == PROJECT.admin
    for kit in (made.server, made.admin, *made.sites.values()):
        assert check_kit(kit) == []
        (key,) = (kit / "startup").glob("*.key")
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(kit.stat().st_mode) == 0o700


def test_no_two_members_share_a_key_and_none_has_the_roots() -> None:
    made = kits()
    keys = [*made.server.parent.rglob("*.key")]
    assert len(keys) == 5  # server, admin, two sites, root
    assert len({path.read_bytes() for path in keys}) == 5
    assert [path.parent.name for path in keys if path.name == "root.key"] == ["root"]


def test_certificates_name_the_member_its_organisation_and_the_admins_role() -> None:
    made = kits()
    root = x509.load_pem_x509_certificate((made.server / "startup" / "rootCA.pem").read_bytes())
    wanted = {
        made.server: ("localhost", "forest_lab", []),
        made.admin: ("analyst@forest.org", "forest_lab", ["lead"]),
        made.sites["ben"]: ("ben", "b2", []),
    }
    for kit, (name, organisation, roles) in wanted.items():
        (path,) = (kit / "startup").glob("*.crt")
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        certificate.verify_directly_issued_by(root)
        subject = certificate.subject

        def values(oid: x509.ObjectIdentifier, subject: x509.Name = subject) -> list[object]:
            return [one.value for one in subject.get_attributes_for_oid(oid)]

        assert values(NameOID.COMMON_NAME) == [name]
        assert values(NameOID.ORGANIZATION_NAME) == [organisation]
        assert values(NameOID.UNSTRUCTURED_NAME) == roles
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert not constraints.value.ca


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        provision(PROJECT, tmp_path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a root's holder."""
    folder = tmp_path_factory.mktemp("authority") / "root"
    make_root_files(PROJECT, folder)
    return folder


def test_by_requests_a_private_key_never_leaves_its_machine(
    authority: Path, tmp_path: Path
) -> None:
    site = tmp_path / "at_ann"
    theirs = request_files(PROJECT, "ann", site)
    sent = site / "ann.csr"
    member, seen = sign_file(PROJECT, authority, sent, tmp_path / "ann.signed.pem", renew=True)
    assert (member.name, seen) == ("ann", theirs)
    assemble(PROJECT, "ann", site / "ann.key", tmp_path / "ann.signed.pem", tmp_path / "kit")
    assert check_kit(tmp_path / "kit") == []
    assert (tmp_path / "kit/startup/client.key").read_bytes() == (site / "ann.key").read_bytes()
    assert stat.S_IMODE((site / "ann.key").stat().st_mode) == 0o600
    went_out = sent.read_bytes() + (tmp_path / "ann.signed.pem").read_bytes()
    went_out += b"".join(one.read_bytes() for one in authority.rglob("*") if one.is_file())
    secret = read_key((site / "ann.key").read_bytes())
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        pem = secret.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        assert pem.splitlines()[5] not in went_out


def test_a_request_for_no_member_or_with_another_organisation_is_refused() -> None:
    key = make_key(2048)
    for member in (
        Member("eve", "ann_org", "site"),
        Member("ann", "eve_org", "site"),
        Member("ann", "ann_org", "admin"),  # a site that asks for the admin's role
    ):
        with pytest.raises(DataError, match="no member"):
            read_request(make_request(member, key), PROJECT)


def test_a_request_signed_by_another_key_is_refused() -> None:
    honest = make_request(PROJECT.member("ann"), make_key(2048))
    der = bytearray(x509.load_pem_x509_csr(honest).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(VerificationError, match="not signed by the key"):
        read_request(forged, PROJECT)


def test_a_request_of_a_weak_or_other_key_and_no_request_are_refused() -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    )
    strange = builder.sign(other, None).public_bytes(serialization.Encoding.PEM)
    weak = make_request(PROJECT.member("ann"), make_key(1024))
    for raw in (strange, weak, b"", b"-----BEGIN", b"x" * 70_000):
        with pytest.raises(DataError):
            read_request(raw, PROJECT)


def test_a_certificate_of_another_key_or_root_makes_no_kit(authority: Path, tmp_path: Path) -> None:
    for name in ("ann", "ben"):
        request_files(PROJECT, name, tmp_path / name)
        request, out = tmp_path / name / f"{name}.csr", tmp_path / f"{name}.pem"
        sign_file(PROJECT, authority, request, out, renew=True)
    with pytest.raises(VerificationError, match="not for the key of ann"):
        assemble(PROJECT, "ann", tmp_path / "ann/ann.key", tmp_path / "ben.pem", tmp_path / "kit")
    other = make_root_files(replace(PROJECT), tmp_path / "other").certificate
    mine = read_certificates((tmp_path / "ann.pem").read_bytes())[0]
    mixed = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (mine, other))
    (tmp_path / "mixed.pem").write_bytes(mixed)
    with pytest.raises(VerificationError, match="not signed by the root"):
        assemble(PROJECT, "ann", tmp_path / "ann/ann.key", tmp_path / "mixed.pem", tmp_path / "kit")
    assert not (tmp_path / "kit").exists()


def test_a_member_is_certified_twice_only_on_purpose(tmp_path: Path) -> None:
    """A second request for a name may be somebody else's."""
    root = tmp_path / "root"
    make_root_files(PROJECT, root)
    for folder in ("first", "second"):
        request_files(PROJECT, "ann", tmp_path / folder)
    sign_file(PROJECT, root, tmp_path / "first/ann.csr", tmp_path / "1.pem")
    with pytest.raises(UsageError, match="ann was certified before"):
        sign_file(PROJECT, root, tmp_path / "second/ann.csr", tmp_path / "2.pem")
    assert not (tmp_path / "2.pem").exists()
    sign_file(PROJECT, root, tmp_path / "second/ann.csr", tmp_path / "2.pem", renew=True)


def test_a_root_key_that_others_can_read_signs_nothing(authority: Path, tmp_path: Path) -> None:
    request_files(PROJECT, "ann", tmp_path / "ann")
    (authority / "root.key").chmod(0o640)
    try:
        with pytest.raises(DataError, match="mode 0640"):
            sign_file(PROJECT, authority, tmp_path / "ann/ann.csr", tmp_path / "out.pem")
    finally:
        (authority / "root.key").chmod(0o600)
