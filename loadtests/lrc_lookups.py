"""Lookups at a catalog: single ones over HTTP, and a thousand at once in JSON and in MessagePack.

python -m loadtests.lrc_lookups [--quick] [--names N]
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec

from loadtests import servers, world
from loadtests.exchange import JSON, MSGPACK, Load, exchanged, post
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, workspace
from loadtests.runs import repeated, walked
from loadtests.servers import Server
from loadtests.stores import filled
from loadtests.wrk import Walk, sent
from reploc.wire import LfnsBody, Replicas

AT = "10,000,000 mappings"
SINGLE = Figure("LRC, one LFN per request", "requests/s", "more", 15_000, AT)
BULK_JSON = Figure("LRC, bulk lookup of 1,000 in JSON", "LFN/s", "more", 150_000, AT)
BULK_MSGPACK = Figure("LRC, bulk lookup of 1,000 in MessagePack", "LFN/s", "more", 250_000, AT)

BATCH = 1_000
#: Distinct batches that are asked for in turn.
BATCHES = 64
#: Connections with one bulk request in flight on each: while one answer travels the next one is made.
CONNECTIONS = 4
NAMES, QUICK_NAMES, TOY_NAMES = 10_000_000, 1_000_000, 20_000

_FORMS: dict[str, tuple[Callable[[object], bytes], Callable[..., Replicas]]] = {
    JSON: (msgspec.json.encode, msgspec.json.decode),
    MSGPACK: (msgspec.msgpack.encode, msgspec.msgpack.decode),
}


def measure(scale: Scale) -> Iterator[Result]:
    """The three figures, on a store of `scale.names` mappings."""
    rng = random.Random(scale.seed)
    with workspace() as folder:
        store = filled(scale, folder)
        with servers.running(servers.catalog(folder, "site-a", store, servers.index_of(1))) as server:
            yield _single(server, scale, rng)
            for figure, media in ((BULK_JSON, JSON), (BULK_MSGPACK, MSGPACK)):
                yield _bulk(figure, media, server, scale, rng)


def _single(server: Server, scale: Scale, rng: random.Random) -> Result:
    runs = walked(server, Walk(server.port, "/v1/replicas", scale.names), scale, rng)
    return Result(SINGLE, _scale(scale), runs.rates, note=f"p99 {max(runs.p99s_ms):.1f} ms; {runs.cost}")


def _bulk(figure: Figure, media: str, server: Server, scale: Scale, rng: random.Random) -> Result:
    encode, decode = _FORMS[media]
    batches = list(world.drawn(rng, scale.names, BATCH, BATCHES))
    requests = [post("/v1/replicas", encode(LfnsBody([world.lfn(one) for one in batch])), media) for batch in batches]
    checked = exchanged(Load(server.port, requests, CONNECTIONS), keep=True)
    for batch, body in zip(batches, checked.bodies, strict=True):
        _require_right(decode(body, type=Replicas), batch)
    runs = repeated(server, lambda: sent(server.port, requests, scale.run_s, CONNECTIONS), scale.runs, BATCH)
    return Result(figure, _scale(scale), runs.rates, note=runs.cost)


def _require_right(answer: Replicas, numbers: list[int]) -> None:
    assert not answer.unknown, f"{answer.unknown[0]} is not in the catalog"
    for number in numbers:
        found = answer.replicas[world.lfn(number)]
        assert (found.size, found.pfns) == (world.size(number), [world.pfn(number)]), number


def _scale(scale: Scale) -> str:
    return f"{scale.names:,} mappings"


if __name__ == "__main__":
    run("Lookups at a catalog.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
