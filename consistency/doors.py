"""The doors to a site's storage as the checker uses them: for listing through all, and for acting through the first.

Paths are raw bytes below the root of the storage; a door makes URLs of them as its name mapping spells them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from consistency.listers.lister import Lister
from consistency.listers.mover import MoverLister
from consistency.listers.posix import PosixLister
from reploc.errors import ConfigInvalid
from reploc.sites import Door, Site
from reploc.storage.mover import Mover


@dataclass(frozen=True)
class Opened:
    """A door with the mover that goes through it."""

    address: str
    quoted: bool
    mover: Mover

    def url(self, path: bytes) -> str:
        """The URL of a path. Names that are no UTF-8 can stand in it only where they are percent-encoded."""
        return self.address + (quote_from_bytes(path) if self.quoted else path.decode(errors="surrogateescape"))


def opened(site: Site, movers: Mapping[str, Mover]) -> list[Opened]:
    """The doors that there are movers for, the best first. Raises ConfigInvalid: there is none."""
    found = [_opened(site, door, movers[door.protocol]) for door in site.doors if door.protocol in movers]
    if not found:
        raise ConfigInvalid(f"site {site.name} has no door that can be used")
    return found


def _opened(site: Site, door: Door, mover: Mover) -> Opened:
    mapping = site.mapping(door)
    return Opened(mapping.address, mapping.quoted, mover)


def listers(site: Site, movers: Mapping[str, Mover]) -> Sequence[Lister]:
    """A lister for each door of a site. Raises ConfigInvalid: there is none."""
    found: list[Lister] = []
    for door, each in zip((door for door in site.doors if door.protocol in movers), opened(site, movers), strict=True):
        if door.protocol == "posix":
            root = unquote_to_bytes(each.address.removeprefix("file://"))
            found.append(PosixLister(Path(root.decode(errors="surrogateescape"))))
        else:
            found.append(MoverLister(each.address, each.url, each.mover))
    return found
