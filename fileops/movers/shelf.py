"""All movers that a service has, by protocol, made from its settings."""

from __future__ import annotations

from collections.abc import Mapping

from fileops.movers.memory import MemoryMover
from fileops.movers.mover import Mover
from fileops.movers.posix import PosixMover


def made() -> dict[str, Mover]:
    """Every mover, by the protocol of the doors that it goes through."""
    return {"posix": PosixMover(), "memory": MemoryMover()}


async def closed(movers: Mapping[str, Mover]) -> None:
    """Closes them all."""
    for mover in movers.values():
        await mover.close()
