"""What this side shows to services, and what they must prove: certificate, token, and the site that a catalog claims.

A daemon has these in its settings, a person in ~/.config/reploc.toml or in the variables that grid tools know:
X509_USER_PROXY, X509_USER_CERT, X509_USER_KEY, X509_CERT_DIR and BEARER_TOKEN_FILE. A token goes over https alone, or
to this machine. Files are read again when they change.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
from cryptography import x509

from reploc.errors import ConfigInvalid, SiteUnproven
from reploc.security import tls
from reploc.security.identity import DnAmbiguous
from reploc.security.settings import CredentialSettings, TlsSettings
from reploc.security.watched import LOOK_S, Watched

#: Sites whose certificates are checked by a context each.
CONTEXTS_MAX = 1_024
#: Bytes of a file that holds a token.
TOKEN_BYTES_MAX = 64 << 10

#: How to connect with TLS.
TlsContext: TypeAlias = ssl.SSLContext

_HERE = ("localhost", "127.0.0.1", "::1")


class Credentials:
    """The certificate, the token and the demands of one side."""

    def __init__(
        self,
        tls_settings: TlsSettings,
        settings: CredentialSettings,
        now: Callable[[], float],
        *,
        also_system: bool = False,
    ) -> None:
        """`now` is monotonic seconds, for looks at files. Nothing is read before it is needed. The system's authorities
        are believed where no others are named, or `also_system`."""
        self._also_system = also_system
        self._tls = tls_settings
        self._settings = settings
        self._now = now
        self._watched = Watched([*tls.files(tls_settings), settings.token_file])
        self._looked = now()
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._token: str | None = None

    def context(self, url: str, site: str = "") -> ssl.SSLContext | None:
        """How to connect to an address, or None without TLS. Raises ConfigInvalid, or SiteUnproven: a site is named,
        and must not be there."""
        self._look()
        demanded = site if self._settings.require_site_names else ""
        if demanded and (hosts := self._settings.site_hosts.get(demanded)):
            host = (urlsplit(url).hostname or "").lower()
            if not any(fnmatchcase(host, pattern.lower()) for pattern in hosts):
                raise SiteUnproven(f"{url}: site {demanded} is none that may be at this address")
            demanded = ""
        if not url.startswith("https:"):
            if demanded:
                raise SiteUnproven(f"{url}: nothing proves there that it is site {demanded}, since it has no TLS")
            return None
        context = self._contexts.get(demanded)
        if context is None:
            context = self._contexts[demanded] = self._made(demanded)
            if len(self._contexts) > CONTEXTS_MAX:
                self._contexts.popitem(last=False)
        return context

    def headers(self, url: str) -> Mapping[str, str]:
        """The token for a service at an address, where there is one and it is safe on the way."""
        if not self._settings.token_file:
            return {}
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _HERE:
            return {}
        self._look()
        if self._token is None:
            self._token = _token(Path(self._settings.token_file))
        return {"Authorization": f"Bearer {self._token}"}

    def _made(self, site: str) -> ssl.SSLContext:
        """A context, for connections to a site that must prove itself, or to anybody."""
        context = tls.client_context(self._tls, also_system=self._also_system)
        if site:
            context.sslobject_class = _proving(site, tuple(self._tls.names_from))
        elif self._also_system and self._tls.crls:
            context.sslobject_class = type("ListedTls", (_Listed,), {"revoked": tls.revoked(self._tls)})
        return context

    def _look(self) -> None:
        now = self._now()
        if now - self._looked >= LOOK_S:
            self._looked = now
            if self._watched.changed():
                self._contexts.clear()
                self._token = None


class TakenBack(ssl.SSLCertVerificationError):
    """A certificate at the other end is good but for being in its authority's revocation list."""


class _Listed(ssl.SSLObject):
    """The client's end of a connection whose other end may be of any authority: lists count where there are some."""

    revoked: frozenset[tuple[str, int]] = frozenset()

    def do_handshake(self) -> None:
        super().do_handshake()
        if not self.revoked.isdisjoint(tls.numbers_of(tls.verified_chain(self))):
            raise TakenBack("the certificate was taken back by its authority")


class NotThatSite(ssl.SSLCertVerificationError):
    """The certificate at the other end is good, and not of the site that was asked for."""


class _Proving(ssl.SSLObject):
    """The client's end of a connection that is only made if the certificate at the other end names a site."""

    site = ""
    names_from: tuple[str, ...] = ()

    def do_handshake(self) -> None:
        super().do_handshake()
        der = self.getpeercert(binary_form=True)
        try:
            named = tls.identity([x509.load_der_x509_certificate(der)], self.names_from).sites if der else frozenset()
        except (DnAmbiguous, ValueError):
            named = frozenset()
        if self.site not in named:
            raise NotThatSite(f"the certificate does not name site {self.site}")


def _proving(site: str, names_from: tuple[str, ...]) -> type[ssl.SSLObject]:
    """The class of connections whose other end must prove that it is a site."""
    return type("ProvingSite", (_Proving,), {"site": site, "names_from": names_from})


def from_environment(
    environ: Mapping[str, str], tls_settings: TlsSettings, settings: CredentialSettings
) -> tuple[TlsSettings, CredentialSettings]:
    """Settings, with what grid tools' variables say where they say nothing."""
    proxy = environ.get("X509_USER_PROXY", "")
    certificate = proxy or environ.get("X509_USER_CERT", "")
    if not tls_settings.certificate and certificate:
        key = proxy or environ.get("X509_USER_KEY", "")
        tls_settings = msgspec.structs.replace(tls_settings, certificate=certificate, key=key)
    if not tls_settings.authorities and (directory := environ.get("X509_CERT_DIR", "")):
        tls_settings = msgspec.structs.replace(tls_settings, authorities=directory)
    if not settings.token_file and (file := environ.get("BEARER_TOKEN_FILE", "")):
        settings = msgspec.structs.replace(settings, token_file=file)
    return tls_settings, settings


def _token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            token = file.read(TOKEN_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigInvalid(f"credentials.token_file: {path} holds no token: {type(wrong).__name__}") from wrong
    if not token or not token.isprintable() or " " in token:
        raise ConfigInvalid(f"credentials.token_file: {path} holds no token")
    return token


# ---- what this process shows when nobody says otherwise -------------------------------------------------------------


class _Own:
    """The credentials of this process, made at their first use."""

    def __init__(self) -> None:
        self.make: Callable[[], Credentials] | None = None
        self.made: Credentials | None = None


_own = _Own()


def use(make: Callable[[], Credentials]) -> None:
    """Lets every client of this process that is given no credentials show these, made when they are needed."""
    _own.make, _own.made = make, None


def own(now: Callable[[], float], environ: Mapping[str, str]) -> Credentials:
    """The credentials of this process: those of the last `use`, else what the environment says."""
    if _own.made is None:
        fallback: Any = partial(_of_environment, now, environ)
        _own.made = (_own.make or fallback)()
    return _own.made


def _of_environment(now: Callable[[], float], environ: Mapping[str, str]) -> Credentials:
    return Credentials(*from_environment(environ, TlsSettings(), CredentialSettings()), now)
