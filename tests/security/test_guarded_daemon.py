"""A daemon behind its guard, over real TLS: who gets in, who does not, and what changes while it runs."""

from __future__ import annotations

import asyncio
import hmac
import json
import shutil
import socket
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import jwt
import pytest
from certificates import proxy_of, self_signed, signed_by
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from parties import AUDIENCE, ISSUER, Parties, ask, catalog

STORED = {"mode": "put", "mappings": [{"lfn": "/store/a", "pfn": "file:///a"}]}


@pytest.fixture
async def url(parties: Parties, tmp_path: Path) -> AsyncIterator[str]:
    async with catalog(tmp_path, **parties.guarded()) as (found, _):
        yield found


# ---- certificates ----------------------------------------------------------------------------------------------------


async def test_a_client_is_who_its_certificate_is_for(url: str, parties: Parties) -> None:
    status, said = await ask(url + "/v1/whoami", parties.context("writer"))
    assert (status, said["kind"], said["subject"]) == (200, "certificate", "/O=reploc/OU=people/CN=writer")
    assert said["issuer"] == "/O=reploc/CN=test authority"
    assert {"action": "write-catalog", "names": ["/store/"]} in said["allowed"]


async def test_who_shows_nothing_is_nobody_and_may_only_what_is_public(url: str, parties: Parties) -> None:
    assert (await ask(url + "/healthz", parties.context()))[0] == 200
    assert (await ask(url + "/v1/whoami", parties.context()))[1]["kind"] == "nobody"
    status, said = await ask(url + "/v1/replicas?lfn=/store/a", parties.context())
    assert (status, said["code"]) == (403, "forbidden")


async def test_a_right_on_names_is_one_on_these_names_alone(url: str, parties: Parties) -> None:
    writer = parties.context("writer")
    assert (await ask(url + "/v1/mappings", writer, method="POST", json=STORED))[0] == 200
    assert (await ask(url + "/v1/replicas?lfn=/store/a", parties.context("reader")))[0] == 200
    for lfn in ("/user/a", "/stor", "/store/../user/a"):
        outside = {"mode": "put", "mappings": [STORED["mappings"][0], {"lfn": lfn, "pfn": "file:///b"}]}
        status, said = await ask(url + "/v1/mappings", writer, method="POST", json=outside)
        assert (status, said["code"]) == (403, "forbidden"), lfn
        assert repr(lfn) in said["detail"]
    assert (await ask(url + "/v1/lfns?pattern=/store/*", writer))[1] == {"lfns": ["/store/a"], "next": None}
    assert (await ask(url + "/v1/lfns?pattern=/sto*", writer))[0] == 403
    assert (await ask(url + "/v1/dump", writer))[0] == 403


