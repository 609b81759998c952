"""All movers that there are, by the protocol of the doors that they go through."""

from __future__ import annotations

from collections.abc import Mapping

from reploc.security.credentials import Credentials
from reploc.storage.fsspec_store import FsspecMover
from reploc.storage.gfal import GfalMover
from reploc.storage.mover import Mover
from reploc.storage.posix import PosixMover
from reploc.storage.web import Web
from reploc.storage.webdav import WebdavMover
from reploc.storage.xrootd import XrootdMover


def made(credentials: Credentials | None = None) -> dict[str, Mover]:
    """Every mover but that of `memory`, whose files go with the process: who measures or tests brings it along.

    `credentials` are shown at doors that speak HTTP.
    """
    return {
        "posix": PosixMover(),
        "webdav": WebdavMover(Web(credentials)),
        "xrootd": XrootdMover(),
        "gfal": GfalMover(),
        "fsspec": FsspecMover(),
    }


async def closed(movers: Mapping[str, Mover]) -> None:
    """Closes them all."""
    for mover in movers.values():
        await mover.close()
