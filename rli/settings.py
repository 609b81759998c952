"""What an index node is told: which of the index's nodes it is, and where it listens."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from reploc.client.nearness import Distances
from reploc.hierarchy import Child
from reploc.members import IndexSettings, ParentsSettings
from reploc.membership import MembershipSettings
from reploc.names import require_site, require_url
from reploc.partition import Partition
from reploc.rls.port import RlsSettings
from reploc.service import SharedDaemonSettings

#: Index nodes below one node: each is a column as a site is, but is named in the settings.
CHILDREN_MAX = 1_000


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
    children: Annotated[
        list[Child],
        Meta(description="The index nodes that may tell this one their news, a table each.", max_length=CHILDREN_MAX),
    ] = []
    registered_children: Annotated[
        bool,
        Meta(description="With a registry: index nodes that put themselves there as children may tell their news too."),
    ] = False
    parents: ParentsSettings = field(default_factory=ParentsSettings)
    parents_membership: MembershipSettings = field(default_factory=MembershipSettings)
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
        if nonsense := _unfit_registries(self) or _unfit_children(self) or _unfit_parents(self):
            raise ValueError(nonsense)

    @property
    def own_url(self) -> str:
        """The address that others reach this node at."""
        return require_url(self.url) if self.url else self.index.urls[self.node]

    @property
    def has_parents(self) -> bool:
        """Whether there are index nodes above, now or as soon as a registry names some."""
        return bool(self.parents.nodes) or self.parents_membership.kind == "etcd"


def _unfit_registries(told: RliSettings) -> str:
    """Why the registries of this index and of the one above cannot be what they are said to be, or empty text."""
    here, above = told.membership, told.parents_membership
    if told.registered_children and here.kind == "static":
        return (
            'registered_children is true, but membership.kind is "static": there is no registry to find them in; '
            'expected membership.kind "etcd", or the children by name'
        )
    if above.kind == "static":
        return ""
    if here.kind == "etcd" and here.prefix == above.prefix and set(here.endpoints) & set(above.endpoints):
        return (
            f"membership and parents_membership are both {above.prefix!r} of one etcd, which makes node {told.node!r} "
            "its own parent; expected a prefix for each index"
        )
    if told.parents.lfn_partition == "pattern":
        return (
            "parents.lfn_rules name nodes, which a registry lets come and go; expected parents_membership.kind static"
        )
    return ""


def _unfit_children(told: RliSettings) -> str:
    """Why the nodes below cannot be what they are said to be, or empty text."""
    names = [child.name for child in told.children]
    if twice := {name for name in names if names.count(name) > 1}:
        return f"child {min(twice)!r} stands twice in the list"
    for name in names:
        if name == told.node:
            return f"node {told.node!r} is its own child"
        if name in told.index.urls:
            return f"child {name!r} is one of index.nodes; expected a node of an index below"
        if name in told.parents.urls:
            return f"{name!r} is a child and a parent of node {told.node!r}, which would hear its own news"
    if (names or told.registered_children) and told.index.tells_collections:
        return (
            "children tell no totals of collections, which do not add up over sites; expected index.collections false "
            "and LFNs told where there are children"
        )
    return ""


def _unfit_parents(told: RliSettings) -> str:
    """Why the nodes above cannot be told what this one holds, or empty text."""
    parents = told.parents
    if not told.has_parents:
        return ""
    own = require_url(told.url) if told.url else told.index.urls.get(told.node)
    for name, url in parents.urls.items():
        if name == told.node or url == own:
            return f"node {told.node!r} is its own parent"
        if name in told.index.urls or url in told.index.urls.values():
            return f"parent {name!r} is one of index.nodes; expected a node of an index above"
    return _unfit_to_tell(told.index, parents)


def _unfit_to_tell(index: IndexSettings, parents: IndexSettings) -> str:
    """Why what is held here cannot be told as the parents want it, or empty text."""
    here = index.compression
    if here not in ("none", "fingerprint", "bloom"):
        return (
            f'index.compression is "{here}", from which nothing can be told to parents; expected "none", '
            '"fingerprint" or "bloom"'
        )
    if parents.tells_collections:
        return "a node tells its parents no totals of collections; expected parents.collections false and LFNs told"
    if parents.lfn_partition == "collection":
        return 'parents.lfn_partition is "collection", but a node is not told the collections of LFNs'
    if here == "bloom":
        return _unfit_to_relay(index, parents)
    return _unfit_to_tell_of_fingerprints(parents) if here == "fingerprint" else ""


def _unfit_to_tell_of_fingerprints(parents: IndexSettings) -> str:
    if parents.compression not in ("fingerprint", "auto"):
        return (
            f'parents.compression is "{parents.compression}", which needs names, but index.compression is '
            '"fingerprint"; expected "fingerprint" or "auto" there, or "none" here'
        )
    if parents.lfn_partition == "pattern":
        return 'parents.lfn_partition is "pattern", which needs names, but index.compression is "fingerprint"'
    return ""


def _unfit_to_relay(index: IndexSettings, parents: IndexSettings) -> str:
    """Why filters of senders cannot be told on as they are, or empty text."""
    if parents.compression != "bloom":
        return (
            f'index.compression is "bloom", whose filters are relayed as they are, but parents.compression is '
            f'"{parents.compression}"; expected "bloom" there, or "none" here'
        )
    for key in ("slots", "error_rate"):
        if (ours := getattr(index, key)) != (theirs := getattr(parents, key)):
            return f"filters are relayed as they are, but index.{key} is {ours} and parents.{key} is {theirs}"
    if parents.mode != "partial":
        return f'filters are relayed as they change, but parents.mode is "{parents.mode}"; expected "partial"'
    by_hash = ("none", "hash")
    if {index.lfn_partition, parents.lfn_partition}.difference(by_hash) or parents.site_partition != "none":
        return (
            "filters are relayed as they are; expected lfn_partition none or hash in index and parents, and "
            'parents.site_partition "none"'
        )
    return ""
