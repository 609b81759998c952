"""What every daemon is told about security, and what every client is: files, patterns and bounds.

Without any of it a daemon is as open as its address: everyone who reaches it may everything, and it listens on the
loopback alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field, structs

from reploc.config import Settings
from reploc.names import require_site

#: Token issuers that one daemon believes: one per experiment and a few more.
ISSUERS_MAX = 100


class TlsSettings(Settings, frozen=True):
    """Certificates: the own, which clients and other services are shown, and whom to believe."""

    certificate: Annotated[
        str, Meta(description="PEM file of the own certificate, its chain behind it. Empty: none, and no TLS.")
    ] = ""
    key: Annotated[str, Meta(description="PEM file of its key. Empty: it is in the same file.")] = ""
    authorities: Annotated[
        str,
        Meta(description="PEM file or hashed directory of the authorities believed. Empty: the system's, of servers."),
    ] = ""
    crls: Annotated[
        str,
        Meta(
            description="PEM file of revocation lists, one of each authority; `directory`: they lie beside the "
            "authorities. Empty: none."
        ),
    ] = ""
    clients: Annotated[
        Literal["optional", "required"],
        Meta(description="Whether a client must show a certificate, or may show a token or nothing instead."),
    ] = "optional"
    proxies: Annotated[bool, Meta(description="Accept RFC 3820 proxy certificates, for who made them.")] = False
    names_from: Annotated[
        list[str],
        Meta(
            description="Authorities (patterns) that are believed when their certificates name sites and index nodes."
        ),
    ] = []


class CredentialSettings(Settings, frozen=True):
    """What is shown to services beside the certificate, and what they must prove."""

    token_file: Annotated[
        str, Meta(description="File of a bearer token for other services; read again when it changes.")
    ] = ""
    require_site_names: Annotated[
        bool,
        Meta(description="Believe a catalog only if its certificate names its site, or site_hosts its host."),
    ] = False
    site_hosts: Annotated[
        dict[str, list[str]], Meta(description="SITE = [HOST, …]: where the catalogs of sites may be (patterns).")
    ] = {}

    def __post_init__(self) -> None:
        for site in self.site_hosts:
            require_site(site)


class IssuerSettings(Settings, frozen=True):
    """Who issues tokens."""

    issuer: Annotated[str, Meta(description="The `iss` of its tokens, exactly.", min_length=1)]
    audience: Annotated[list[str], Meta(description="What `aud` must name one of.", min_length=1)]
    keys: Annotated[
        str, Meta(description="JWKS: a file, or an https URL. Empty: where the issuer's openid-configuration says.")
    ] = ""
    algorithms: Annotated[list[Literal["RS256", "ES256"]], Meta(description="Signatures accepted.", min_length=1)] = (
        field(default_factory=lambda: ["RS256", "ES256"])
    )
    base_path: Annotated[str, Meta(description="What the paths of its scopes are below.")] = "/"
    scopes: Annotated[
        bool, Meta(description="Believe it what its tokens are good for (WLCG, SciTokens); else rules alone decide.")
    ] = True
    groups_claim: Annotated[str, Meta(description="The claim that lists groups.")] = "wlcg.groups"

    @property
    def remote(self) -> bool:
        """Whether keys come from a URL."""
        return not self.keys or "://" in self.keys


class TokenSettings(Settings, frozen=True):
    """Bearer tokens (JWT)."""

    issuers: Annotated[
        list[IssuerSettings], Meta(description="Issuers believed, a table each.", max_length=ISSUERS_MAX)
    ] = []
    refresh_s: Annotated[float, Meta(description="Keys from a URL are fetched again after so long.", ge=60)] = 3600.0
    leeway_s: Annotated[float, Meta(description="How far clocks may differ.", ge=0, le=600)] = 30.0
    lifetime_s_max: Annotated[
        float, Meta(description="A token that is valid for longer than this is refused.", gt=0)
    ] = 7 * 86_400.0


class AuthorizationSettings(Settings, frozen=True):
    """Who may do what."""

    rules: Annotated[
        str,
        Meta(description="TOML file of roles and rules. Empty: everyone may everything. It is read again on change."),
    ] = ""


class LimitSettings(Settings, frozen=True):
    """Bounds on what arrives, beside those of bodies and batches that every route has."""

    connections_max: Annotated[int, Meta(description="Connections at one time.", ge=1)] = 20_000
    connections_per_address: Annotated[int, Meta(description="Of one address.", ge=1)] = 2_000
    head_s: Annotated[
        float, Meta(description="A new connection must have sent a whole request head within so long.", gt=0)
    ] = 10.0
    idle_s: Annotated[
        float, Meta(description="Longest time between two requests, and in which a client takes nothing.", gt=0)
    ] = 300.0
    rate_per_identity: Annotated[
        float, Meta(description="Requests per second of one identity, over longer times. 0: unbounded.", ge=0)
    ] = 0.0
    rate_per_address: Annotated[float, Meta(description="The same of one address.", ge=0)] = 0.0
    burst_s: Annotated[float, Meta(description="Requests of so many seconds may come at once.", gt=0)] = 10.0
    offences: Annotated[
        int,
        Meta(description="Refused or malformed requests within offence_s after which an address is refused.", ge=1),
    ] = 100
    offence_s: Annotated[float, Meta(description="Offences are forgotten after so long.", gt=0)] = 60.0
    refused_s: Annotated[float, Meta(description="An address is refused for so long.", gt=0)] = 300.0
    exempt: Annotated[
        list[str], Meta(description="Networks whose addresses are never refused: this machine, proxies in front of it.")
    ] = field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])
    refused_log: Annotated[
        str, Meta(description="File for malformed and unknown requests, apart from the log. Empty: the log.")
    ] = ""

    def of_one(self, processes: int) -> LimitSettings:
        """The share of each of so many processes, among which the kernel deals connections out without asking: all
        together never take more than these bounds, and who has a single connection has a single share."""
        return structs.replace(
            self,
            connections_max=max(self.connections_max // processes, 1),
            connections_per_address=max(self.connections_per_address // processes, 1),
            rate_per_identity=self.rate_per_identity / processes,
            rate_per_address=self.rate_per_address / processes,
        )


class AuditSettings(Settings, frozen=True):
    """The record of who changed what."""

    file: Annotated[str, Meta(description="One JSON line per change. Empty: none is kept.")] = ""
    bytes_max: Annotated[int, Meta(description="Begin another file beyond this size.", ge=1 << 16)] = 256 << 20
    files: Annotated[int, Meta(description="Earlier files that are kept.", ge=1, le=10_000)] = 30
    sync: Annotated[bool, Meta(description="Have each line on disk before the change is acknowledged.")] = False
