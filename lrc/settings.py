"""What an LRC is told: its site, its store, where it listens, and the index that it feeds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from reploc.members import INTERVAL_S_MAX, INTERVAL_S_MIN, IndexSettings
from reploc.membership import MembershipSettings
from reploc.names import require_site, require_url
from reploc.rls.feeding import Pace
from reploc.rls.port import RlsSettings
from reploc.rls.protocol import Refused, canonical
from reploc.service import SharedDaemonSettings, is_everywhere


class LrcRlsSettings(RlsSettings, frozen=True):
    """The port for clients and servers of the Globus RLS, and how index servers of it are sent updates."""

    url: Annotated[
        str,
        Meta(description="The address that index servers of the Globus RLS give to clients; empty: the RLS port's."),
    ] = ""
    list_interval_s: Annotated[
        float, Meta(description="A list of all names is sent this often.", ge=INTERVAL_S_MIN, le=INTERVAL_S_MAX)
    ] = 86_400.0
    filter_interval_s: Annotated[
        float, Meta(description="The filter is sent this often.", ge=INTERVAL_S_MIN, le=INTERVAL_S_MAX)
    ] = 300.0
    immediate: Annotated[bool, Meta(description="What changed is told soon, and not with the next full update.")] = True
    buffer_s: Annotated[
        float, Meta(description="Changes are told after so long.", ge=INTERVAL_S_MIN, le=INTERVAL_S_MAX)
    ] = 30.0
    buffer_names: Annotated[int, Meta(description="Changes are told when there are so many.", ge=1, le=1_000_000)] = 200
    factor: Annotated[
        int, Meta(description="With immediate, full updates come so many times less often.", ge=1, le=1_000)
    ] = 1
    retry_s: Annotated[
        float, Meta(description="A server that failed is tried again after so long at the latest.", gt=0, le=86_400)
    ] = 300.0
    timeout_s: Annotated[float, Meta(description="What a server may take for one step.", gt=0, le=3600)] = 30.0
    filter_functions: Annotated[int, Meta(description="Hash functions of the filter.", ge=1, le=8)] = 3
    filter_bits: Annotated[int, Meta(description="Bits of the filter for each name.", ge=1, le=64)] = 10

    @property
    def pace(self) -> Pace:
        """How updates are sent, as long as nobody says otherwise."""
        return Pace(**{name: getattr(self, name) for name in Pace.__struct_fields__})


class LrcSettings(SharedDaemonSettings, frozen=True):
    """A local replica catalog: one daemon per site.

    Every setting stands here with its default; a line that is commented out has none.
    """

    site: Annotated[
        str, Meta(description="The site's name. Needed when the store is made; later it must be the store's.")
    ] = ""
    store: Annotated[str, Meta(description="The directory of the catalog's store.")] = "/var/lib/reploc/lrc"
    listen: Annotated[str, Meta(description="HOST:PORT to listen on; port 0 takes a free one.")] = "127.0.0.1:39280"
    url: Annotated[
        str, Meta(description="The address that the index gives to clients; empty: the one that is listened on.")
    ] = ""
    index: IndexSettings = field(default_factory=IndexSettings)
    rls: LrcRlsSettings = field(default_factory=LrcRlsSettings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)

    def __post_init__(self) -> None:
        if self.site:
            require_site(self.site)
        if self.rls.url:
            _require_rls(self.rls.url)
        if self.url:
            require_url(self.url)
        elif is_everywhere(self.listen):
            raise ValueError(f"url is empty, but listen is {self.listen!r}; expected the address that clients reach")


def _require_rls(url: str) -> None:
    try:
        canonical(url.encode())
    except Refused as wrong:
        raise ValueError(f"rls.url: {wrong.detail}") from wrong
