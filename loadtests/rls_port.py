"""Lookups at the RLS port, beside the same over HTTP: ten connections, one request in flight on each.

    python -m loadtests.rls_port [--quick] [--names N] [--stores DIR]

The client is raw sockets in a process of its own. Every answer is looked into before the clock runs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence

from loadtests import servers, world
from loadtests.answers import HttpAnswers, RlsAnswers
from loadtests.exchange import Load, exchanged, get
from loadtests.figure import Figure, Result
from loadtests.lasting_node import NODE, lasting_node
from loadtests.program import Scale, run, said, workspace
from loadtests.servers import Server
from loadtests.sites import Sites
from loadtests.stores import filled
from reploc.demo.ports import free_port

PEER = "HTTP, same client"
LRC = Figure("RLS port, LRC lookups over ten connections", "requests/s", "more", 40_000, peer=PEER)
RLI = Figure("RLS port, RLI lookups over ten connections", "requests/s", "more", 30_000, "1,000 sites", PEER)

CONNECTIONS = 10
#: Distinct names that are asked for in turn.
ASKED, TOY_ASKED = 20_000, 200
SITES, TOY_SITES = 1_000, 20
#: The node's cost per question hangs on the sites, and telling it of more names takes a minute.
RLI_NAMES_MAX = 1_000_000
NAMES, QUICK_NAMES, TOY_NAMES = 10_000_000, 1_000_000, 20_000


def measure(scale: Scale) -> Iterator[Result]:
    """The two figures: a catalog of `scale.names` mappings, and a node that knows 1,000 sites of so many LFNs."""
    rng = random.Random(scale.seed)
    asked = [rng.randrange(scale.names) for _ in range(scale.of(ASKED, ASKED, TOY_ASKED))]
    with workspace() as folder:
        port = free_port()
        store = filled(scale, folder)
        process = servers.catalog(folder, "site-a", store, servers.index_of(1), tables=_rls(port))
        with servers.running(process) as server:
            right = [f"{world.lfn(number)}\0{world.pfn(number)}".encode() for number in asked]
            scaled = f"{scale.names:,} mappings"
            yield _beside(LRC, server, port, "lrc_get_pfn", "/v1/replicas", asked, right, scale, scaled)
    sites = Sites(scale.of(SITES, SITES, TOY_SITES), min(scale.names, RLI_NAMES_MAX))
    asked = [number % sites.names for number in asked]
    with workspace() as folder:
        port = free_port()
        with lasting_node(folder, tables=_rls(port)) as (server, index):
            said(f"telling a node what {sites.count:,} sites hold of {sites.names:,} LFNs")
            asyncio.run(sites.told_to(server.url, NODE, index))
            right = [world.lfn(number).encode() for number in asked]
            scaled = f"{sites.count:,} sites, {sites.names:,} LFNs at 3 each"
            yield _beside(RLI, server, port, "rli_get_lrc", "/v1/locations", asked, right, scale, scaled)


def _beside(
    figure: Figure,
    server: Server,
    port: int,
    method: str,
    path: str,
    asked: Sequence[int],
    right: Sequence[bytes],
    scale: Scale,
    scaled: str,
) -> Result:
    """The rate at the RLS port, and that of the same questions over HTTP."""
    names = [world.lfn(number) for number in asked]
    requests = [f"{method}\0{name}\00\00\0".encode() for name in names]
    checked = exchanged(Load(port, requests, CONNECTIONS, answers=RlsAnswers), keep=True)
    assert all(one in body for one, body in zip(right, checked.bodies, strict=True)), checked.bodies[:1]
    before = server.cpu_s
    runs = [exchanged(Load(port, requests, CONNECTIONS, scale.run_s, RlsAnswers)) for _ in range(scale.runs)]
    note = server.share(before, sum(one.seconds for one in runs), sum(one.answers for one in runs))
    note += f"; client {max(one.client for one in runs):.0%} of a core; p99 {max(one.p99_ms for one in runs):.2f} ms"
    over_http = [get(f"{path}?lfn={name}") for name in names]
    http = exchanged(Load(server.port, over_http, CONNECTIONS, scale.run_s, HttpAnswers))
    return Result(figure, scaled, tuple(one.rate for one in runs), http.rate, note)


def _rls(port: int) -> str:
    return f'[rls]\nlisten = "127.0.0.1:{port}"'


if __name__ == "__main__":
    run("Lookups at the RLS port.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
