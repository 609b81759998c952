"""What file operations are told: their journal, the feeds of orders, the sites, and how much at once."""

from __future__ import annotations

import socket
from typing import Annotated

from msgspec import Meta, field

from fileops.carrying import TransferSettings
from fileops.retries import RetrySettings
from fileops.schedule import AtOnceSettings
from reploc.config import Settings
from reploc.errors import ConfigInvalid
from reploc.membership import MembershipSettings
from reploc.names import require_site, require_url
from reploc.service import DaemonSettings, is_everywhere
from reploc.sites import Site, by_name

#: Sites of one service: the largest collaborations have a few hundred.
SITES_MAX = 100_000


class Fts3Settings(Settings, frozen=True):
    """An FTS3 server that copies between webdav or xrootd doors are delegated to; without a url none are."""

    url: Annotated[str, Meta(description="The server, https://HOST:8446.")] = ""
    proxy: Annotated[str, Meta(description="A PEM file with proxy certificate and key; delegated to the server.")] = ""
    token: Annotated[str, Meta(description="A file with a bearer token, used instead of a proxy.")] = ""
    files_max: Annotated[int, Meta(description="Files of one job.", ge=1, le=1_000)] = 100
    poll_s: Annotated[float, Meta(description="Seconds between two looks at the jobs.", gt=0)] = 5.0


class FileopsSettings(DaemonSettings, frozen=True):
    """File operations: orders of placement become files on real storage, and the catalogs are told.

    Every setting stands here with its default. Sites are tables [[sites]] with [[sites.doors]] and [[sites.rules]].
    """

    listen: Annotated[str, Meta(description="HOST:PORT to listen on; port 0 takes a free one.")] = "127.0.0.1:39310"
    url: Annotated[
        str, Meta(description="The address that the membership tells others; empty: the one that is listened on.")
    ] = ""
    journal: Annotated[
        str, Meta(description="The journal's database; several runners need PostgreSQL: postgresql+psycopg://…")
    ] = "sqlite:////var/lib/reploc/fileops.db"
    runner: Annotated[
        str, Meta(description="This runner's name in the journal, its own; empty: the name of this machine.")
    ] = ""
    parts: Annotated[
        list[str],
        Meta(description="What this daemon does: fom turns orders into operations, runner performs them."),
    ] = field(default_factory=lambda: ["fom", "runner"])
    placement: Annotated[
        str, Meta(description="The placement service whose orders are carried out, http://HOST:PORT; empty: none.")
    ] = ""
    poll_s: Annotated[float, Meta(description="Seconds between two looks at the feed of orders.", gt=0)] = 5.0
    lease_s: Annotated[
        float,
        Meta(description="A runner that was not heard of for so long loses its operations.", ge=1, le=86_400),
    ] = 60.0
    history_s: Annotated[float, Meta(description="Finished operations are remembered for so long.", ge=0)] = (
        31_536_000.0
    )
    sites: Annotated[
        list[Site], Meta(description="The sites that are worked at, a table each.", max_length=SITES_MAX)
    ] = []
    at_once: AtOnceSettings = field(default_factory=AtOnceSettings)
    retries: RetrySettings = field(default_factory=RetrySettings)
    transfers: TransferSettings = field(default_factory=TransferSettings)
    fts3: Fts3Settings = field(default_factory=Fts3Settings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)

    def __post_init__(self) -> None:
        try:
            by_name(self.sites)
        except ConfigInvalid as wrong:
            raise ValueError(wrong.detail) from wrong
        if self.placement:
            require_url(self.placement, "placement")
        if self.url:
            require_url(self.url)
        elif self.membership.kind == "etcd" and is_everywhere(self.listen):
            raise ValueError(f"url is empty, but listen is {self.listen!r}; expected the address that others reach")
        if self.membership.kind == "etcd":
            require_site(self.runner_name)
        if strange := {*self.parts} - {"fom", "runner"}:
            raise ValueError(f"parts holds {min(strange)!r}; expected fom, runner, or both")

    @property
    def runner_name(self) -> str:
        return self.runner or socket.gethostname()
