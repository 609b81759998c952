"""Those who meet in the tests: an authority with certificates, an issuer of tokens, rules, and who asks a daemon."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import lrc.server
from lrc.settings import LrcSettings
from reploc import service
from reploc.pki import Authority
from reploc.security.settings import AuthorizationSettings, IssuerSettings, TlsSettings, TokenSettings
from reploc.service import Daemon

ISSUER = "https://tokens.example.org/"
AUDIENCE = "https://reploc.example.org"
CA_DN = "/O=reploc/CN=test authority"

RULES = """
[[roles]]
name = "reader"
grants = [{ actions = ["read-catalog", "read-index"], names = ["/store/"] }]
[[roles]]
name = "writer"
grants = [{ actions = ["read-catalog", "write-catalog"], names = ["/store/"] }]
[[roles]]
name = "sender"
grants = [{ actions = ["send-soft-state", "read-index"] }]
[[roles]]
name = "operator"
grants = [{ actions = ["monitor", "place", "operate", "administer"] }]
[[rules]]
subject = "/O=reploc/OU=people/CN=reader"
roles = ["reader"]
[[rules]]
subject = "/O=reploc/OU=people/CN=writer"
roles = ["writer"]
[[rules]]
kind = "certificate"
subject = "/O=reploc/OU=sites/*"
roles = ["sender"]
[[rules]]
subject = "/O=reploc/OU=people/CN=operator"
roles = ["operator"]
[[rules]]
kind = "token"
group = "/cms/production"
roles = ["writer"]
"""


@dataclass(frozen=True)
class Parties:
    """An authority and what it issued, an issuer's keys, and rules, in a directory."""

    directory: Path
    authority: Authority
    signing: rsa.RSAPrivateKey
    elliptic: ec.EllipticCurvePrivateKey

    @classmethod
    def meet(cls, directory: Path) -> Parties:
        authority = Authority.init(directory / "ca", "test authority")
        authority.issue_host("service", ["127.0.0.1", "localhost"], node="rli-1")
        authority.issue_site("site-a", ["127.0.0.1", "lrc.a.example.org"])
        authority.issue_site("site-b", ["127.0.0.1"])
        authority.issue_host("elsewhere", ["elsewhere.example.org"])
        for person in ("reader", "writer", "operator", "stranger"):
            authority.issue_person(person)
        signing, elliptic = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
        keys = [jwk(signing.public_key(), "one"), jwk(elliptic.public_key(), "two")]
        (directory / "jwks.json").write_text(json.dumps({"keys": keys}))
        (directory / "rules.toml").write_text(RULES)
        return cls(directory, authority, signing, elliptic)

    def path(self, name: str) -> str:
        return str(self.authority.directory / name)

    def tls(self, name: str = "service", **changes: Any) -> TlsSettings:
        """The certificate of a name, and belief in the authority and its list."""
        told: dict[str, Any] = {
            "certificate": self.path(f"{name}.pem"),
            "key": self.path(f"{name}.key"),
            "authorities": self.path("ca.pem"),
            "crls": self.path("crl.pem"),
            "names_from": [CA_DN],
        }
        return TlsSettings(**told | changes)

    @property
    def tokens(self) -> TokenSettings:
        keys = str(self.directory / "jwks.json")
        return TokenSettings(issuers=[IssuerSettings(issuer=ISSUER, audience=[AUDIENCE], keys=keys)])

    @property
    def rules(self) -> AuthorizationSettings:
        return AuthorizationSettings(rules=str(self.directory / "rules.toml"))

    def guarded(self) -> dict[str, Any]:
        """The settings of a daemon that is guarded by all of it."""
        return {"tls": self.tls(), "tokens": self.tokens, "authorization": self.rules}

    def token(self, key: Any = None, algorithm: str = "RS256", kid: str | None = "one", **claims: Any) -> str:
        """A token that is in order but for what is changed; a claim that is None is left out."""
        now = int(time.time())
        told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "jane", "iat": now, "nbf": now, "exp": now + 600} | claims
        kept = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(kept, key or self.signing, algorithm, headers={"kid": kid} if kid else None)

    def context(self, name: str = "") -> ssl.SSLContext:
        """How someone connects who believes the authority, with the certificate of a name or with none."""
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        if name:
            context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        return context


def jwk(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, kid: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
    return json.loads(algorithm.to_jwk(key)) | {"kid": kid, "use": "sig"}


async def ask(
    url: str, context: ssl.SSLContext | None = None, token: str = "", method: str = "GET", **request: Any
) -> tuple[int, dict[str, Any]]:
    """(status, answer) of one request on a connection of its own."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= request.pop("headers", {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, ssl=context or True, headers=headers, **request) as answer,
    ):
        return answer.status, json.loads(await answer.read())


@asynccontextmanager
async def catalog(path: Path, **settings: Any) -> AsyncIterator[tuple[str, Daemon]]:
    """A site's catalog; its address, and the daemon."""
    told = LrcSettings(site="site-a", store=str(path / "store"), listen="127.0.0.1:0", **settings)
    async with lrc.server.compose(told) as daemon, service.listening(daemon, told) as url:
        yield url, daemon
