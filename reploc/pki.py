"""A certificate authority for development, demonstrations and small installations, in one directory.

It signs certificates for hosts, sites, index nodes and persons, and lists those that it took back. `ca.key` lies
unencrypted beside `ca.pem`: who can read the directory can be anybody. A grid or a university has a real authority,
which this replaces nowhere (`configs/production/`).

    ca.pem · ca.key      the authority
    crl.pem              what was taken back
    issued.jsonl         one line per certificate and per revocation, in order
    NAME.pem · NAME.key  certificates and their keys (for a person, a site or a host)

A certificate for a site or an index node says so by a URI, `urn:reploc:site:NAME` or `urn:reploc:node:NAME`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reploc.errors import ConfigInvalid

#: What the names of a site and of an index node begin with in a certificate.
SITE_URN = "urn:reploc:site:"
NODE_URN = "urn:reploc:node:"
#: Days that things are valid: the authority, a certificate, a list of what was taken back.
CA_DAYS = 3650
CERTIFICATE_DAYS = 365
CRL_DAYS = 30
#: A certificate is valid from a little before it is made, for clocks that are a little behind.
SKEW = timedelta(minutes=5)

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
#: Names whose files are the authority's own.
_OWN = ("ca", "crl")
_ORGANISATION = "reploc"


class Issued(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of `issued.jsonl`: a certificate was issued, or taken back."""

    what: Literal["issued", "revoked"]
    serial: str
    name: str
    moment: str
    subject: str = ""
    until: str = ""


_LINES = msgspec.json.Decoder(Issued)


class Authority:
    """The authority in a directory."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigInvalid: there is none."""
        self.directory = directory
        self.certificate = _certificate(directory / "ca.pem")
        self._key = _key(directory / "ca.key")

    @classmethod
    def init(cls, directory: Path, name: str, days: int = CA_DAYS) -> Authority:
        """A new authority, with an empty list of what was taken back. Raises ConfigInvalid: one is there already."""
        if (directory / "ca.pem").exists() or (directory / "ca.key").exists():
            raise ConfigInvalid(f"{directory}: holds an authority already", hint="choose another directory")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(("O", _ORGANISATION), ("CN", name))
        certificate = (
            _begun(subject, subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_private(directory / "ca.key", _pem(key))
        _write(directory / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
        authority = cls(directory)
        authority.crl()
        return authority

    def issue_host(self, name: str, hosts: Sequence[str], *, node: str = "", days: int = CERTIFICATE_DAYS) -> Path:
        """A certificate for a service on some hosts (names or addresses), perhaps for an index node's."""
        return self._issue(name, "hosts", hosts, [NODE_URN + node] if node else [], days)

    def issue_site(self, site: str, hosts: Sequence[str], *, days: int = CERTIFICATE_DAYS) -> Path:
        """A certificate for the catalog of a site on some hosts."""
        return self._issue(site, "sites", hosts, [SITE_URN + site], days)

    def issue_person(self, name: str, *, days: int = CERTIFICATE_DAYS) -> Path:
        """A certificate for a person, or for a program that only asks."""
        return self._issue(name, "people", [], [], days)

    def revoke(self, name: str) -> list[str]:
        """Takes back every valid certificate of a name, and lists them. Raises ConfigInvalid: there is none."""
        taken_back = {line.serial for line in self.issued() if line.what == "revoked"}
        serials = [line.serial for line in self.issued() if line.name == name and line.serial not in taken_back]
        if not serials:
            raise ConfigInvalid(f"{self.directory}: no certificate of {name!r} is there to take back")
        for serial in serials:
            self._note(Issued("revoked", serial, name, _moment(datetime.now(UTC))))
        self.crl()
        return serials

    def crl(self, days: int = CRL_DAYS) -> Path:
        """Writes the list of what was taken back anew, valid for some days."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - SKEW)
            .next_update(now + timedelta(days=days))
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for line in self.issued():
            if line.what == "revoked":
                revoked = x509.RevokedCertificateBuilder().serial_number(int(line.serial, 16))
                builder = builder.add_revoked_certificate(
                    revoked.revocation_date(datetime.fromisoformat(line.moment)).build()
                )
        path = self.directory / "crl.pem"
        _write(path, builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def issued(self) -> list[Issued]:
        """What was issued and taken back, in order. Raises ConfigInvalid: the list is broken."""
        path = self.directory / "issued.jsonl"
        try:
            return _LINES.decode_lines(path.read_bytes()) if path.exists() else []
        except (OSError, msgspec.DecodeError) as wrong:
            raise ConfigInvalid(f"{path}: {wrong}") from wrong

    def _issue(self, name: str, unit: str, hosts: Sequence[str], uris: Sequence[str], days: int) -> Path:
        """A certificate and its key, both new; an earlier one of the same name stays valid until it is taken back."""
        if not _FILE_NAME.fullmatch(name) or name in _OWN:
            raise ConfigInvalid(
                f"{name[:80]!r} is no name for a certificate; expected letters, digits, '.', '_' or '-'"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(("O", _ORGANISATION), ("OU", unit), ("CN", name))
        serves = bool(hosts)
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if serves else [])]
        builder = (
            _begun(subject, self.certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        names = [*map(_general_name, hosts), *map(x509.UniformResourceIdentifier, uris)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        until = _moment(certificate.not_valid_after_utc)
        self._note(Issued("issued", f"{certificate.serial_number:x}", name, _moment(datetime.now(UTC)), unit, until))
        _write_private(self.directory / f"{name}.key", _pem(key))
        path = self.directory / f"{name}.pem"
        _write(path, certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def _note(self, line: Issued) -> None:
        with (self.directory / "issued.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(*parts: tuple[Literal["O", "OU", "CN"], str]) -> x509.Name:
    kinds = {"O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME}
    try:
        return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in parts])
    except ValueError as wrong:
        raise ConfigInvalid(f"{parts[-1][1][:80]!r} cannot stand in a certificate: {wrong}") from wrong


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(of: datetime) -> str:
    return of.isoformat(timespec="seconds")


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """Replaces a file whole, so that who reads it meanwhile sees the old one or the new one."""
    aside = path.with_name(path.name + ".new")
    aside.write_bytes(content)
    aside.replace(path)


def _write_private(path: Path, content: bytes) -> None:
    """The same for a file that nobody else may read, at no moment."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    aside.replace(path)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as wrong:
        raise ConfigInvalid(
            f"{path}: is no certificate: {wrong}", hint="`reploc ca init` makes an authority"
        ) from wrong


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as wrong:
        raise ConfigInvalid(f"{path}: is no private key: {wrong}") from wrong
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigInvalid(f"{path}: is no elliptic-curve key")
    return key
