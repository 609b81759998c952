"""A process that writes to a catalog until it is killed, and says on standard output what has been acknowledged.

    python crash_child.py STORE FIRST CLIENTS

Each of several clients puts the files of one step after the other, in one atomic request each, and takes back those of
the step three before. A line `put CLIENT STEP` or `del CLIENT STEP` follows each answer.
"""

import asyncio
import os
import sys

from lrc.catalog import Catalog
from lrc.writer import Writer
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody

FILES_PER_STEP = 5
#: A step's files are taken back this many steps later.
KEPT_STEPS = 3


def files_of(client: int, step: int) -> list[str]:
    return [f"/client-{client}/step-{step:06}/file-{number}" for number in range(FILES_PER_STEP)]


def collection_of(client: int) -> str:
    return f"/client-{client}"


def say(what: str, client: int, step: int) -> None:
    os.write(sys.stdout.fileno(), f"{what} {client} {step}\n".encode())


async def run_client(writer: Writer, client: int, first: int) -> None:
    step = first
    while True:
        items = [MappingItem(lfn, "file://" + lfn, 10, None, collection_of(client)) for lfn in files_of(client, step)]
        answer = await writer.submit(MappingsBody("create", items, atomic=True))
        assert answer.done == FILES_PER_STEP, answer
        say("put", client, step)
        if step - first >= KEPT_STEPS:
            old = step - KEPT_STEPS
            await writer.submit(DeleteBody([DeleteItem(lfn) for lfn in files_of(client, old)], atomic=True))
            say("del", client, old)
        step += 1


async def main(path: str, first: int, clients: int) -> None:
    with Catalog.open(path) as catalog:
        async with Writer(catalog) as writer:
            await asyncio.gather(*(run_client(writer, client, first) for client in range(clients)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
