"""Keys of tokens that come over real https: from whom they are believed, and how new ones replace old ones."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from certificates import self_signed, signed_by
from cryptography.hazmat.primitives.asymmetric import rsa
from parties import AUDIENCE, ISSUER, Parties, ask, catalog, jwk

from reploc.client.transport import HttpTransport
from reploc.errors import Unauthenticated, Unavailable
from reploc.security.credentials import Credentials
from reploc.security.settings import CredentialSettings, IssuerSettings, TlsSettings, TokenSettings
from reploc.security.tokens import Tokens


@dataclass
class Issuer:
    """An issuer's web server: where its keys are, what they are now, and how often they were asked for."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.url, "jwks_uri": self.url + "/jwk"})
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": self.url + "/jwk"})
        self.asked += 1
        return web.json_response({"keys": self.keys})

    def trusted(self, keys: str = "/jwk", issuer: str = ISSUER) -> TokenSettings:
        """How a daemon is told to believe it; without keys, where its openid-configuration says."""
        told = IssuerSettings(issuer=issuer, audience=[AUDIENCE], keys=self.url + keys if keys else "")
        return TokenSettings(issuers=[told])


@asynccontextmanager
async def issuing(certificate: str, key: str, *keys: dict[str, Any]) -> AsyncIterator[Issuer]:
    """An issuer that serves https with a certificate."""
    issuer = Issuer(keys=list(keys))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner = web.ServerRunner(web.Server(issuer.answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        issuer.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def fetching(settings: TokenSettings, tls: TlsSettings, clock: Clock) -> AsyncIterator[Tokens]:
    """Tokens whose keys are fetched as a daemon with these certificates does."""
    shown = Credentials(tls, CredentialSettings(), clock, also_system=True)
    transport = HttpTransport(shown)
    try:
        yield Tokens(settings, transport, clock, time.time)
    finally:
        await transport.close()


async def test_a_daemon_fetches_the_keys_of_its_issuer_over_https(parties: Parties, tmp_path: Path) -> None:
    """Where its settings say, and where the issuer's own openid-configuration does."""
    one = jwk(parties.signing.public_key(), "one")
    async with issuing(parties.path("service.pem"), parties.path("service.key"), one) as issuer:
        for told in (issuer.trusted(), issuer.trusted("", issuer.url)):
            async with catalog(tmp_path, **parties.guarded() | {"tokens": told}) as (url, _):
                token = parties.token(iss=told.issuers[0].issuer)
                status, said = await ask(url + "/v1/whoami", parties.context(), token)
                assert (status, said["subject"]) == (200, "jane")
                stranger = parties.token(rsa.generate_private_key(65537, 2048), iss=told.issuers[0].issuer)
                assert (await ask(url + "/v1/whoami", parties.context(), stranger))[0] == 401


async def test_new_keys_are_fetched_in_time_and_old_ones_end(parties: Parties) -> None:
    later, clock = rsa.generate_private_key(65537, 2048), Clock()
    one = jwk(parties.signing.public_key(), "one")
    async with (
        issuing(parties.path("service.pem"), parties.path("service.key"), one) as issuer,
        fetching(issuer.trusted(), parties.tls(), clock) as tokens,
    ):
        assert await tokens.refresh() == 3_600.0
        old, new = parties.token(), parties.token(later, kid="later")
        assert (await tokens.identity(old)).subject == "jane"
        issuer.keys = [jwk(later.public_key(), "later")]
        clock.now += 3_599.0
        await tokens.refresh()
        assert issuer.asked == 1
        clock.now += 1.0
        await tokens.refresh()
        assert issuer.asked == 2
        assert (await tokens.identity(new)).subject == "jane"
        with pytest.raises(Unauthenticated, match="'one', which its issuer does not have"):
            await tokens.identity(old)
        issuer.keys = [one]
        clock.now += 61.0
        assert (await tokens.identity(old)).subject == "jane"
        assert issuer.asked == 3


async def test_keys_of_an_issuer_with_a_certificate_of_the_web_are_fetched_beside_revocation_lists(
    parties: Parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its authority is one of the system's and has given out no list, whereas the grid's authority has to have one."""
    web_ca = self_signed(tmp_path, "web", [("CN", "an authority of the web")], ca=True)
    site = signed_by(web_ca, tmp_path, "issuer", [("CN", "issuer")], host="127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", f"{web_ca}.pem")
    async with (
        issuing(f"{site}.pem", f"{site}.key", jwk(parties.signing.public_key(), "one")) as issuer,
        fetching(issuer.trusted(), parties.tls(), Clock()) as tokens,
    ):
        assert (await tokens.identity(parties.token())).subject == "jane"


@pytest.mark.parametrize("what", ["for another host", "taken back", "of nobody who is believed", "elsewhere"])
async def test_keys_are_taken_from_nobody_who_does_not_prove_to_be_the_issuer(tmp_path: Path, what: str) -> None:
    parties = Parties.meet(tmp_path / "parties")
    stem, keys = parties.path("service"), "/jwk"
    if what == "for another host":
        stem = parties.path("elsewhere")
    elif what == "taken back":
        parties.authority.revoke("service")
    elif what == "of nobody who is believed":
        unknown = self_signed(tmp_path, "unknown", [("CN", "unknown")], ca=True)
        stem = str(signed_by(unknown, tmp_path, "issuer", [("CN", "issuer")], host="127.0.0.1"))
    else:
        keys = "/moved"
    async with (
        issuing(f"{stem}.pem", f"{stem}.key", jwk(parties.signing.public_key(), "one")) as issuer,
        fetching(issuer.trusted(keys), parties.tls(), Clock()) as tokens,
    ):
        with pytest.raises(Unavailable, match="are not to be had"):
            await tokens.identity(parties.token())
        assert issuer.asked == 0
