"""Certificates under an authority that another authority vouches for: every link of the chain has to hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from certificates import followed_by, revocation_list, self_signed, signed_by
from parties import Parties, ask, catalog

from reploc.service import Daemon

WRITER = [("O", "reploc"), ("OU", "people"), ("CN", "writer")]
MIDDLE = [("O", "reploc"), ("CN", "middle")]


class Chain:
    """A root, an authority under it, one under that, and who has a certificate by the last."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = self_signed(directory, "root", [("O", "reploc"), ("CN", "root")], ca=True)
        self.middle = signed_by(self.root, directory, "middle", MIDDLE, ca=True)
        self.lower = signed_by(self.middle, directory, "lower", [("O", "reploc"), ("CN", "lower")], ca=True)
        self.writer = signed_by(self.lower, directory, "writer", WRITER)

    @property
    def authorities(self) -> Path:
        return self.root.with_suffix(".pem")

    def lists(self, *, middle: bool = True, taken_back: tuple[Path, ...] = ()) -> str:
        """The file of all revocation lists, perhaps without that of the middle, which the root may have taken back."""
        path = self.directory / "lists.pem"
        found = [revocation_list(self.root, *taken_back), revocation_list(self.lower)]
        path.write_bytes(b"".join([*found, *([revocation_list(self.middle)] if middle else [])]))
        return str(path)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    directory = tmp_path / "chain"
    directory.mkdir()
    return Chain(directory)


@asynccontextmanager
async def believing(parties: Parties, chain: Chain, path: Path, **changes: Any) -> AsyncIterator[tuple[str, Daemon]]:
    """A guarded catalog that believes the root of a chain and nobody else."""
    tls = parties.tls(**{"authorities": str(chain.authorities), "crls": ""} | changes)
    async with catalog(path, **parties.guarded() | {"tls": tls}) as found:
        yield found


async def who(url: str, parties: Parties, stem: Path) -> dict[str, Any]:
    """Whom a catalog takes the holder of a certificate for."""
    context = parties.context()
    context.load_cert_chain(f"{stem}.pem", f"{stem}.key")
    status, said = await ask(url + "/v1/whoami", context)
    assert status == 200, said
    return said


async def test_who_shows_the_whole_chain_is_who_its_certificate_says(
    parties: Parties, chain: Chain, tmp_path: Path
) -> None:
    followed_by(chain.writer, chain.lower, chain.middle)
    async with believing(parties, chain, tmp_path) as (url, _):
        said = await who(url, parties, chain.writer)
        assert (said["subject"], said["issuer"]) == ("/O=reploc/OU=people/CN=writer", "/O=reploc/CN=lower")
        assert {"action": "write-catalog", "names": ["/store/"]} in said["allowed"]


def _without_any(chain: Chain) -> Path:
    return chain.writer


def _with_a_gap(chain: Chain) -> Path:
    return followed_by(chain.writer, chain.lower)


def _by_another_of_that_name(chain: Chain) -> Path:
    """The root vouches for the middle's name, and the link below it is signed with another key."""
    other = self_signed(chain.directory, "other", MIDDLE, ca=True)
    lower = signed_by(other, chain.directory, "other-lower", [("O", "reploc"), ("CN", "lower")], ca=True)
    return followed_by(signed_by(lower, chain.directory, "false", WRITER), lower, chain.middle)


def _by_a_person(chain: Chain) -> Path:
    """Who has a certificate is no authority, and cannot vouch for others."""
    person = signed_by(chain.lower, chain.directory, "person", [("O", "reploc"), ("CN", "person")], ca=False)
    issued = signed_by(person, chain.directory, "false", WRITER)
    return followed_by(issued, person, chain.lower, chain.middle)


@pytest.mark.parametrize("broken", [_without_any, _with_a_gap, _by_another_of_that_name, _by_a_person])
async def test_a_chain_that_does_not_hold_gets_nobody_in(
    parties: Parties, chain: Chain, tmp_path: Path, broken: Callable[[Chain], Path]
) -> None:
    stem = broken(chain)
    async with believing(parties, chain, tmp_path) as (url, _):
        with pytest.raises(aiohttp.ClientError):
            await who(url, parties, stem)
        assert (await ask(url + "/healthz", parties.context()))[0] == 200


async def test_every_authority_of_the_chain_needs_its_list(parties: Parties, chain: Chain, tmp_path: Path) -> None:
    followed_by(chain.writer, chain.lower, chain.middle)
    async with believing(parties, chain, tmp_path, crls=chain.lists()) as (url, daemon):
        assert (await who(url, parties, chain.writer))["kind"] == "certificate"
        chain.lists(middle=False)
        assert daemon.guard is not None
        daemon.guard.reload()
        with pytest.raises(aiohttp.ClientError):
            await who(url, parties, chain.writer)


async def test_with_an_authority_all_that_it_issued_is_taken_back_on_open_connections_too(
    parties: Parties, chain: Chain, tmp_path: Path
) -> None:
    followed_by(chain.writer, chain.lower, chain.middle)
    context = parties.context()
    context.load_cert_chain(f"{chain.writer}.pem", f"{chain.writer}.key")
    async with (
        believing(parties, chain, tmp_path, crls=chain.lists()) as (url, daemon),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
    ):
        async with session.get(url + "/v1/whoami") as answer:
            assert answer.status == 200
        chain.lists(taken_back=(chain.middle,))
        assert daemon.guard is not None
        daemon.guard.reload()
        async with session.get(url + "/v1/whoami") as answer:
            assert answer.status == 401
        with pytest.raises(aiohttp.ClientError):
            await who(url, parties, chain.writer)


async def test_a_service_sends_the_chain_behind_its_certificate(parties: Parties, chain: Chain, tmp_path: Path) -> None:
    """A client that believes the root alone believes the service too."""
    service = signed_by(chain.lower, chain.directory, "service", [("CN", "service")], host="127.0.0.1")
    context = parties.context()
    context.load_verify_locations(cafile=str(chain.authorities))
    changes = {"certificate": f"{service}.pem", "key": f"{service}.key"}
    async with believing(parties, chain, tmp_path / "alone", **changes) as (url, _):
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(url + "/healthz", context)
    followed_by(service, chain.lower, chain.middle)
    async with believing(parties, chain, tmp_path / "followed", **changes) as (url, _):
        assert (await ask(url + "/healthz", context))[0] == 200
