"""Who exists: the index that all parties share, with its nodes as a static list in the settings.

The Giggle paper, section 3.5, asks that every party knows the members and how the index is parted among them. These
settings must be the same at every catalog, node and client of one index; `slots` and `error_rate` travel with
every soft-state message, and a node refuses a sender that has others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field
from msgspec.structs import force_setattr

from reploc.config import Settings
from reploc.names import require_site, require_url
from reploc.partition import RULES_MAX, LfnPartition, Partition, Rule, SitePartition
from reploc.ring import Ring, ring_of
from reploc.wire import SLOTS_MAX

#: Index nodes in one static list: beyond this a registry is the better tool.
NODES_MAX = 1_000
#: Seconds of the shortest interval: a sender that is woken more often does nothing else.
INTERVAL_S_MIN = 0.001
#: Seconds of the longest one, a year: every moment that is reckoned with it stays a number.
INTERVAL_S_MAX = 366 * 86_400.0
#: Below this rate the 64 bits of a digest that choose the positions promise more than they hold.
ERROR_RATE_MIN = 1e-12


#: What of an index may change while it runs. Rules for LFNs are its slots, so that of them only the nodes may.
RING_KEYS = ("nodes", "redundancy", "lfn_rules.nodes", "site_rules", "site_rules.nodes")


class Node(Settings, frozen=True):
    """One index node."""

    name: Annotated[str, Meta(description="The node's name; slots are assigned by it, so that it may move.")]
    url: Annotated[str, Meta(description="Where the node answers, http://HOST:PORT.")]

    def __post_init__(self) -> None:
        require_site(self.name)
        require_url(self.url)


#: How a catalog tells its LFNs.
Compression: TypeAlias = Literal["bloom", "fingerprint", "none", "auto", "collection"]


class IndexSettings(Settings, frozen=True):
    """The index, the same at every catalog and node: the framework's parameters G, P_L, P_R, R, S and C."""

    slots: Annotated[
        int,
        Meta(
            description="Equal parts of the digest space, a power of two; fixed for an index. With lfn_partition = "
            '"pattern" each rule is a slot instead.',
            ge=1,
            le=SLOTS_MAX,
        ),
    ] = 256
    lfn_partition: Annotated[
        LfnPartition,
        Meta(description="P_L: none, hash, collection or pattern: by what an LFN's node is chosen."),
    ] = "hash"
    site_partition: Annotated[
        SitePartition,
        Meta(description="P_R: none, domain, site or pattern: by what a site's node is chosen."),
    ] = "none"
    lfn_rules: Annotated[
        list[Rule],
        Meta(
            description="With pattern: prefix, glob or regex, and nodes; the last takes all.",
            max_length=RULES_MAX,
        ),
    ] = []
    site_rules: Annotated[
        list[Rule],
        Meta(
            description="With pattern: the same for names of sites.",
            max_length=RULES_MAX,
        ),
    ] = []
    redundancy: Annotated[
        int, Meta(description="R: how many index nodes hold each slot; two survive the loss of one.", ge=1)
    ] = 1
    mode: Annotated[
        Literal["partial", "full"],
        Meta(description="S: partial sends what changed soon; full sends everything once per full_interval_s alone."),
    ] = "partial"
    compression: Annotated[
        Compression,
        Meta(
            description="C: bloom, fingerprint, none (whole names), auto (fingerprint while small, then bloom), or "
            "collection (totals alone)."
        ),
    ] = "bloom"
    error_rate: Annotated[
        float, Meta(description="The false-positive rate promised for one site's filter.", ge=ERROR_RATE_MIN, le=0.1)
    ] = 1e-5
    collections: Annotated[
        bool,
        Meta(description="Totals of collections are sent beside the rest; placement needs them."),
    ] = True
    increment_interval_s: Annotated[
        float, Meta(description="Changed slots are sent at least this often.", ge=INTERVAL_S_MIN, le=3600)
    ] = 1.0
    increment_changes: Annotated[
        int, Meta(description="Changed slots are sent at once after so many changes.", ge=1)
    ] = 1_000
    rebuild_interval_s: Annotated[
        float, Meta(description="A slot with deletions is built anew after so long.", ge=INTERVAL_S_MIN, le=86_400)
    ] = 60.0
    renewal_interval_s: Annotated[
        float, Meta(description="A sign of life goes to every node this often.", ge=INTERVAL_S_MIN, le=86_400)
    ] = 30.0
    full_interval_s: Annotated[
        float,
        Meta(
            description="Every slot is sent whole once in this time, spread evenly over it.",
            ge=INTERVAL_S_MIN,
            le=INTERVAL_S_MAX,
        ),
    ] = 3600.0
    expiry_s: Annotated[
        float,
        Meta(
            description="A node stops using a sender's news after so long without a message.",
            ge=INTERVAL_S_MIN,
            le=INTERVAL_S_MAX,
        ),
    ] = 90.0
    forget_after_s: Annotated[
        float,
        Meta(
            description="A silent sender's name is remembered, and reported missing, for so long.",
            ge=INTERVAL_S_MIN,
            le=INTERVAL_S_MAX,
        ),
    ] = 604_800.0
    nodes: Annotated[list[Node], Meta(description="The index nodes, a table each.", max_length=NODES_MAX)] = field(
        default_factory=lambda: [Node(name="rli-1", url="http://127.0.0.1:39290")]
    )

    def __post_init__(self) -> None:
        if self.lfn_partition == "pattern":
            force_setattr(self, "slots", max(1, len(self.lfn_rules)))
        elif self.slots & (self.slots - 1):
            raise ValueError(f"slots is {self.slots}; expected a power of two")
        names = [node.name for node in self.nodes]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"index node {min(twice)!r} stands twice in the list")
        if nonsense := _nonsense(self):
            raise ValueError(nonsense)
        if self.nodes and self.redundancy > len(self.nodes):
            raise ValueError(f"redundancy is {self.redundancy}, but there are {len(self.nodes)} nodes")
        if self.expiry_s < self.renewal_interval_s:
            raise ValueError("expiry_s is shorter than renewal_interval_s, so that every sender would expire")

    @property
    def partition(self) -> Partition:
        """How the index is parted."""
        rules = tuple(self.lfn_rules), tuple(self.site_rules)
        return _partition(self.slots, self.lfn_partition, self.site_partition, *rules)

    @property
    def ring(self) -> Ring:
        return ring_of(tuple(node.name for node in self.nodes), self.redundancy, self.partition)

    @property
    def holds_everything(self) -> bool:
        """Whether nothing is parted, so that every node holds all."""
        return self.lfn_partition == self.site_partition == "none"

    @property
    def tells_names(self) -> bool:
        """Whether catalogs tell LFNs at all, or totals of collections alone."""
        return self.compression != "collection"

    @property
    def tells_collections(self) -> bool:
        """Whether catalogs tell the totals of their collections."""
        return self.collections or self.compression == "collection"

    @property
    def urls(self) -> dict[str, str]:
        """Node name → base URL."""
        return {node.name: require_url(node.url) for node in self.nodes}

    @property
    def parameters(self) -> dict[str, str | int | float]:
        """What a service says of the index in its description of itself."""
        return {
            "slots": self.slots,
            "redundancy": self.redundancy,
            "error_rate": self.error_rate,
            "expiry_s": self.expiry_s,
        }


