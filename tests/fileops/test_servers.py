"""The movers of real servers: an XRootD server that speaks root:// and HTTP with third-party copies."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
import xrootd
from suites.movers import MoverSuite
from xrootd import XrootdServer

from fileops.movers.mover import Mover
from fileops.movers.web import Web
from fileops.movers.webdav import WebdavMover
from fileops.movers.xrootd import XrootdMover

_folders = count()


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    with xrootd.running() as (one,):
        yield one


class TestWebdav(MoverSuite):
    @pytest.fixture
    async def mover(self) -> AsyncIterator[Mover]:
        mover = WebdavMover(Web())
        yield mover
        await mover.close()

    @pytest.fixture
    def storage(self, server: XrootdServer) -> str:
        return f"{server.http}/webdav-{next(_folders)}".replace("http:", "dav:")


class TestXrootd(MoverSuite):
    many = 3  # the client looks for the end of a copy every 2.5 s

    @pytest.fixture
    def mover(self) -> Mover:
        return XrootdMover()

    @pytest.fixture
    def storage(self, server: XrootdServer) -> str:
        return f"{server.root}/xrootd-{next(_folders)}"
