"""Certificates that an authority in order would not issue: self-signed, out of their time, and RFC 3820 proxies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

_KINDS = {"O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME}
_PROXY_INFO = ObjectIdentifier("1.3.6.1.5.5.7.1.14")
#: The proxy has all rights of its maker (RFC 3820, section 3.8.2).
INHERIT_ALL = "1.3.6.1.5.5.7.21.1"

Parts = Sequence[tuple[str, str]]


def self_signed(directory: Path, name: str, parts: Parts, *, ca: bool = False) -> Path:
    """A certificate that vouches for itself; the path of both files without their endings."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _written(directory, name, _builder(_name(parts), _name(parts), key, ca=ca).sign(key, hashes.SHA256()), key)


def signed_by(
    authority: Path,
    directory: Path,
    name: str,
    parts: Parts,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    ca: bool | None = None,
    host: str = "",
) -> Path:
    """A certificate by the authority whose files have this path without their endings; perhaps an authority's too."""
    key, issuer = ec.generate_private_key(ec.SECP256R1()), _certificate(authority)
    builder = _builder(_name(parts), issuer.subject, key, ca=ca, since=since, until=until)
    if host:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
        builder = builder.add_extension(names, critical=False)
    return _written(directory, name, builder.sign(_key(authority), hashes.SHA256()), key)


def followed_by(stem: Path, *chain: Path) -> Path:
    """Puts certificates behind the one of a file, as who shows it sends them along."""
    certificate = stem.with_suffix(".pem")
    certificate.write_bytes(b"".join(one.with_suffix(".pem").read_bytes() for one in (stem, *chain)))
    return stem


def revocation_list(authority: Path, *taken_back: Path) -> bytes:
    """The list of an authority, with these certificates of its own."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(_certificate(authority).subject)
    builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(hours=1))
    for one in taken_back:
        entry = x509.RevokedCertificateBuilder().serial_number(_certificate(one).serial_number).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(_key(authority), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def proxy_of(maker: Path, directory: Path, name: str, policy: str = INHERIT_ALL) -> Path:
    """A proxy that the holder of a certificate, or of a proxy, makes; with the chain behind it."""
    key, issuer = ec.generate_private_key(ec.SECP256R1()), _certificate(maker)
    common = x509.NameAttribute(NameOID.COMMON_NAME, str(x509.random_serial_number()))
    subject = x509.Name([*issuer.subject, common])
    language = _der(0x06, ObjectIdentifier(policy))
    info = _sequence(_sequence(language))
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = _builder(subject, issuer.subject, key).add_extension(usage, critical=True)
    builder = builder.add_extension(x509.UnrecognizedExtension(_PROXY_INFO, info), critical=True)
    path = _written(directory, name, builder.sign(_key(maker), hashes.SHA256()), key)
    certificate = path.with_suffix(".pem")
    certificate.write_bytes(certificate.read_bytes() + maker.with_suffix(".pem").read_bytes())
    return path


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since or now - timedelta(hours=2))
        .not_valid_after(until or now + timedelta(hours=2))
    )
    return builder if ca is None else builder.add_extension(x509.BasicConstraints(ca, None), critical=True)


def _der(tag: int, identifier: ObjectIdentifier) -> bytes:
    """An object identifier in DER."""
    first, second, *rest = (int(number) for number in identifier.dotted_string.split("."))
    body = bytes([40 * first + second])
    for number in rest:
        septets = [number & 0x7F]
        while number := number >> 7:
            septets.append(0x80 | (number & 0x7F))
        body += bytes(reversed(septets))
    return bytes([tag, len(body)]) + body


def _sequence(body: bytes) -> bytes:
    return bytes([0x30, len(body)]) + body


def _name(parts: Parts) -> x509.Name:
    return x509.Name([x509.NameAttribute(_KINDS[kind], value) for kind, value in parts])


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.with_suffix(".pem").read_bytes())


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _written(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
    path = directory / name
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(path.with_suffix(".key"), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(pem)
    return path
