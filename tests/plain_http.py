"""An HTTP client that knows nothing of reploc: it sends what it is told, and hands back what came."""

import asyncio
import json
from typing import Any

import aiohttp
import msgspec
from yarl import URL

JSON = "application/json"
MSGPACK = "application/msgpack"


async def ask(
    url: str,
    *,
    method: str = "GET",
    body: Any = None,
    data: bytes | None = None,
    media: str = JSON,
    accept: str = JSON,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """(status, decoded answer); `url` is sent as it stands, `body` is encoded as `media` says, `data` is sent raw."""
    if body is not None:
        data = msgspec.msgpack.encode(body) if media == MSGPACK else json.dumps(body).encode()
    sent = {"Accept": accept, **({} if data is None else {"Content-Type": media}), **(headers or {})}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            "POST" if data is not None else method, URL(url, encoded=True), data=data, headers=sent
        ) as response,
    ):
        return response.status, decoded(await response.read(), response.content_type)


def decoded(raw: bytes, media: str) -> Any:
    """JSON and MessagePack as plain values, NDJSON as a list of them, anything else as bytes."""
    if media == MSGPACK:
        return msgspec.msgpack.decode(raw)
    if media == "application/x-ndjson":
        return [json.loads(line) for line in raw.splitlines()]
    return json.loads(raw) if media.endswith("json") else raw


async def raw(url: str, data: bytes) -> bytes:
    """What comes back over a plain connection to which these bytes are written, up to the end of the headers."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    finally:
        writer.close()
        await writer.wait_closed()


async def broken_off(url: str, data: bytes) -> None:
    """Sends these bytes and goes away without waiting for an answer."""
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
