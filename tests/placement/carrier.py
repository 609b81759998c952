"""A carrier in the place of file operations: it does at the catalogs, and nowhere else, what placement orders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from reploc.client.lrc import LrcClient
from reploc.client.transport import HttpTransport, Request
from reploc.orders import BlockOrder, Order, OrderReport, OrderReports, Orders
from reploc.wire import Answer, DeleteItem, MappingItem


class Carrier:
    """Reads the feed from where it left it, registers and removes mappings, and reports with positions."""

    def __init__(self, url: str, catalogs: Mapping[str, str]) -> None:
        self._url = url
        self._catalogs = catalogs
        self._after = 0

    async def work(self) -> int:
        """Carries out what is new; how many orders."""
        transport = HttpTransport()
        done = 0
        try:
            while True:
                page = await self._ask(
                    transport, Request("GET", self._url, "/v1/orders", Orders, {"after": f"{self._after}"})
                )
                for order in page.orders:
                    if order.state == "new":
                        position = await self._carry(order)
                        report = OrderReport(order.id, "done", position=position)
                        body = OrderReports((report,))
                        await self._ask(transport, Request("POST", self._url, "/v1/orders/progress", Answer, body=body))
                        done += 1
                if not page.orders:
                    return done
                self._after = page.next
        finally:
            await transport.close()

    async def _ask(self, transport: HttpTransport, request: Request):  # type: ignore[no-untyped-def, type-arg]
        return await transport.ask(request, asyncio.get_running_loop().time() + 10.0)

    async def _carry(self, order: Order) -> int:
        position = 0
        for block in order.blocks:
            position = max(position, await (self._copy if order.kind == "copy" else self._delete)(order.site, block))
        return position

    async def _copy(self, site: str, block: BlockOrder) -> int:
        async with LrcClient(self._catalogs[block.sources[0]]) as source, LrcClient(self._catalogs[site]) as here:
            copies = [
                MappingItem(file.lfn, f"file:///{site}{file.lfn}", file.size, file.checksum, block.name)
                async for file in source.collection_files(block.name)
            ]
            return (await here.put(copies)).position

    async def _delete(self, site: str, block: BlockOrder) -> int:
        async with LrcClient(self._catalogs[site]) as here:
            files = [file async for file in here.collection_files(block.name)]
            return (await here.delete([DeleteItem(file.lfn) for file in files])).position
