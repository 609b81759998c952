"""What an index node is told: which of the index's nodes it is, and where it listens."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from reploc.client.nearness import Distances
from reploc.members import IndexSettings
from reploc.membership import MembershipSettings
from reploc.names import require_site, require_url
from reploc.partition import Partition
from reploc.rls_port import RlsSettings
from reploc.service import SharedDaemonSettings


class RliRlsSettings(RlsSettings, frozen=True):
    """The port for clients and servers of the Globus RLS."""

    stale_s: Annotated[
        float, Meta(description="A name that a catalog of that kind did not list again for so long is dropped.", gt=0)
    ] = 86_400.0


class RliSettings(SharedDaemonSettings, frozen=True):
    """A replica location index node. It keeps everything in memory and is filled again by the catalogs' soft state.

    Every setting stands here with its default; a line that is commented out has none.
    """

    node: Annotated[str, Meta(description="The name of this node in index.nodes.")] = "rli-1"
    url: Annotated[
        str, Meta(description="With a registry: the address that others reach this node at, unless index.nodes has it.")
    ] = ""
    listen: Annotated[str, Meta(description="HOST:PORT to listen on; port 0 takes a free one.")] = "127.0.0.1:39290"
    matrix_bytes_max: Annotated[
        int, Meta(description="Bytes that filters may take; beyond it a sender's new filters are refused.", ge=1 << 20)
    ] = 64 << 30
    lists_scratch: Annotated[
        str,
        Meta(description='With index.compression "none": a directory for a scratch file of the names; empty: memory.'),
    ] = ""
    distance: Annotated[
        Distances,
        Meta(description="[distance.SITE] OTHER = 12.5: how far sites are from each other, for the order of copies."),
    ] = {}
    index: IndexSettings = field(default_factory=IndexSettings)
    rls: RliRlsSettings = field(default_factory=RliRlsSettings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)

    def __post_init__(self) -> None:
        names = [node.name for node in self.index.nodes]
        if self.membership.kind == "etcd" and self.url:
            require_site(self.node)
            require_url(self.url)
        elif self.node not in names:
            raise ValueError(
                f"node is {self.node!r}; expected one of index.nodes: {', '.join(names) or 'there are none'}"
            )

        plain = self.index.partition == Partition(self.index.slots) and self.index.compression == "bloom"
        if self.workers > 1 and not plain:
            raise ValueError(
                f"workers is {self.workers}, but workers see filters that are parted by hash alone; expected "
                'index.compression "bloom", lfn_partition "hash" and site_partition "none", or one worker'
            )
        if self.lists_scratch and self.index.compression != "none":
            raise ValueError(
                f"lists_scratch is {self.lists_scratch!r}, but index.compression is {self.index.compression!r}, which "
                'tells no whole names; expected "none", or no scratch'
            )
        ruled = "pattern" in (self.index.lfn_partition, self.index.site_partition)
        if self.membership.kind == "etcd" and ruled:
            raise ValueError("rules name nodes, which a registry lets come and go; expected membership.kind static")

    @property
    def own_url(self) -> str:
        """The address that others reach this node at."""
        return require_url(self.url) if self.url else self.index.urls[self.node]
