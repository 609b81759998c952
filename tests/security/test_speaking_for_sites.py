"""Who speaks for whom: senders for their sites and with their own addresses, catalogs as the site that they claim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grid import index_settings, until
from msgspec.structs import replace
from parties import Parties, ask, catalog
from sender_double import SenderDouble

import rli.server
from reploc import service
from reploc.client import LrcClient, RliClient, RliNodeClient
from reploc.client.transport import HttpTransport
from reploc.errors import Forbidden, SiteUnproven, Unreachable
from reploc.hierarchy import Beneath, Child
from reploc.members import IndexSettings, Node
from reploc.security.credentials import Credentials
from reploc.security.settings import AuthorizationSettings, CredentialSettings
from reploc.wire import MappingItem
from rli.settings import RliSettings


def shown(parties: Parties, name: str, **told: Any) -> HttpTransport:
    """A transport with the certificate of a name."""
    return HttpTransport(Credentials(parties.tls(name), CredentialSettings(**told), service.now))


@pytest.fixture
def index() -> IndexSettings:
    told = index_settings(1)
    return replace(told, nodes=[over_tls(told.nodes[0])])


def over_tls(node: Node) -> Node:
    return Node(name=node.name, url=node.url.replace("http:", "https:"))


@pytest.fixture
async def node(parties: Parties, index: IndexSettings) -> AsyncIterator[str]:
    """An index node, which believes its authority about sites; its address."""
    url = index.nodes[0].url
    listen = url.removeprefix("https://")
    told = RliSettings(node="n0", listen=listen, index=index, matrix_bytes_max=1 << 28, **parties.guarded())
    async with rli.server.compose(told) as daemon, service.listening(daemon, told):
        yield url


@pytest.mark.parametrize(
    ("name", "site", "url", "said"),
    [
        ("site-a", "site-a", "https://lrc.a.example.org:39280", ""),
        ("site-a", "site-a", "https://127.0.0.1:39280", ""),
        ("site-a", "site-b", "https://127.0.0.1:39280", "does not speak for 'site-b'"),
        ("site-a", "site-a", "https://lrc.b.example.org:39280", "whose host is none of its own"),
        ("site-a", "site-a", "https://lrc.a.example.org@evil.example.org", "whose host is none of its own"),
        ("writer", "site-a", "https://127.0.0.1:39280", "no role that allows send-soft-state"),
    ],
)
async def test_a_sender_speaks_only_for_its_sites_and_sends_nobody_elsewhere(
    parties: Parties, node: str, index: IndexSettings, name: str, site: str, url: str, said: str
) -> None:
    transport = shown(parties, name)
    news = SenderDouble(index, site, url).news()
    async with RliNodeClient(node, transport=transport) as client:
        if said:
            with pytest.raises(Forbidden, match=said):
                await client.soft_state(news)
        else:
            assert (await client.soft_state(news)).epoch == news.epoch
    status, _ = await ask(node + "/v1/members", parties.context("stranger"))
    assert status == 403
    await transport.close()


async def test_a_grid_over_tls_answers_as_one_without(
    parties: Parties, node: str, index: IndexSettings, tmp_path: Path
) -> None:
    """The catalog feeds the index with its own certificate, and a reader's lookup goes through both."""
    guarded = parties.guarded() | {"tls": parties.tls("site-a")}
    writing, reading = shown(parties, "writer"), shown(parties, "reader", require_site_names=True)
    async with catalog(tmp_path, index=index, **guarded) as (url, _):
        async with LrcClient(url, transport=writing) as lrc:
            await lrc.put([MappingItem("/store/a", "file:///a")])
        client = RliClient([node], transport=reading)
        found = await until(lambda: client.lookup(["/store/a"]), lambda said: said.complete, "the site is known")
        assert [copy.site for copy in found.replicas["/store/a"]] == ["site-a"]
    await writing.close()
    await reading.close()


async def test_a_client_believes_only_the_site_that_a_certificate_names(parties: Parties, tmp_path: Path) -> None:
    """A catalog with a good certificate for its host, but of another site; then where settings name the hosts."""
    async with catalog(tmp_path, **parties.guarded() | {"tls": parties.tls("site-b")}) as (url, _):
        for told, site, right in (
            ({"require_site_names": True}, "site-b", True),
            ({"require_site_names": True}, "site-a", False),
            ({}, "site-a", True),
            ({"require_site_names": True, "site_hosts": {"site-a": ["127.0.0.*"]}}, "site-a", True),
            ({"require_site_names": True, "site_hosts": {"site-a": ["*.a.example.org"]}}, "site-a", False),
        ):
            transport = shown(parties, "reader", **told)
            async with LrcClient(url, transport=transport, site=site) as lrc:
                if right:
                    assert await lrc.exists(["/store/a"]) is not None
                else:
                    with pytest.raises(SiteUnproven, match="site-a"):
                        await lrc.exists(["/store/a"])
            await transport.close()