class ParentsSettings(IndexSettings, frozen=True):
    """The index that this node tells its own news to, its [index] table there; without nodes there is none."""

    collections: Annotated[bool, Meta(description="Must be false: a node tells its parents no totals.")] = False
    nodes: Annotated[list[Node], Meta(description="The parents, a table each.", max_length=NODES_MAX)] = []


@lru_cache(maxsize=16)
def _partition(
    slots: int,
    lfns: LfnPartition,
    sites: SitePartition,
    lfn_rules: tuple[Rule, ...],
    site_rules: tuple[Rule, ...],
) -> Partition:
    """The partition of these settings; the same object for the same settings."""
    return Partition(slots, lfns, sites, lfn_rules, site_rules)


def _nonsense(index: IndexSettings) -> str:
    """Why a combination of parameters makes no sense, or empty text."""
    return (
        _rules_lacking("lfn", index.lfn_partition, index.lfn_rules, index)
        or _rules_lacking("site", index.site_partition, index.site_rules, index)
        or _unfit_partitions(index)
        or _unfit_compression(index)
    )


def _rules_lacking(what: str, partition: str, rules: list[Rule], index: IndexSettings) -> str:
    key = f"{what}_rules"
    if partition != "pattern":
        return f'{key} are given, but {what}_partition is "{partition}"; expected "pattern"' if rules else ""
    if not rules:
        return f'{what}_partition is "pattern", but there are no {key}'
    if not rules[-1].matches_everything:
        return f'the last of {key} may leave names out; expected one with prefix = "" or glob = "*"'
    known = {node.name for node in index.nodes}
    for number, rule in enumerate(rules):
        if strange := [name for name in rule.nodes if name not in known]:
            return f"{key}[{number}] names node {strange[0]!r}, which is none of index.nodes"
        if len(rule.nodes) < index.redundancy:
            return f"{key}[{number}] names {len(rule.nodes)} nodes, but redundancy is {index.redundancy}"
    return ""


def _unfit_partitions(index: IndexSettings) -> str:
    lfns, sites = index.lfn_partition, index.site_partition
    if lfns == sites == "pattern":
        return (
            'lfn_partition and site_partition are both "pattern", so that two rules name the nodes of one LFN of one '
            "site; expected one of them"
        )
    if index.holds_everything and len(index.nodes) > 1 and index.redundancy != len(index.nodes):
        return (
            f'lfn_partition and site_partition are both "none", so that each of the {len(index.nodes)} nodes holds '
            f"everything, but redundancy is {index.redundancy}; expected {len(index.nodes)}, or a partition"
        )
    return ""


def _unfit_compression(index: IndexSettings) -> str:
    if index.compression == "collection" and index.lfn_partition == "pattern":
        return (
            'compression is "collection", which tells no LFN, but lfn_partition is "pattern", which parts by them; '
            'expected "none", "hash" or "collection"'
        )
    return ""
