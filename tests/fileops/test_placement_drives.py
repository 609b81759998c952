"""The real placement service, hearing the real index, drives file operations on real files, and hears of them."""

from __future__ import annotations

from pathlib import Path

from carried import adler32
from grid import Service, grid, until

import fileops.server
import placement.server
from fileops.settings import FileopsSettings
from placement.client import PlacementClient
from placement.messages import GroupItem, InjectBody, SiteItem, WishItem
from placement.settings import PlacementSettings
from reploc.client.lrc import LrcClient
from reploc.demo.ports import free_port
from reploc.errors import DefinitionUnknown
from reploc.sites import Door, Site
from reploc.wire import MappingItem

FILES = {f"/store/f{number}": bytes([number]) * 1_000 for number in range(5)}


async def test_orders_become_files_and_the_news_of_them_ends_the_orders(tmp_path: Path) -> None:
    async with grid(tmp_path, 2) as held:
        sites = []
        for name in ("T1", "T2"):
            site, root = await held.site(name), tmp_path / f"{name}-storage"
            root.mkdir()
            sites.append(Site(name=name, lrc=site.url, doors=[Door(protocol="posix", url=root.as_uri())]))
        items = []
        for lfn, data in FILES.items():
            path = tmp_path / f"T1-storage{lfn}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            items.append(MappingItem(lfn, path.as_uri(), len(data), adler32(data), "/a#1"))
        async with LrcClient(sites[0].lrc) as catalog:
            assert (await catalog.put(items)).errors == []
        address = f"127.0.0.1:{free_port()}"
        told = PlacementSettings(
            listen=address,
            database=f"sqlite:///{tmp_path / 'placement.db'}",
            pull_interval_s=0.1,
            max_observation_age=30.0,
            index=held.index,
        )
        carried = FileopsSettings(
            listen=f"127.0.0.1:{free_port()}",
            journal=f"sqlite:///{tmp_path / 'journal.db'}",
            placement=f"http://{address}",
            poll_s=0.1,
            sites=sites,
        )
        services = [
            Service(placement.server.compose, told, f"http://{address}"),
            Service(fileops.server.compose, carried, f"http://{carried.listen}"),
        ]
        try:
            await services[0].start()
            async with PlacementClient(services[0].url) as client:
                await client.inject(
                    InjectBody(sites=[SiteItem(site=site) for site in sites], groups=[GroupItem(name="physics")])
                )
                await services[1].start()
                await _driven(client, tmp_path)
        finally:
            for service in reversed(services):
                await service.stop()


async def _driven(client: PlacementClient, tmp_path: Path) -> None:
    async def where() -> set[str]:
        try:
            told = await client.dataset("/a")
        except DefinitionUnknown:
            return set()
        return {each.site for each in told.replicas if each.files == len(FILES) and each.complete}

    await until(where, lambda seen: seen == {"T1"}, "the inventory has it")
    await client.order([WishItem("copy", "/a", "T2", "physics")])
    await until(where, lambda seen: seen == {"T1", "T2"}, "the copy is seen")
    assert all((tmp_path / f"T2-storage{lfn}").read_bytes() == data for lfn, data in FILES.items())
    await until(client.status, lambda status: status.pending_orders == 0, "the copy is observed")
    await client.order([WishItem("delete", "/a", "T1")])
    await until(where, lambda seen: seen == {"T2"}, "the deletion is seen")
    await until(client.status, lambda status: status.pending_orders == 0, "the deletion is observed")
    assert not list((tmp_path / "T1-storage").iterdir())
    history = await client.order_history()
    assert {(order.kind, order.state) for order in history.orders} == {("copy", "done"), ("delete", "done")}
