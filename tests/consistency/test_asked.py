"""What the checker asks of others: operations under way and files of open blocks are not judged."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from planted import Planted, planted

from consistency import running
from consistency.carriers import Carriers, OpenBlocks
from reploc.actions import Action
from reploc.demo.ports import free_port
from reploc.orders import BlockFile, BlockFiles, BlockFilesQuery
from reploc.routes import Call, Route, get
from reploc.service import Daemon, DaemonSettings, listening
from reploc.telemetry import Metrics
from reploc.wire import Answer, Body


class Operation(Answer, frozen=True):
    lfn: str


class Operations(Answer, frozen=True):
    operations: list[Operation]
    next: int | None = None


class OperationsQuery(Body, frozen=True):
    site: str
    state: str
    after: int = 0


class Row(Answer, frozen=True):
    name: str
    is_open: bool
    last_update: int = 0


class Datasets(Answer, frozen=True):
    datasets: list[Row]
    next: str | None = None


class DatasetsQuery(Body, frozen=True):
    after: str | None = None


class DatasetQuery(Body, frozen=True):
    name: str


class Replica(Answer, frozen=True):
    block: str
    site: str


class Dataset(Answer, frozen=True):
    replicas: list[Replica]


NOW = int(time.time())


def routes() -> list[Route[Any]]:
    """File operations with one waiting operation a page, and placement with datasets open and closed, old and new."""

    async def operations(call: Call[OperationsQuery]) -> Operations:
        waiting = ["/a/arriving", "/a/leaving"] if call.what.state == "waiting" else []
        at = call.what.after
        return Operations([Operation(lfn) for lfn in waiting[at : at + 1]], at + 1 if at + 1 < len(waiting) else None)

    async def datasets(call: Call[DatasetsQuery]) -> Datasets:
        if call.what.after is None:
            return Datasets([Row("/closed", False, NOW), Row("/old", True, 1)], "/old")
        return Datasets([Row("/open", True, NOW)])

    async def dataset(call: Call[DatasetQuery]) -> Dataset:
        assert call.what.name == "/open"
        return Dataset([Replica("/open#1", "a"), Replica("/open#1", "b")])

    async def files(call: Call[BlockFilesQuery]) -> BlockFiles:
        assert call.what.name == "/open#1"
        return BlockFiles((BlockFile("/a/growing", 1),))

    public = Action.PUBLIC
    return [
        get("/v1/operations", operations, OperationsQuery, "Operations", action=public),
        get("/v1/datasets", datasets, DatasetsQuery, "Datasets", action=public),
        get("/v1/dataset", dataset, DatasetQuery, "A dataset", action=public),
        get("/v1/block/files", files, BlockFilesQuery, "Files", action=public),
    ]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    settings = DaemonSettings(listen=f"127.0.0.1:{free_port()}")
    async with listening(Daemon("others", routes(), Metrics()), settings) as found:
        yield found


async def test_all_operations_under_way_and_all_files_of_young_open_datasets_are_told(url: str):
    async with Carriers(url) as carriers, OpenBlocks(url) as blocks:
        assert [lfn async for lfn in carriers.under_way("site")] == ["/a/arriving", "/a/leaving"]
        assert [lfn async for lfn in blocks.lfns(NOW - 100)] == ["/a/growing"]


async def test_what_others_are_working_on_is_not_judged(url: str, tmp_path: Path):
    async with planted(tmp_path, fileops=url, placement=url, grace_age_s=0.0) as site:
        await made(site)
        async with running.opening(site.settings, "site") as opening:
            report = await running.checked(opening, lambda *_: None)
        assert report.state == "done", report.reasons
        assert report.tally.kinds["busy"].files == 3
        assert site.found(report.run) == site.expected


async def test_doors_and_catalog_are_shown_the_token_of_who_checks(tmp_path: Path):
    shown: list[str | None] = []

    async def listed(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        return web.Response(status=403)

    app = web.Application()
    app.router.add_route("PROPFIND", "/{path:.*}", listed)
    (tmp_path / "token").write_text("of-the-checker", encoding="utf-8")
    async with TestServer(app) as storage, planted(tmp_path) as site:
        await site.hold({"/a/f": b"1"})
        config = tmp_path / "settings.toml"
        config.write_text(
            f"""
state = "{site.settings.state}"
database = "{site.settings.database}"
[[sites]]
name = "site"
lrc = "{site.site.lrc}"
[[sites.doors]]
protocol = "webdav"
url = "dav://127.0.0.1:{storage.port}"
""",
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "reploc", "consistency", "check", "site", "--config", str(config)]
        environ = {**os.environ, "BEARER_TOKEN_FILE": str(tmp_path / "token")}
        ended = await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 3, ended.stderr  # nothing could be listed
    assert shown
    assert set(shown) == {"Bearer of-the-checker"}


async def made(site: Planted) -> None:
    """A good file, and one each that arrives, leaves and belongs to an open block."""
    await site.hold({"/a/f": b"1"})
    for path in (b"/a/arriving", b"/a/growing"):
        site.write(path, b"1", mtime=1_000_000)
    await site.register({"/a/leaving": b"1"})
