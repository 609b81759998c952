"""Keys of tokens: from URLs, by discovery, changed by their issuer, or not to be had; and key sets that are no use."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from parties import AUDIENCE, Parties, jwk

from reploc.client.transport import Request
from reploc.errors import ConfigInvalid, Unauthenticated, Unavailable, Unreachable
from reploc.security.settings import IssuerSettings, TokenSettings
from reploc.security.tokens import Discovery, JwkSet, Tokens, keys_in

ISSUER = "https://issuer.example.org"


@dataclass
class IssuerDouble:
    """An issuer's web server, as a transport that remembers what was asked."""

    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)

    async def ask(self, request: Request[Any], _: float) -> Any:
        self.asked.append(request.url + request.path)
        if request.path not in self.answers:
            raise Unreachable("it is down")
        return self.answers[request.path]

    def stream(self, *_: object) -> Any:
        raise AssertionError("nothing is streamed")

    async def close(self) -> None:
        raise AssertionError("it is the guard's")


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def jwks(parties: Parties, *names: str) -> JwkSet:
    return JwkSet([jwk(parties.signing.public_key(), name) for name in names])


def tokens(transport: IssuerDouble, clock: Clock, keys: str = "") -> Tokens:
    issuer = IssuerSettings(issuer=ISSUER, audience=[AUDIENCE], keys=keys)
    return Tokens(TokenSettings(issuers=[issuer]), transport, clock, time.time)


async def test_keys_are_where_the_issuer_says(parties: Parties) -> None:
    found = {
        "/.well-known/openid-configuration": Discovery(ISSUER, ISSUER + "/jwk"),
        "/jwk": jwks(parties, "one"),
    }
    transport, clock = IssuerDouble(found), Clock()
    known = tokens(transport, clock)
    token = parties.token(iss=ISSUER)
    assert (await known.identity(token)).subject == "jane"
    assert transport.asked == [ISSUER + "/.well-known/openid-configuration", ISSUER + "/jwk"]
    assert known.remembered(token) is not None
    assert known.remembered(token + "x") is None
    assert await known.refresh() == 3_600.0
    assert len(transport.asked) == 2


async def test_a_new_key_is_fetched_when_a_token_names_it_and_not_again_at_once(parties: Parties) -> None:
    transport, clock = IssuerDouble({"/jwk": jwks(parties, "one")}), Clock()
    known = tokens(transport, clock, ISSUER + "/jwk")
    await known.refresh()
    later = parties.token(iss=ISSUER, kid="later")
    transport.answers["/jwk"] = jwks(parties, "one", "later")
    with pytest.raises(Unauthenticated, match="'later', which its issuer does not have"):
        await known.identity(later)
    clock.now += 61.0
    assert (await known.identity(later)).issuer == ISSUER
    clock.now += 1.0
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await known.identity(parties.token(iss=ISSUER, kid="never"))
    assert len(transport.asked) == 2


async def test_keys_that_cannot_be_had_are_said_so_and_those_that_were_there_stay(parties: Parties) -> None:
    transport, clock = IssuerDouble({}), Clock()
    known = tokens(transport, clock, ISSUER + "/jwk")
    assert await known.refresh() == 60.0
    with pytest.raises(Unavailable, match="it is down"):
        await known.identity(parties.token(iss=ISSUER))
    transport.answers["/jwk"] = jwks(parties, "one")
    clock.now += 61.0
    await known.refresh()
    assert (await known.identity(parties.token(iss=ISSUER))).subject == "jane"
    del transport.answers["/jwk"]
    clock.now += 3_601.0
    await known.refresh()
    assert (await known.identity(parties.token(iss=ISSUER, sub="joe"))).subject == "joe"


async def test_an_issuer_that_calls_itself_something_else_is_not_believed(parties: Parties) -> None:
    found = {
        "/.well-known/openid-configuration": Discovery("https://other.example.org", ISSUER + "/jwk"),
        "/jwk": jwks(parties, "one"),
    }
    with pytest.raises(Unavailable, match="calls itself"):
        await tokens(IssuerDouble(found), Clock()).identity(parties.token(iss=ISSUER))
    found["/.well-known/openid-configuration"] = Discovery(ISSUER, "http://issuer.example.org/jwk")
    with pytest.raises(Unavailable, match="over https only"):
        await tokens(IssuerDouble(found), Clock()).identity(parties.token(iss=ISSUER))


def test_keys_are_never_fetched_where_anybody_could_change_them() -> None:
    with pytest.raises(ConfigInvalid, match="over https only"):
        tokens(IssuerDouble({}), Clock(), "http://issuer.example.org/jwk")
    tokens(IssuerDouble({}), Clock(), "http://127.0.0.1:8080/jwk")


def test_only_keys_that_verify_are_taken(parties: Parties) -> None:
    public = parties.signing.public_key()
    unusable = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        jwk(public, "b") | {"use": "enc"},
        jwk(public, "c") | {"alg": "PS256"},
        jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), "d"),
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {},
    ]
    assert [key.name for key in keys_in(JwkSet([*unusable, jwk(public, "one")]))] == ["one"]
    weak = rsa.generate_private_key(65537, 1024).public_key()
    with pytest.raises(ConfigInvalid, match="1024 bits"):
        keys_in(JwkSet([jwk(weak, "weak")]))
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        keys_in(JwkSet([{"kty": "RSA", "n": "!!", "e": "AQAB"}]))
    with pytest.raises(ConfigInvalid, match="at most 32"):
        keys_in(JwkSet([jwk(public, "one")] * 33))


def test_a_file_of_keys_that_is_none_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    for content in ("", "{}", '{"keys": 1}', json.dumps({"keys": [{"kty": "RSA", "n": "", "e": ""}]})):
        (tmp_path / "jwks").write_text(content)
        with pytest.raises(ConfigInvalid):
            tokens(IssuerDouble({}), Clock(), str(tmp_path / "jwks"))
    with pytest.raises(ConfigInvalid, match="is no JWKS"):
        tokens(IssuerDouble({}), Clock(), str(tmp_path / "none"))
