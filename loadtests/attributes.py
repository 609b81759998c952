"""Attributes of LFNs, beside a PostgreSQL table of values: set in bulk, read for many names, and searched by value.

    python -m loadtests.attributes [--quick] [--names N]

Every file of a catalog gets a whole number that needs more than 32 bits; the order in which they come is drawn. Both
servers are asked by one client of prebuilt bytes (`exchange.py`), and every answer is checked once. They do not promise
the same: our catalog refuses a value of a name that it does not hold, counts values and knows the least and the
greatest; the table has values alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from loadtests import postgres, servers, world
from loadtests.exchange import MSGPACK, Answered, Load, exchanged, post
from loadtests.figure import Figure, Result, shown
from loadtests.program import Scale, run, workspace
from loadtests.stores import copied
from reploc.attributes import AttributeItem, DefineBody, SearchBody, SearchPage, SetBody, SetItem, Values, ValuesBody
from reploc.wire import Written

POSTGRES = "PostgreSQL table"
DEFINE = Figure("attributes, 100 defined per request", "definitions/s", "more")
SET = Figure("attributes, durable set of 1,000 values per request, 4 clients", "values/s", "more", peer=POSTGRES)
READ = Figure("attributes, values of 1,000 LFNs per request, 4 clients", "LFN/s", "more", peer=POSTGRES)
RANGE = Figure("attributes, the first 1,000 LFNs of a range of values, 4 clients", "LFN/s", "more", peer=POSTGRES)
EXACT = Figure("attributes, the LFN of one value, 32 clients", "requests/s", "more", peer=POSTGRES)

NAMES, QUICK_NAMES, TOY_NAMES = 1_000_000, 100_000, 5_000
RUN_S, QUICK_RUN_S, TOY_RUN_S = 3.0, 1.0, 0.2
BATCH = 1_000
CLIENTS, EXACT_CLIENTS = 4, 32
#: Different questions of many names, of ranges, and of one value.
BATCHES, TOY_BATCHES = 64, 4
EXACTS, TOY_EXACTS = 20_000, 500
DEFINED = 100
SIZE = "size"
FIRST = 1 << 40

TABLE = (
    "CREATE TABLE value (attribute int, lfn text, value bigint, PRIMARY KEY (attribute, lfn))",
    "CREATE INDEX ON value (attribute, value, lfn)",
)
STATEMENTS = {
    "set": "INSERT INTO value SELECT 1, lfn, given::bigint FROM unnest($1::text[], $2::text[]) AS new (lfn, given) "
    "ON CONFLICT (attribute, lfn) DO UPDATE SET value = excluded.value",
    "read": "SELECT lfn, value FROM value WHERE attribute = 1 AND lfn = ANY($1::text[])",
    "range": "SELECT lfn, value FROM value WHERE attribute = 1 AND value BETWEEN $1::bigint AND $2::bigint "
    "ORDER BY value, lfn LIMIT 1000",
}


def value_of(number: int) -> int:
    """The value of a file."""
    return FIRST + 3 * number


@dataclass(frozen=True)
class Server:
    """A running server of either kind: loads that tell or ask it. `found` reads the files of an answer to a search, or
    of one about many names, as pairs of LFN and value."""

    put: Callable[[Sequence[Sequence[int]]], Load]
    read: Callable[[Sequence[Sequence[int]]], Load]
    search: Callable[[Sequence[tuple[int, int]], int], Load]
    found: Callable[[bytes], dict[str, int]]
    done: Callable[[bytes], bool]


@dataclass(frozen=True)
class Measured:
    """Rates of each run, and what is to be said of server and client."""

    rates: tuple[float, ...]
    note: str


def measure(scale: Scale) -> Iterator[Result]:
    """Ours beside the table. Raises PeerMissing behind ours."""
    what = f"{scale.names:,} values"
    with workspace() as folder:
        store = copied(scale, folder)
        with servers.running(servers.catalog(folder, "site-a", store, servers.index_of(1))) as server:
            yield Result(DEFINE, f"{DEFINED} at a time", tuple(_defined(server.port, scale)))
            ours = dict(_measured(_ours(server.port, server.pid), scale))
    with postgres.running() as table:
        table.do(*TABLE)
        theirs = dict(_measured(_postgres(table), scale))
    for figure, mine in ours.items():
        other = theirs[figure]
        note = f"ours: {mine.note}; {POSTGRES}: synced too, names not checked, nothing counted; {other.note}"
        yield Result(figure, what, mine.rates, Result(figure, what, other.rates).value, note)


def _measured(server: Server, scale: Scale) -> Iterator[tuple[Figure, Measured]]:
    rng = random.Random(scale.seed)
    order = rng.sample(range(scale.names), scale.names)
    parts = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    each = max(1, len(parts) // scale.runs)
    runs = []
    for at in range(0, each * scale.runs, each):
        runs.append(exchanged(server.put(parts[at : at + each]), keep=True))
        assert all(server.done(body) for body in runs[-1].bodies)
    rest = parts[each * scale.runs :]
    if rest:
        exchanged(server.put(rest))
    yield SET, _said(runs, BATCH)
    count = scale.of(BATCHES, BATCHES, TOY_BATCHES)
    asked = [rng.sample(range(scale.names), BATCH) for _ in range(count)]
    yield READ, _asked(server, server.read(asked), asked, scale, BATCH)
    starts = [rng.randrange(scale.names - BATCH) for _ in range(count)]
    ranges = [(start, scale.names - 1) for start in starts]
    first = [range(start, start + BATCH) for start in starts]
    yield RANGE, _asked(server, server.search(ranges, CLIENTS), first, scale, BATCH)
    ones = [rng.randrange(scale.names) for _ in range(scale.of(EXACTS, EXACTS, TOY_EXACTS))]
    single = server.search([(one, one) for one in ones], EXACT_CLIENTS)
    yield EXACT, _asked(server, single, [[one] for one in ones], scale, 1)


def _asked(server: Server, load: Load, expected: Sequence[Sequence[int]], scale: Scale, each: int) -> Measured:
    for numbers, body in zip(expected, exchanged(load, keep=True).bodies, strict=True):
        assert server.found(body) == {world.lfn(number): value_of(number) for number in numbers}
    timed = replace(load, seconds=scale.of(RUN_S, QUICK_RUN_S, TOY_RUN_S))
    return _said([exchanged(timed) for _ in range(scale.runs)], each)


def _said(runs: list[Answered], each: int) -> Measured:
    seconds, answers = sum(one.seconds for one in runs), sum(one.answers for one in runs)
    used = servers.shared(sum(one.server_s for one in runs), seconds, answers * each)
    p99 = max(one.p99_ms for one in runs)
    client = max(one.client for one in runs)
    return Measured(tuple(one.rate * each for one in runs), f"p99 {shown(p99)} ms, {used}, client {client:.0%}")


# ---- ours ------------------------------------------------------------------------------------------------------------


def _defined(port: int, scale: Scale) -> Iterator[float]:
    """The rate of defining a hundred more, and the one that is used."""
    for number in range(scale.runs):
        names = [SIZE] if number == 0 else []
        names += [f"attribute-{number}-{one}" for one in range(DEFINED - len(names))]
        body = DefineBody([AttributeItem("lfn", name, "int") for name in names])
        answered = exchanged(Load(port, [_packed("/v1/attributes/define", body)], 1), keep=True)
        assert msgspec.msgpack.decode(answered.bodies[0], type=Written).done == DEFINED
        yield answered.rate * DEFINED


def _ours(port: int, pid: int) -> Server:
    def load(requests: list[bytes], clients: int) -> Load:
        return Load(port, requests, clients, server=pid)

    def put(numbers: Sequence[int]) -> bytes:
        return _packed(
            "/v1/attributes/set", SetBody("lfn", [SetItem(world.lfn(one), SIZE, value_of(one)) for one in numbers])
        )

    def found(body: bytes) -> dict[str, int]:
        said = msgspec.msgpack.decode(body)
        if "found" in said:
            return {one.name: int(one.value) for one in msgspec.msgpack.decode(body, type=SearchPage).found}
        values = msgspec.msgpack.decode(body, type=Values).values
        return {name: int(of[SIZE]) for name, of in values.items()}

    def search(first: int, last: int) -> bytes:
        body = SearchBody("lfn", SIZE, "between", value_of(first), value_of(last), limit=BATCH)
        return _packed("/v1/attributes/search", body)

    return Server(
        put=lambda parts: load([put(part) for part in parts], CLIENTS),
        read=lambda parts: load(
            [
                _packed("/v1/attributes/values", ValuesBody("lfn", [world.lfn(one) for one in part], SIZE))
                for part in parts
            ],
            CLIENTS,
        ),
        search=lambda ranges, clients: load([search(*each) for each in ranges], clients),
        found=found,
        done=lambda body: msgspec.msgpack.decode(body, type=Written).done == BATCH,
    )


def _packed(path: str, body: msgspec.Struct) -> bytes:
    return post(path, msgspec.msgpack.encode(body), MSGPACK)


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


def _postgres(table: postgres.Postgres) -> Server:
    put, read, between = (postgres.prepare(name, text) for name, text in STATEMENTS.items())

    def texts(numbers: Sequence[int], of: Callable[[int], object]) -> bytes:
        return postgres.texts([str(of(number)) for number in numbers])

    return Server(
        put=lambda parts: table.load(
            [postgres.execute("set", texts(part, world.lfn), texts(part, value_of), binary=True) for part in parts],
            CLIENTS,
            put,
        ),
        read=lambda parts: table.load(
            [postgres.execute("read", texts(part, world.lfn), binary=True) for part in parts], CLIENTS, read
        ),
        search=lambda ranges, clients: table.load(
            [postgres.execute("range", *(str(value_of(one)).encode() for one in each)) for each in ranges],
            clients,
            between,
        ),
        found=lambda body: {row[0].decode(): int(row[1]) for row in postgres.rows(body)},
        done=lambda body: b"INSERT 0 %d\0" % BATCH in body,
    )


if __name__ == "__main__":
    run("Attributes beside PostgreSQL.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
