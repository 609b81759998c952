"""What an LRC is told: its site, its store, where it listens, and the index that it feeds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from reploc.members import IndexSettings
from reploc.membership import MembershipSettings
from reploc.names import require_site, require_url
from reploc.rls_port import RlsSettings
from reploc.service import SharedDaemonSettings, is_everywhere


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
    rls: RlsSettings = field(default_factory=RlsSettings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)

    def __post_init__(self) -> None:
        if self.site:
            require_site(self.site)
        if self.url:
            require_url(self.url)
        elif is_everywhere(self.listen):
            raise ValueError(f"url is empty, but listen is {self.listen!r}; expected the address that clients reach")
