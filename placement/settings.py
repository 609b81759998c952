"""What placement is told: its database, the index that it listens to, how good news must be, and who carries orders."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from placement.dealer.settings import DealerSettings
from placement.detox.settings import DetoxSettings
from reploc.config import Settings
from reploc.members import IndexSettings
from reploc.membership import MembershipSettings
from reploc.names import require_site, require_url
from reploc.service import DaemonSettings, is_everywhere

#: Back-ends of one placement: one for most sites, and a site's own tool here and there.
BACKENDS_MAX = 1_000


class BackendSettings(Settings, frozen=True):
    """Who carries the orders of some sites."""

    sites: Annotated[
        str, Meta(description="The sites, a name or a glob pattern; the first table that fits decides.")
    ] = "*"
    backend: Annotated[str, Meta(description="fileops, http, log, or the name of an installed one.")] = "fileops"
    url: Annotated[str, Meta(description="Where the back-end http posts each order to.")] = ""


class PlacementSettings(DaemonSettings, frozen=True):
    """The placement service: what is where, what should be, and the orders that make the one the other.

    Every setting stands here with its default. Of the index, only the nodes and their addresses matter here.
    """

    name: Annotated[str, Meta(description="The service's name in the membership; several have several.")] = "placement"
    listen: Annotated[str, Meta(description="HOST:PORT to listen on; port 0 takes a free one.")] = "127.0.0.1:39300"
    url: Annotated[
        str, Meta(description="The address that the membership tells others; empty: the one that is listened on.")
    ] = ""
    database: Annotated[
        str, Meta(description="The database; several services need PostgreSQL: postgresql+psycopg://…")
    ] = "sqlite:////var/lib/reploc/placement.db"
    pull_interval_s: Annotated[float, Meta(description="Seconds between two looks at the index.", gt=0)] = 30.0
    save_interval_s: Annotated[
        float, Meta(description="Seconds between two copies of what was observed into the database.", gt=0)
    ] = 60.0
    max_observation_age: Annotated[
        float, Meta(description="Seconds that a READY site's news may be old when a cycle starts.", gt=0)
    ] = 900.0
    request_patience_s: Annotated[
        float, Meta(description="Seconds after which a request that nothing could be done about is rejected.", gt=0)
    ] = 2_592_000.0
    attributes: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="[attributes.NAME]: an attribute producer with its settings; docs/policy.md has them."),
    ] = {}
    backends: Annotated[
        list[BackendSettings], Meta(description="Who carries orders, a table each.", max_length=BACKENDS_MAX)
    ] = field(default_factory=lambda: [BackendSettings()])
    detox: DetoxSettings = field(default_factory=DetoxSettings)
    dealer: DealerSettings = field(default_factory=DealerSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)

    def __post_init__(self) -> None:
        require_site(self.name)
        if self.url:
            require_url(self.url)
        elif self.membership.kind == "etcd" and is_everywhere(self.listen):
            raise ValueError(f"url is empty, but listen is {self.listen!r}; expected the address that others reach")
