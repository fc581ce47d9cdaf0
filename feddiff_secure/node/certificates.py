"""Certificates of the transport (X.509, RSA): a root, requests, and their signing.

These keys open the connection to FLARE's server and say which site a connection is from; who speaks
in the protocol is decided by the identity keys of `feddiff_crypto`, of which nothing here knows.
A request carries the public key and a signature by the private one (PKCS #10, RFC 2986), so a
private key never leaves the machine that made it. Subjects are as FLARE 2.9 reads them: CN the
name, O the organisation, unstructuredName the role of an admin.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from feddiff_secure.errors import DataError, VerificationError
from feddiff_secure.node.project import ADMIN_ROLE, Member, Project

KEY_BITS: Final = 3072
LEAST_KEY_BITS: Final = 2048
VALID_DAYS: Final = 365
ROOT_VALID_DAYS: Final = 3650
MOST_PEM_BYTES: Final = 1 << 16
_EXPONENT: Final = 65537
_CLOCKS: Final = datetime.timedelta(minutes=10)  # that sites' clocks may be behind
_AGAIN: Final = "get the file again from whoever made it"


@dataclass(frozen=True, slots=True)
class Root:
    """The certificate authority of one project."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate


def make_key(bits: int = KEY_BITS) -> rsa.RSAPrivateKey:
    """A new private key from the operating system's randomness."""
    return rsa.generate_private_key(_EXPONENT, bits)


def make_root(project: Project) -> Root:
    """A new self-signed root for a project."""
    key = make_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, project.name)])
    until = _now() + datetime.timedelta(days=ROOT_VALID_DAYS)
    draft = _draft(name, name, key.public_key(), key.public_key(), until)
    usage = _key_usage(signs_certificates=True)
    certificate = (
        draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Root(key, certificate)


def make_request(member: Member, key: rsa.RSAPrivateKey) -> bytes:
    """A signed request for a member's certificate, PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(member))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_request(raw: bytes, project: Project) -> tuple[Member, rsa.RSAPublicKey]:
    """Check a request; returns whose it is and the key to certify.

    1. It is a request, with one RSA key of at least 2048 bits.
    2. It is signed by that key.
    3. Its subject is exactly that of one member of the project; nothing else in it is used.

    Raises:
        DataError: steps 1 and 3. VerificationError: step 2.
    """
    try:
        request = x509.load_pem_x509_csr(_bounded(raw))
        key = request.public_key()
    except ValueError as error:
        raise DataError(f"not a certificate request: {error}", _AGAIN) from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        raise DataError(f"a request without an RSA key of {LEAST_KEY_BITS} bits or more", _AGAIN)
    try:
        signed = request.is_signature_valid
    except ValueError:
        signed = False
    if not signed:
        raise VerificationError("the request is not signed by the key that it names", _AGAIN)
    for member in project.members:
        if request.subject == _subject(member):
            return member, key
    raise DataError(
        f"the request is for {request.subject.rfc4514_string()[:120]}, which is no member of "
        f"project {project.name}",
        "make it with the project file that you have, or correct that file first",
    )


def sign_request(root: Root, project: Project, member: Member, key: rsa.RSAPublicKey) -> bytes:
    """The certificate of a member, PEM; valid for a year, and no longer than the root."""
    issuer = root.certificate.subject
    year = _now() + datetime.timedelta(days=VALID_DAYS)
    until = min(year, root.certificate.not_valid_after_utc)
    draft = _draft(_subject(member), issuer, key, root.key.public_key(), until)
    names: Sequence[x509.GeneralName] = [x509.DNSName(member.name)]
    if member.kind == "server":
        names = _server_names(project)
    elif member.kind == "admin":
        names = [x509.RFC822Name(member.name)]
    certificate = (
        draft.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(root.key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def check_issued(
    certificate: x509.Certificate,
    root: x509.Certificate,
    member: Member,
    key: rsa.RSAPrivateKey,
) -> None:
    """Check what came back from the root's holder, at the site.

    1. The certificate is for this member's key and name.
    2. The root signed it, and itself.

    Raises:
        VerificationError: naming the step's subject.
    """
    if certificate.public_key() != key.public_key() or certificate.subject != _subject(member):
        raise VerificationError(f"the certificate is not for the key of {member.name}", _AGAIN)
    for one in (certificate, root):
        try:
            one.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise VerificationError(
                f"{one.subject.rfc4514_string()[:120]} is not signed by the root", _AGAIN
            ) from error


def read_certificates(raw: bytes, most: int = 2) -> list[x509.Certificate]:
    """The certificates of a PEM file.

    Raises:
        DataError: none, more than `most`, or not PEM.
    """
    try:
        found = x509.load_pem_x509_certificates(_bounded(raw))
    except ValueError as error:
        raise DataError(f"not a certificate: {error}", _AGAIN) from error
    if not 1 <= len(found) <= most:
        raise DataError(f"{len(found)} certificates in a file of at most {most}", _AGAIN)
    return found


def certified_key(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    """The public key that a certificate is for.

    Raises:
        DataError: not an RSA key.
    """
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise DataError("a certificate of a key that is not RSA, which FLARE needs", _AGAIN)
    return key


def read_key(raw: bytes) -> rsa.RSAPrivateKey:
    """A private key of PEM bytes.

    Raises:
        DataError: not an unencrypted RSA key.
    """
    try:
        key = serialization.load_pem_private_key(_bounded(raw), password=None)
    except (ValueError, TypeError) as error:
        raise DataError("not a private key without passphrase", _AGAIN) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise DataError("a private key that is not RSA, which FLARE needs", _AGAIN)
    return key


def key_bytes(key: rsa.RSAPrivateKey) -> bytes:
    """PEM of a private key, without passphrase: its file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,  # what FLARE 2.9 writes itself
        serialization.NoEncryption(),
    )


def fingerprint(key: rsa.RSAPublicKey) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo), in groups of four hex digits."""
    info = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(info)
    text = digest.finalize().hex()
    return " ".join(text[i : i + 4] for i in range(0, 64, 4))


def _subject(member: Member) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.COMMON_NAME, member.name),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, member.organisation),
    ]
    if member.kind == "admin":
        parts.append(x509.NameAttribute(NameOID.UNSTRUCTURED_NAME, ADMIN_ROLE))
    return x509.Name(parts)


def _server_names(project: Project) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(project.host)))
    except ValueError:
        names.append(x509.DNSName(project.host))
    if project.is_local and project.host != "localhost":
        names.append(x509.DNSName("localhost"))
    return names


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _draft(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPublicKey,
    signing: rsa.RSAPublicKey,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _CLOCKS)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(authority, critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _bounded(raw: bytes) -> bytes:
    if len(raw) > MOST_PEM_BYTES:
        raise ValueError(f"{len(raw)} bytes, more than {MOST_PEM_BYTES}")
    return raw