async def test_names_in_certificates_of_other_authorities_are_not_believed(parties: Parties, tmp_path: Path) -> None:
    async with catalog(tmp_path, **parties.guarded() | {"tls": parties.tls("site-a", names_from=["/O=other/*"])}) as (
        url,
        _,
    ):
        assert (await ask(url + "/v1/whoami", parties.context("site-a")))[1]["sites"] == []
        strict = Credentials(
            parties.tls("reader", names_from=[]), CredentialSettings(require_site_names=True), service.now
        )
        transport = HttpTransport(strict)
        async with LrcClient(url, transport=transport, site="site-a") as lrc:
            with pytest.raises(SiteUnproven):
                await lrc.exists(["/store/a"])
        await transport.close()


async def test_a_site_without_tls_proves_nothing(parties: Parties, tmp_path: Path) -> None:
    transport = shown(parties, "reader", require_site_names=True)
    async with catalog(tmp_path) as (url, _), LrcClient(url, transport=transport, site="site-a") as lrc:
        with pytest.raises(SiteUnproven, match="no TLS"):
            await lrc.exists(["/a"])
    await transport.close()


async def test_a_service_whose_certificate_is_not_believed_is_unreachable(parties: Parties, tmp_path: Path) -> None:
    other = Parties.meet(tmp_path / "other")
    transport = shown(other, "reader")
    async with catalog(tmp_path, **parties.guarded()) as (url, _), LrcClient(url, transport=transport) as lrc:
        with pytest.raises(Unreachable, match="certificate is not accepted"):
            await lrc.exists(["/a"])
    await transport.close()


async def test_a_token_goes_over_tls_or_to_this_machine_and_nowhere_else(parties: Parties, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(parties.token() + "\n")
    credentials = Credentials(parties.tls("reader"), CredentialSettings(token_file=str(file)), service.now)
    assert credentials.headers("https://lrc.example.org")["Authorization"].startswith("Bearer ey")
    assert credentials.headers("http://127.0.0.1:39280")
    assert credentials.headers("http://lrc.example.org:39280") == {}
    transport = HttpTransport(credentials)
    async with catalog(tmp_path, **parties.guarded()) as (url, _), LrcClient(url, transport=transport) as lrc:
        with pytest.raises(Forbidden, match="token jane"):
            await lrc.exists(["/store/a"])
    await transport.close()


#: Index nodes of the authority may tell their parents.
NODES_MAY = """
[[rules]]
subject = "/O=reploc/OU=hosts/*"
roles = ["sender"]
"""


@pytest.mark.parametrize(
    ("shown_by", "child", "url", "said"),
    [
        ("service", "rli-1", "https://127.0.0.1:39290", ""),
        ("service", "rli-2", "https://127.0.0.1:39290", "does not speak for 'rli-2'"),
        ("service", "rli-1", "https://evil.example.org", "whose host is none of its own"),
        ("site-a", "rli-1", "https://127.0.0.1:39280", "does not speak for 'rli-1'"),
        ("reader", "rli-1", "https://127.0.0.1:39290", "no role that allows send-soft-state"),
    ],
)
async def test_a_parent_believes_only_the_child_itself(
    parties: Parties, index: IndexSettings, tmp_path: Path, shown_by: str, child: str, url: str, said: str
) -> None:
    """Both children are named in the settings; who is which, only a certificate says."""
    guarded = parties.guarded()
    (tmp_path / "rules.toml").write_text(Path(guarded["authorization"].rules).read_text() + NODES_MAY)
    guarded["authorization"] = AuthorizationSettings(rules=str(tmp_path / "rules.toml"))
    children = [Child(name=name) for name in ("rli-1", "rli-2")]
    listen, above = index.nodes[0].url.removeprefix("https://"), replace(index, collections=False)
    told = RliSettings(node="n0", listen=listen, index=above, children=children, **guarded)
    beneath = Beneath("ring", True, [], [child], 1)
    news = replace(SenderDouble(index, child, url).news(), beneath=beneath)
    async with rli.server.compose(told) as daemon, service.listening(daemon, told):
        transport = shown(parties, shown_by)
        async with RliNodeClient(index.nodes[0].url, transport=transport) as client:
            if said:
                with pytest.raises(Forbidden, match=said):
                    await client.soft_state(news)
            else:
                assert (await client.soft_state(news)).epoch == news.epoch
        await transport.close()
