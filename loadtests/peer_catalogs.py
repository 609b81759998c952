"""The catalogs that are compared: ours, a PostgreSQL table and Redis hashes, each asked and told the same.

The table has keys for the questions that a catalog answers: by LFN, by PFN, by collection. The hashes have one LFN's
PFNs each, with what belongs to the LFN, and answer by LFN alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtests import postgres, redis, servers, world
from loadtests.exchange import MSGPACK, Answered, Load, exchanged, get, post
from loadtests.lrc_writes import require_done
from loadtests.program import Scale, said
from loadtests.servers import Server
from loadtests.stores import copied
from reploc.wire import LfnsBody, MappingsBody, Replicas

BATCH = 1_000
FIND_CLIENTS, FIND_MANY_CLIENTS, ADD_CLIENTS, ADD_MANY_CLIENTS = 32, 4, 64, 4
#: Mappings in one request while a peer is filled.
FILL_BATCH = 5_000

TABLE = (
    "CREATE TABLE mapping (lfn text, pfn text, size bigint, checksum text, collection text, PRIMARY KEY (lfn, pfn))",
    "CREATE INDEX ON mapping (pfn)",
    "CREATE INDEX ON mapping (collection)",
)
STATEMENTS = {
    "find": "SELECT pfn, size, checksum, collection FROM mapping WHERE lfn = $1",
    "find_many": "SELECT lfn, pfn, size, checksum, collection FROM mapping WHERE lfn = ANY($1::text[])",
    "add": "INSERT INTO mapping VALUES ($1, $2, $3, $4, $5)",
}


@dataclass(frozen=True)
class Catalog:
    """A running catalog of any kind: loads that ask it for numbers, or register them.

    `held` is how many mappings an answer says that it found, or has made; it raises where one is not right.
    """

    find: Callable[[Sequence[int]], Load]
    find_many: Callable[[Sequence[list[int]]], Load]
    add: Callable[[Sequence[int]], Load]
    add_many: Callable[[Sequence[range]], Load]
    held: Callable[[bytes, Sequence[int]], int]
    added: Callable[[Answered, int], None]


Running = Callable[[Scale, Path], AbstractContextManager[Catalog]]


def parts(first: int, end: int, size: int) -> list[range]:
    """Ranges of so many numbers, the last of what is left."""
    return [range(start, min(start + size, end)) for start in range(first, end, size)]


# ---- ours ------------------------------------------------------------------------------------------------------------


@contextmanager
def ours(scale: Scale, folder: Path) -> Iterator[Catalog]:
    store = copied(scale, folder)
    with servers.running(servers.catalog(folder, "site-a", store, servers.index_of(1))) as server:
        yield _ours_at(server)


def _ours_at(server: Server) -> Catalog:
    pack = msgspec.msgpack.encode

    def load(requests: list[bytes], clients: int) -> Load:
        return Load(server.port, requests, clients, server=server.pid)

    def found_many(numbers: list[int]) -> bytes:
        return post("/v1/replicas", pack(LfnsBody([world.lfn(one) for one in numbers])), MSGPACK)

    def added_many(numbers: range) -> bytes:
        body = MappingsBody("create", [world.mapping(number) for number in numbers])
        return post("/v1/mappings", pack(body), MSGPACK)

    def held(body: bytes, numbers: Sequence[int]) -> int:
        if len(numbers) == 1:
            return int(msgspec.json.decode(body)["pfns"] == [world.pfn(numbers[0])])
        found = msgspec.msgpack.decode(body, type=Replicas).replicas
        return sum(found[world.lfn(number)].pfns == [world.pfn(number)] for number in numbers)

    return Catalog(
        find=lambda numbers: load([get(f"/v1/replicas?lfn={world.lfn(one)}") for one in numbers], FIND_CLIENTS),
        find_many=lambda batches: load([found_many(batch) for batch in batches], FIND_MANY_CLIENTS),
        add=lambda numbers: load([post("/v1/mappings", world.registration(one)) for one in numbers], ADD_CLIENTS),
        add_many=lambda parts: load([added_many(part) for part in parts], ADD_MANY_CLIENTS),
        held=held,
        added=require_done,
    )


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


@contextmanager
def postgres_table(scale: Scale, _: Path) -> Iterator[Catalog]:
    with postgres.running() as server:
        server.do(*TABLE)
        said(f"filling a PostgreSQL table with {scale.names:,} mappings")
        filling = parts(0, scale.names, FILL_BATCH)
        exchanged(server.load([_copied(part) for part in filling], 2))
        server.do("VACUUM ANALYZE mapping", "CHECKPOINT")
        yield _postgres_at(server)


def _postgres_at(server: postgres.Postgres) -> Catalog:
    find, find_many, add = (postgres.prepare(name, text) for name, text in STATEMENTS.items())

    def found(numbers: Sequence[int]) -> Load:
        asked = [postgres.execute("find", world.lfn(number).encode()) for number in numbers]
        return server.load(asked, FIND_CLIENTS, find)

    def found_many(batches: Sequence[list[int]]) -> Load:
        names = ([world.lfn(number) for number in batch] for batch in batches)
        asked = [postgres.execute("find_many", postgres.texts(batch), binary=True) for batch in names]
        return server.load(asked, FIND_MANY_CLIENTS, find_many)

    def held(body: bytes, numbers: Sequence[int]) -> int:
        right = {world.pfn(number).encode() for number in numbers}
        return sum(row[-4] in right for row in postgres.rows(body))

    def added(answered: Answered, each: int) -> None:
        said_so = b"COPY %d\0" % each if each > 1 else b"INSERT 0 1\0"
        assert all(said_so in body for body in answered.bodies)

    return Catalog(
        find=found,
        find_many=found_many,
        add=lambda numbers: server.load(
            [postgres.execute("add", *(column.encode() for column in _columns(one))) for one in numbers],
            ADD_CLIENTS,
            add,
        ),
        add_many=lambda parts: server.load([_copied(part) for part in parts], ADD_MANY_CLIENTS),
        held=held,
        added=added,
    )


def _copied(numbers: range) -> bytes:
    return postgres.copy_in("mapping", ("\t".join(_columns(number)) for number in numbers))


def _columns(number: int) -> tuple[str, ...]:
    one = world.mapping(number)
    return one.lfn, one.pfn, str(one.size), str(one.checksum), str(one.collection)


# ---- Redis -----------------------------------------------------------------------------------------------------------


@contextmanager
def redis_hashes(scale: Scale, _: Path) -> Iterator[Catalog]:
    with redis.running() as server:
        said(f"filling a Redis with {scale.names:,} mappings")
        filling = parts(0, scale.names, FILL_BATCH)
        requests = [b"".join(map(_set, part)) for part in filling if len(part) == FILL_BATCH]
        exchanged(server.load(requests, 2, FILL_BATCH))
        rest = [_set(number) for number in range(len(requests) * FILL_BATCH, scale.names)]
        if rest:
            exchanged(server.load(rest, 2, 1))
        yield _redis_at(server)


def _redis_at(server: redis.Redis) -> Catalog:
    def asked(numbers: Sequence[int]) -> bytes:
        return b"".join(redis.command("HGETALL", world.lfn(number)) for number in numbers)

    def held(body: bytes, numbers: Sequence[int]) -> int:
        pairs = zip(redis.replies(body), numbers, strict=True)
        return sum(reply == [world.pfn(number).encode(), _value(number).encode()] for reply, number in pairs)

    def added(answered: Answered, each: int) -> None:
        assert all(redis.replies(body) == [1] * each for body in answered.bodies)

    return Catalog(
        find=lambda numbers: server.load([asked([one]) for one in numbers], FIND_CLIENTS, 1),
        find_many=lambda batches: server.load([asked(batch) for batch in batches], FIND_MANY_CLIENTS, BATCH),
        add=lambda numbers: server.load([_set(one) for one in numbers], ADD_CLIENTS, 1),
        add_many=lambda parts: server.load([b"".join(map(_set, part)) for part in parts], ADD_MANY_CLIENTS, BATCH),
        held=held,
        added=added,
    )


def _set(number: int) -> bytes:
    return redis.command("HSET", world.lfn(number), world.pfn(number), _value(number))


def _value(number: int) -> str:
    return " ".join(_columns(number)[2:])
