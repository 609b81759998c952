"""Who exists: the index that all parties share, with its nodes as a static list in the settings.

These settings must be the same at every catalog, node and client of one index; `slots` and `error_rate` travel with
every soft-state message, and a node refuses a sender that has others.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from reploc.config import Settings
from reploc.names import require_site, require_url
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


class Node(Settings, frozen=True):
    """One index node."""

    name: Annotated[str, Meta(description="The node's name; slots are assigned by it, so that it may move.")]
    url: Annotated[str, Meta(description="Where the node answers, http://HOST:PORT.")]

    def __post_init__(self) -> None:
        require_site(self.name)
        require_url(self.url)


class IndexSettings(Settings, frozen=True):
    """The index, the same at every catalog and node (the framework's parameters G, R and S)."""

    slots: Annotated[
        int,
        Meta(description="Equal parts of the digest space, a power of two; fixed for an index.", ge=1, le=SLOTS_MAX),
    ] = 256
    redundancy: Annotated[
        int, Meta(description="R: how many index nodes hold each slot; two survive the loss of one.", ge=1)
    ] = 1
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
        if self.slots & (self.slots - 1):
            raise ValueError(f"slots is {self.slots}; expected a power of two")
        names = [node.name for node in self.nodes]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"index node {min(twice)!r} stands twice in the list")
        if self.nodes and self.redundancy > len(self.nodes):
            raise ValueError(f"redundancy is {self.redundancy}, but there are {len(self.nodes)} nodes")
        if self.expiry_s < self.renewal_interval_s:
            raise ValueError("expiry_s is shorter than renewal_interval_s, so that every sender would expire")

    @property
    def ring(self) -> Ring:
        return ring_of(tuple(node.name for node in self.nodes), self.slots, self.redundancy)

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
