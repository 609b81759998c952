"""A site as placement defines it and carriers use it: its catalog, its storage, the doors to it, its names of files.

A *door* is one way into the storage: a protocol (the name of a mover) and the address before every path. Doors stand in
the order of preference. The same definition stands in a settings file (`[[sites]]` with `[[sites.doors]]` and
`[[sites.rules]]`) and travels as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from reploc import names
from reploc.config import Settings
from reploc.errors import ConfigInvalid
from reploc.name_mapping import RULES_MAX, NameMapping, NameRule, mapping

#: What the storage is made of: `mss` is tape behind a disk, `buffer` a disk that keeps nothing for long.
StorageType: TypeAlias = Literal["disk", "mss", "buffer", "unknown"]
#: Whether the site may be given work: `waitroom` is out for a while, `morgue` for good.
SiteStatus: TypeAlias = Literal["ready", "waitroom", "morgue", "unknown"]
#: The movers that there are.
Protocol: TypeAlias = Literal["posix", "xrootd", "webdav", "gfal", "fsspec", "memory"]

#: Doors of one site: a protocol or two, each on several hosts.
DOORS_MAX = 64
#: Operations of one kind at one site at once: more transfers than that only share its line.
AT_ONCE_MAX = 10_000


class Door(Settings, frozen=True):
    """One way into a site's storage."""

    protocol: Annotated[Protocol, Meta(description="The mover that goes through this door.")]
    url: Annotated[str, Meta(description="What stands before every path: file:///data, davs://HOST:PORT/base, …")]

    def __post_init__(self) -> None:
        names.require(self.url, "url")
        if not re.match(r"[a-z][a-z0-9+.-]*://", self.url):
            raise ValueError(f"url is {self.url[:80]!r}; expected SCHEME://…")


class Site(Settings, frozen=True):
    """A site: where its catalog answers, what its storage is, and how files there are named and reached."""

    name: Annotated[str, Meta(description="The site's name, as its catalog has it.")]
    lrc: Annotated[str, Meta(description="The site's catalog, http://HOST:PORT.")]
    storage: Annotated[StorageType, Meta(description="What the storage is made of.")] = "disk"
    status: Annotated[SiteStatus, Meta(description="Whether the site may be given work.")] = "ready"
    doors: Annotated[list[Door], Meta(description="Ways into the storage, the best first.", max_length=DOORS_MAX)] = (
        field(default_factory=list)
    )
    rules: Annotated[
        list[NameRule], Meta(description="LFN → path: the first that fits decides.", max_length=RULES_MAX)
    ] = field(default_factory=list)
    copies_in_max: Annotated[int, Meta(description="Copies to the site at once.", ge=1, le=AT_ONCE_MAX)] = 20
    copies_out_max: Annotated[int, Meta(description="Copies from the site at once.", ge=1, le=AT_ONCE_MAX)] = 20
    deletions_max: Annotated[int, Meta(description="Deletions at the site at once.", ge=1, le=AT_ONCE_MAX)] = 20

    def __post_init__(self) -> None:
        names.require_site(self.name)
        names.require_url(self.lrc, "lrc")
        if twice := {door.url for door in self.doors if [each.url for each in self.doors].count(door.url) > 1}:
            raise ValueError(f"site {self.name}: the door {min(twice)!r} stands twice in the list")
        try:
            for door in self.doors:
                self.mapping(door)
        except ConfigInvalid as wrong:
            raise ValueError(f"site {self.name}: {wrong.detail}") from wrong

    def mapping(self, door: Door) -> NameMapping:
        """How a door of this site names files."""
        return mapping(self.rules, door.protocol, door.url)


def by_name(sites: Sequence[Site]) -> dict[str, Site]:
    """The sites under their names. Raises ConfigInvalid: a name stands twice."""
    found = {site.name: site for site in sites}
    if len(found) < len(sites):
        known = [site.name for site in sites]
        raise ConfigInvalid(f"site {min(name for name in found if known.count(name) > 1)!r} is defined twice")
    return found
