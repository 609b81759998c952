"""Every daemon there is, to be put through what each of them must stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fileops.server
import lrc.server
import placement.server
import rli.server
from fileops.settings import FileopsSettings
from lrc.settings import LrcSettings
from placement.settings import PlacementSettings
from reploc import service
from rli.settings import RliSettings

ROOT = Path(__file__).parents[2]
#: Each package that has a daemon. A new one is not forgotten: it gets a line here and in `_composed`.
DAEMONS = sorted(path.parent.name for path in ROOT.glob("*/server.py"))


@asynccontextmanager
async def served(package: str, path: Path, **settings: Any) -> AsyncIterator[str]:
    """The daemon of a package with these settings, its state below the path; its address."""
    compose, told = _composed(package, path, {"listen": "127.0.0.1:0"} | settings)
    async with compose(told) as daemon, service.listening(daemon, told) as url:
        yield url


def _composed(package: str, path: Path, settings: dict[str, Any]) -> tuple[Any, service.DaemonSettings]:
    match package:
        case "lrc":
            return lrc.server.compose, LrcSettings(site="site-a", store=str(path / "store"), **settings)
        case "rli":
            return rli.server.compose, RliSettings(matrix_bytes_max=1 << 28, **settings)
        case "placement":
            database = f"sqlite:///{path / 'placement.db'}"
            return placement.server.compose, PlacementSettings(database=database, **settings)
        case "fileops":
            journal = f"sqlite:///{path / 'journal.db'}"
            return fileops.server.compose, FileopsSettings(journal=journal, **settings)
    raise AssertionError(f"no test starts the daemon of {package} yet")
