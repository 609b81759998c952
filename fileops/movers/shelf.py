"""All movers that a service has, by the protocol of the doors that they go through."""

from __future__ import annotations

from collections.abc import Mapping

from fileops.movers.fsspec_store import FsspecMover
from fileops.movers.fts import Fts3
from fileops.movers.gfal import GfalMover
from fileops.movers.memory import MemoryMover
from fileops.movers.mover import Mover
from fileops.movers.posix import PosixMover
from fileops.movers.web import Web
from fileops.movers.webdav import WebdavMover
from fileops.movers.xrootd import XrootdMover
from fileops.settings import Fts3Settings
from reploc.security.credentials import Credentials


def made(credentials: Credentials | None = None) -> dict[str, Mover]:
    """Every mover; `credentials` are shown at doors that speak HTTP."""
    return {
        "posix": PosixMover(),
        "memory": MemoryMover(),
        "webdav": WebdavMover(Web(credentials)),
        "xrootd": XrootdMover(),
        "gfal": GfalMover(),
        "fsspec": FsspecMover(),
    }


def delegated(settings: Fts3Settings, credentials: Credentials) -> Fts3 | None:
    """The FTS3 server that copies are delegated to, where one is named."""
    if not settings.url:
        return None
    return Fts3(
        settings.url,
        Web(credentials),
        proxy=settings.proxy,
        token=settings.token,
        files_max=settings.files_max,
        poll_s=settings.poll_s,
    )


async def closed(movers: Mapping[str, Mover]) -> None:
    """Closes them all."""
    for mover in movers.values():
        await mover.close()
