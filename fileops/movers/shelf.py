"""All movers that a service has, by the protocol of the doors that they go through."""

from __future__ import annotations

from collections.abc import Mapping

from fileops.movers.memory import MemoryMover
from fileops.movers.mover import Mover
from fileops.movers.posix import PosixMover
from fileops.movers.web import Web
from fileops.movers.webdav import WebdavMover
from fileops.movers.xrootd import XrootdMover
from reploc.security.credentials import Credentials


def made(credentials: Credentials | None = None) -> dict[str, Mover]:
    """Every mover; `credentials` are shown at doors that speak HTTP."""
    return {
        "posix": PosixMover(),
        "memory": MemoryMover(),
        "webdav": WebdavMover(Web(credentials)),
        "xrootd": XrootdMover(),
    }


async def closed(movers: Mapping[str, Mover]) -> None:
    """Closes them all."""
    for mover in movers.values():
        await mover.close()
