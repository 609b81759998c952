"""TLS: contexts made from files, replaced while connections go on, and what the certificate at the other end says.

A daemon listens with one context for its whole life, which hands every handshake on to the newest: so certificates,
authorities and revocation lists change without a restart. Sessions are not resumed, since a resumed one would not look
at the lists again; for the same reason a connection's certificate is compared with them at every request.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from cryptography import x509

from reploc.errors import ConfigInvalid
from reploc.pki import NODE_URN, SITE_URN
from reploc.security.identity import DnAmbiguous, Identity, dn
from reploc.security.settings import TlsSettings

#: Suites of TLS 1.2: forward secret and authenticated. Those of 1.3 all are.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: What `crls` says where the lists lie beside the authorities, as a grid's directory of certificates has them.
BESIDE = "directory"

_PROXY_INFO = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
#: The policy of a proxy that has none of its maker's rights (RFC 3820, section 3.8.2), as it is encoded.
_INDEPENDENT = bytes.fromhex("06082b06010505071502")
#: Names of parts that the X.500 short names of the library do not have, as grid software writes them.
_SHORT = {"1.2.840.113549.1.9.1": "emailAddress", "2.5.4.5": "serialNumber"}
_CRL_BEGIN = b"-----BEGIN X509 CRL-----"


@dataclass(frozen=True)
class Peer:
    """The certificate at the other end of a connection: who, until when (Unix seconds), and under which numbers its
    authorities would take it back. `fault` says why it is nobody's, and is empty where it is somebody's."""

    who: Identity
    until: float
    numbers: frozenset[tuple[str, int]]
    fault: str = ""


class ServerTls:
    """The context that a daemon listens with, and the newest one behind it."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises ConfigInvalid: a file cannot be used."""
        self._settings = settings
        self._newest = server_context(settings)
        self.revoked = revoked(settings)
        self.context = server_context(settings)
        self.context.sni_callback = self._hand_on

    def reread(self) -> Callable[[], None]:
        """Reads the files as they are now; what takes them over. Raises ConfigInvalid."""
        newest, taken_back = server_context(self._settings), revoked(self._settings)

        def take() -> None:
            self._newest, self.revoked = newest, taken_back

        return take

    def _hand_on(self, connection: Any, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """How a daemon listens. Clients are asked for a certificate where authorities are named that could vouch for it."""
    context = _own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    if settings.authorities:
        _believe(context, settings)
        context.verify_mode = ssl.CERT_REQUIRED if settings.clients == "required" else ssl.CERT_OPTIONAL
    elif settings.clients == "required":
        raise ConfigInvalid("tls.clients: is 'required', but tls.authorities names nobody who could vouch for them")
    return context


def client_context(settings: TlsSettings, *, also_system: bool = False) -> ssl.SSLContext:
    """How a service or a command connects: it shows its own certificate where it has one, and verifies the other's.

    With `also_system` OpenSSL asks nobody for revocation lists, since the web's authorities give out none: whoever
    connects compares the chain with those there are (`revoked`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.certificate:
        _own(context, settings)
    else:
        _restrict(context)
    if settings.authorities:
        _believe(context, settings, lists=not also_system)
    if also_system or not settings.authorities:
        context.load_default_certs()
    return context


def files(settings: TlsSettings) -> list[str]:
    """Every file that a context is made from."""
    crls = "" if settings.crls == BESIDE else settings.crls
    return [settings.certificate, settings.key, settings.authorities, crls]


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)


def _own(context: ssl.SSLContext, settings: TlsSettings) -> ssl.SSLContext:
    _restrict(context)
    key = settings.key or settings.certificate
    _require_private(Path(key))
    try:
        context.load_cert_chain(settings.certificate, key, password=_no_password)
    except (OSError, ValueError) as wrong:
        raise ConfigInvalid(
            f"tls.certificate, tls.key: {settings.certificate} and {key} cannot be used: {_said(wrong)}"
        ) from wrong
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; a daemon cannot ask for its password")


def _require_private(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as wrong:
        raise ConfigInvalid(f"tls.key: {path}: {wrong.strerror}") from wrong
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigInvalid(f"tls.key: {path} may be read or written by others", hint=f"chmod 600 {path}")


def _believe(context: ssl.SSLContext, settings: TlsSettings, *, lists: bool = True) -> None:
    authorities = Path(settings.authorities)
    try:
        if authorities.is_dir():
            context.load_verify_locations(capath=str(authorities))
        else:
            context.load_verify_locations(cafile=str(authorities))
        if settings.crls and lists:
            if settings.crls != BESIDE:
                context.load_verify_locations(cafile=settings.crls)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    except (OSError, ValueError) as wrong:
        what = f"{settings.authorities} {settings.crls}".strip()
        raise ConfigInvalid(f"tls.authorities, tls.crls: {what} cannot be used: {_said(wrong)}") from wrong
    if settings.proxies:
        context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS


def _said(wrong: Exception) -> str:
    return str(getattr(wrong, "strerror", "") or wrong) or type(wrong).__name__


# ---- what was taken back ---------------------------------------------------------------------------------------------


def revoked(settings: TlsSettings) -> frozenset[tuple[str, int]]:
    """(authority, serial number) of every certificate in the revocation lists. Raises ConfigInvalid."""
    if not settings.crls or not settings.authorities:
        return frozenset()
    found: set[tuple[str, int]] = set()
    for path in _lists(settings):
        try:
            for block in path.read_bytes().split(_CRL_BEGIN)[1:]:
                crl = x509.load_pem_x509_crl(_CRL_BEGIN + block)
                issuer = crl.issuer.rfc4514_string()
                found.update((issuer, entry.serial_number) for entry in crl)
        except (OSError, ValueError) as wrong:
            raise ConfigInvalid(f"tls.crls: {path} is no revocation list: {_said(wrong)}") from wrong
    return frozenset(found)


def _lists(settings: TlsSettings) -> Iterable[Path]:
    return sorted(Path(settings.authorities).glob("*.r[0-9]")) if settings.crls == BESIDE else [Path(settings.crls)]


# ---- who is at the other end -----------------------------------------------------------------------------------------


def peer(connection: Any, names_from: Iterable[str]) -> Peer | None:
    """What the verified certificate of a connection's other end says, or None where it showed none."""
    der = connection.getpeercert(binary_form=True)
    if not der:
        return None
    chain = verified_chain(connection)
    until = min(one.not_valid_after_utc.timestamp() for one in chain)
    numbers = numbers_of(chain)
    try:
        return Peer(identity(chain, tuple(names_from)), until, numbers)
    except (DnAmbiguous, ValueError) as wrong:
        return Peer(Identity("nobody"), until, numbers, f"its certificate names nobody: {wrong}")


def identity(chain: list[x509.Certificate], names_from: tuple[str, ...] = ()) -> Identity:
    """Who a verified certificate is for, the first of its chain; a proxy is for who made it. Raises DnAmbiguous, or
    ValueError for a proxy that may nothing."""
    if any(_is_independent(one) for one in chain):
        raise ValueError("an independent proxy has no rights of its maker's")
    holder = next((one for one in chain if not _is_proxy(one)), chain[-1])
    if _is_proxy(holder):
        raise ValueError("nobody in the chain made the proxy")
    issuer = _dn(holder.issuer)
    names = _alternative_names(holder)
    believed = any(fnmatchcase(issuer, pattern) for pattern in names_from)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names and believed else []
    return Identity(
        "certificate",
        _dn(holder.subject),
        issuer,
        hosts=frozenset(hosts(holder)),
        sites=frozenset(_named(uris, SITE_URN)),
        nodes=frozenset(_named(uris, NODE_URN)),
    )


def hosts(certificate: x509.Certificate) -> Iterator[str]:
    """The names and addresses of hosts that a certificate is for."""
    if names := _alternative_names(certificate):
        yield from names.get_values_for_type(x509.DNSName)
        yield from (str(address) for address in names.get_values_for_type(x509.IPAddress))


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _named(uris: Iterable[str], urn: str) -> Iterator[str]:
    return (uri.removeprefix(urn) for uri in uris if uri.startswith(urn))


def _dn(name: x509.Name) -> str:
    return dn([(_SHORT.get(part.oid.dotted_string, part.rfc4514_attribute_name), str(part.value)) for part in name])


def _is_proxy(certificate: x509.Certificate) -> bool:
    return any(extension.oid == _PROXY_INFO for extension in certificate.extensions)


def _is_independent(certificate: x509.Certificate) -> bool:
    return any(
        extension.oid == _PROXY_INFO and _INDEPENDENT in cast(x509.UnrecognizedExtension, extension.value).value
        for extension in certificate.extensions
    )


def verified_chain(connection: Any) -> list[x509.Certificate]:
    """The verified chain of a connection's other end, its certificate first. The method is public from Python 3.13."""
    if hasattr(connection, "get_verified_chain"):
        return [x509.load_der_x509_certificate(one) for one in connection.get_verified_chain()]
    chain = connection._sslobj.get_verified_chain()
    return [x509.load_pem_x509_certificate(one.public_bytes().encode()) for one in chain]


def numbers_of(chain: Iterable[x509.Certificate]) -> frozenset[tuple[str, int]]:
    """Under which (authority, serial number) the certificates of a chain would be taken back."""
    return frozenset((one.issuer.rfc4514_string(), one.serial_number) for one in chain)
