"""A client of the RLS port that knows nothing of reploc: it sends tokens, and reads replies as their methods end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

#: Methods whose success has no body, and those with a fixed number of values; all others answer a list.
BARE = {
    "admin", "lrc_create", "lrc_add", "lrc_delete", "lrc_clear", "lrc_exists", "lrc_mapping_exists", "lrc_renamelfn",
    "lrc_renamepfn", "lrc_attr_create", "lrc_attr_delete", "lrc_attr_add", "lrc_attr_modify", "lrc_attr_remove",
    "set_configuration", "lrc_rli_add", "lrc_rli_delete",
    "rli_exists", "rli_mapping_exists", "rli_update", "rli_updatebf",
}  # fmt: skip
VALUES = {"stats": 12, "lrc_rli_info": 4}
#: Tokens of one entry of a list, where they are not two.
ENTRY = {"lrc_create_bulk": 3, "lrc_add_bulk": 3, "lrc_delete_bulk": 3, "lrc_renamelfn_bulk": 3}
ENTRY |= {"lrc_attr_value_get": 3, "lrc_attr_search": 3, "lrc_attr_add_bulk": 3, "lrc_attr_remove_bulk": 3}
ENTRY |= {"lrc_renamepfn_bulk": 3, "lrc_rli_list": 4, "rli_exists_bulk": 2}


class RlsClient:
    """One connection, after its greeting."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def token(self) -> str:
        return (await asyncio.wait_for(self.reader.readuntil(b"\0"), 20))[:-1].decode()

    def send(self, *tokens: str | bytes) -> None:
        self.writer.write(b"".join((one.encode() if isinstance(one, str) else one) + b"\0" for one in tokens))

    async def ask(self, method: str, *parameters: str, items: Sequence[str] | None = None) -> tuple[int, list[str]]:
        """(code, tokens behind it); of a list all tokens up to its end."""
        self.send(method, *parameters, *(() if items is None else (*items, "")))
        return await self.reply(method)

    async def reply(self, method: str) -> tuple[int, list[str]]:
        code = int(await self.token())
        if code:
            return code, [await self.token()]
        if method in BARE:
            return 0, []
        if count := VALUES.get(method):
            return 0, [await self.token() for _ in range(count)]
        found: list[str] = []
        while first := await self.token():
            if method == "lrc_attr_value_get_bulk":
                found += [first, *[await self.token() for _ in range(4 if first == "0" else 2)]]
                continue
            missed = method.endswith("_bulk") and first in ("12", "14") and method not in ENTRY
            size = 2 if missed else 3 if method.endswith("_bulk") and method not in ENTRY else ENTRY.get(method, 2)
            found += [first, *[await self.token() for _ in range(size - 1)]]
        return 0, found

    async def at_end(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 20) == b""


@asynccontextmanager
async def connected(url: str, greeting: str = "0") -> AsyncIterator[RlsClient]:
    host, port = url.removeprefix("rlsn://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    client = RlsClient(reader, writer)
    try:
        assert await client.token() == greeting
        yield client
    finally:
        writer.close()
        await asyncio.wait({asyncio.ensure_future(writer.wait_closed())}, timeout=20)