async def test_plain_http_at_the_port_of_tls_gets_nothing(url: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"HTTP/1.1 200" not in await asyncio.wait_for(reader.read(), 20)
    writer.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_of_tls_are_refused(url: str, parties: Parties) -> None:
    context = parties.context("writer")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(url + "/healthz", context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_certificates_that_nobody_here_vouches_for_do_not_get_in(
    url: str, parties: Parties, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Self-signed in the name of someone who may; expired; not valid yet; signed by another authority of that name."""
    now = datetime.now(UTC)
    writer = [("O", "reploc"), ("OU", "people"), ("CN", "writer")]
    authority = parties.authority
    other = self_signed(tmp_path, "other", [("O", "reploc"), ("CN", "test authority")], ca=True)
    unwanted = {
        "self-signed": self_signed(tmp_path, "self", writer),
        "expired": signed_by(authority.directory / "ca", tmp_path, "old", writer, until=now - timedelta(minutes=1)),
        "not yet": signed_by(authority.directory / "ca", tmp_path, "new", writer, since=now + timedelta(hours=1)),
        "other authority": signed_by(other, tmp_path, "false", writer),
    }
    for what, stem in unwanted.items():
        context = parties.context()
        context.maximum_version = context.minimum_version = version
        context.load_cert_chain(f"{stem}.pem", f"{stem}.key")
        with pytest.raises(aiohttp.ClientError):
            raise AssertionError(f"{what}: {await ask(url + '/healthz', context)}")
    assert (await ask(url + "/healthz", parties.context("writer")))[0] == 200


async def test_a_service_that_shows_a_certificate_for_another_host_is_not_believed(
    parties: Parties, tmp_path: Path
) -> None:
    async with catalog(tmp_path, **parties.guarded() | {"tls": parties.tls("elsewhere")}) as (url, _):
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="IP address mismatch"):
            await ask(url + "/healthz", parties.context("writer"))


async def test_a_certificate_that_is_taken_back_is_refused_also_on_an_open_connection(tmp_path: Path) -> None:
    """The list is read again because its time changed; nobody tells the daemon."""
    parties = Parties.meet(tmp_path / "parties")
    async with catalog(tmp_path, **parties.guarded()) as (url, daemon):
        connector = aiohttp.TCPConnector(ssl=parties.context("writer"))
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(url + "/v1/whoami") as answer:
                assert answer.status == 200
            parties.authority.revoke("writer")
            assert daemon.guard is not None
            await daemon.guard.look()
            async with session.get(url + "/v1/whoami") as answer:
                assert (answer.status, (await answer.json(content_type=None))["code"]) == (401, "unauthenticated")
        with pytest.raises(aiohttp.ClientError):
            await ask(url + "/healthz", parties.context("writer"))
        assert (await ask(url + "/v1/whoami", parties.context("reader")))[0] == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_session_is_resumed_past_the_lists(url: str, parties: Parties, version: ssl.TLSVersion) -> None:
    context = parties.context("writer")
    context.maximum_version = version

    def connected(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        raw = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20)
        with context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
            return connection.session, connection.session_reused

    session, _ = await asyncio.to_thread(connected, None)
    assert (await asyncio.to_thread(connected, session))[1] is False


async def test_a_new_certificate_and_new_rules_are_taken_without_a_restart(tmp_path: Path) -> None:
    parties = Parties.meet(tmp_path / "parties")
    parties.authority.issue_host("next", ["127.0.0.1"])
    async with catalog(tmp_path, **parties.guarded()) as (url, daemon):
        assert daemon.guard is not None
        assert (await ask(url + "/v1/replicas?lfn=/store/a", parties.context("stranger")))[0] == 403
        for end in ("pem", "key"):
            shutil.copy(parties.path(f"next.{end}"), parties.path(f"service.{end}"))
        rules = tmp_path / "parties" / "rules.toml"
        more = '[[rules]]\nsubject = "*/CN=stranger"\nroles = ["reader"]\n'
        rules.write_text(rules.read_text() + more)
        await daemon.guard.look()
        assert (await ask(url + "/v1/replicas?lfn=/store/a", parties.context("stranger")))[0] == 404
        _, writer = await asyncio.open_connection(
            "127.0.0.1", int(url.rpartition(":")[2]), ssl=parties.context("reader"), server_hostname="127.0.0.1"
        )
        assert (("commonName", "next"),) in writer.get_extra_info("peercert")["subject"]
        writer.close()


async def test_files_that_cannot_be_used_change_nothing(tmp_path: Path) -> None:
    parties = Parties.meet(tmp_path / "parties")
    async with catalog(tmp_path, **parties.guarded()) as (url, daemon):
        assert daemon.guard is not None
        (tmp_path / "parties" / "rules.toml").write_text('[[rules]]\nroles = ["nobody knows it"]\n')
        await daemon.guard.look()
        assert "nobody knows it" in daemon.guard.error
        assert (await ask(url + "/v1/replicas?lfn=/store/a", parties.context("reader")))[0] == 404


async def test_a_proxy_is_who_made_it_and_no_more_than_that(tmp_path: Path) -> None:
    """RFC 3820: of the first and of the second degree; one with no rights, and one of a certificate taken back."""
    parties = Parties.meet(tmp_path / "parties")
    once = proxy_of(Path(parties.path("writer")), tmp_path, "once")
    twice = proxy_of(once, tmp_path, "twice")
    independent = proxy_of(Path(parties.path("writer")), tmp_path, "independent", policy="1.3.6.1.5.5.7.21.2")
    async with catalog(tmp_path, **parties.guarded() | {"tls": parties.tls(proxies=True)}) as (url, daemon):
        for stem in (once, twice):
            context = parties.context()
            context.load_cert_chain(f"{stem}.pem", f"{stem}.key")
            status, said = await ask(url + "/v1/whoami", context)
            assert (status, said["subject"]) == (200, "/O=reploc/OU=people/CN=writer")
        context = parties.context()
        context.load_cert_chain(f"{independent}.pem", f"{independent}.key")
        assert (await ask(url + "/v1/whoami", context))[0] == 401
        parties.authority.revoke("writer")
        assert daemon.guard is not None
        await daemon.guard.look()
        context = parties.context()
        context.load_cert_chain(f"{twice}.pem", f"{twice}.key")
        with pytest.raises(aiohttp.ClientError):
            await ask(url + "/v1/whoami", context)


async def test_proxies_are_refused_unless_they_are_allowed(url: str, parties: Parties, tmp_path: Path) -> None:
    stem = proxy_of(Path(parties.path("writer")), tmp_path, "once")
    context = parties.context()
    context.load_cert_chain(f"{stem}.pem", f"{stem}.key")
    with pytest.raises(aiohttp.ClientError):
        await ask(url + "/v1/whoami", context)


# ---- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_token_is_its_subject_with_its_groups(url: str, parties: Parties) -> None:
    token = parties.token(**{"wlcg.groups": ["/cms/production"]})
    _, said = await ask(url + "/v1/whoami", parties.context(), token)
    assert (said["kind"], said["subject"], said["groups"]) == ("token", "jane", ["/cms/production"])
    assert (await ask(url + "/v1/mappings", parties.context(), token, "POST", json=STORED))[0] == 200
    elliptic = parties.token(parties.elliptic, "ES256", "two", **{"wlcg.groups": "/cms/production"})
    assert (await ask(url + "/v1/replicas?lfn=/store/a", parties.context(), elliptic))[0] == 200


async def test_a_token_decides_before_the_certificate_beside_it(url: str, parties: Parties) -> None:
    assert (await ask(url + "/v1/whoami", parties.context("writer"), parties.token()))[1]["subject"] == "jane"
    assert (await ask(url + "/v1/whoami", parties.context("writer"), "no.token.it"))[0] == 401


async def test_the_scopes_of_a_token_take_the_place_of_rules(url: str, parties: Parties) -> None:
    """WLCG's and SciTokens' words, on a path and what lies under it; the group's role gives nothing beside them."""
    rights = {"wlcg.groups": ["/cms/production"]}
    token = parties.token(scope="openid storage.read:/store/mc", **rights)
    context = parties.context()
    assert (await ask(url + "/v1/replicas?lfn=/store/mc/a", context, token))[0] == 404
    assert (await ask(url + "/v1/replicas?lfn=/store/mcs/a", context, token))[0] == 403
    assert (await ask(url + "/v1/lfns?pattern=/store/mc*", context, token))[0] == 403
    assert (await ask(url + "/v1/lfns?pattern=/store/mc/*", context, token))[0] == 200
    assert (await ask(url + "/v1/mappings", context, token, "POST", json=STORED))[0] == 403
    scitoken = parties.token(scope=["read:/", "write:/store"], **rights)
    assert (await ask(url + "/v1/mappings", context, scitoken, "POST", json=STORED))[0] == 200
    assert (await ask(url + "/v1/replicas?lfn=/user/a", context, scitoken))[0] == 404
    only_new = parties.token(scope="storage.create:/store", **rights)
    assert (await ask(url + "/v1/mappings", context, only_new, "POST", json=STORED))[0] == 403


def with_public_key_as_secret(parties: Parties) -> str:
    """Made by hand: no library signs with what is so clearly no secret."""
    public = parties.signing.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = {"alg": "HS256", "typ": "JWT", "kid": "one"}
    body = {"iss": ISSUER, "aud": AUDIENCE, "sub": "jane", "exp": int(time.time()) + 600}
    signed = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, body))
    signature = hmac.digest(public, signed, "sha256")
    return (signed + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


def unwanted(parties: Parties) -> dict[str, str]:
    """Tokens that must get nobody in, by what is wrong with them."""
    stranger, now = rsa.generate_private_key(65537, 2048), int(time.time())
    head, _, rest = parties.token().partition(".")
    claims, _, signature = rest.partition(".")
    return {
        "alg none": jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "jane", "exp": now + 600}, "", "none"),
        "public key as secret": with_public_key_as_secret(parties),
        "key of another": parties.token(stranger),
        "kid of another key": parties.token(kid="two"),
        "unknown kid": parties.token(kid="three"),
        "swapped algorithm": parties.token(parties.elliptic, "ES256", "one"),
        "other algorithm": parties.token(algorithm="RS512"),
        "wrong audience": parties.token(aud="https://elsewhere.example.org"),
        "no audience": parties.token(aud=None),
        "wrong issuer": parties.token(iss="https://evil.example.org/"),
        "no issuer": parties.token(iss=None),
        "no subject": parties.token(sub=None),
        "no end": parties.token(exp=None),
        "ended": parties.token(exp=now - 120, iat=now - 300, nbf=now - 300),
        "not begun": parties.token(nbf=now + 600),
        "endless": parties.token(exp=now + 10 * 365 * 86_400),
        "huge end": parties.token(exp=10**40),
        "end that is text": parties.token(exp="tomorrow"),
        "changed": f"{head}.{claims[:-4]}AAAA.{signature}",
        "no signature": f"{head}.{claims}.",
        "signature of another": f"{head}.{claims}.{parties.token(sub='joe').rpartition('.')[2]}",
        "path that climbs": parties.token(scope="storage.read:/store/../user"),
        "too many groups": parties.token(**{"wlcg.groups": [f"/g{number}" for number in range(101)]}),
        "group that is none": parties.token(**{"wlcg.groups": [{"a": 1}]}),
        "too long": parties.token(padding="x" * 9_500),
        "nonsense": "x.y.z",
        "empty": "",
    }


async def test_a_token_that_is_not_in_order_gets_nobody_in_and_into_no_log(
    url: str, parties: Parties, caplog: pytest.LogCaptureFixture
) -> None:
    for what, token in unwanted(parties).items():
        for _ in range(2):  # a second time, in case that something was remembered
            headers = {"Authorization": f"Bearer {token}"}
            status, said = await ask(url + "/v1/whoami", parties.context("writer"), headers=headers)
            assert (status, said["code"]) == (401, "unauthenticated"), what
        told = str(said) + "".join(str(vars(record)) for record in caplog.records)
        assert len(token) < 10 or not any(part in told for part in token.split(".") if len(part) > 10), what
    assert (await ask(url + "/v1/whoami", parties.context(), parties.token()))[0] == 200
    basic = {"Authorization": "Basic YTpi"}
    assert (await ask(url + "/v1/whoami", parties.context(), headers=basic))[0] == 401
