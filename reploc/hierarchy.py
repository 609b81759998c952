"""Index nodes that tell their news to parents: whom these believe, and what such a node says of what is below it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from reploc.config import Settings
from reploc.names import require_site, require_url

#: Levels of index nodes above the catalogs: with ten children to a node, eight levels have a hundred million of them.
LEVELS_MAX = 8
#: Names below an index node that it tells as missing, and index nodes whose news is in its own; a node of more says so
#: by not being complete, or is refused.
MISSING_MAX, BENEATH_NODES_MAX = 1_000, 10_000


class Child(Settings, frozen=True):
    """An index node that may tell this one its news."""

    name: Annotated[str, Meta(description="Its name, its `node` setting there.")]
    url: Annotated[str, Meta(description="The only address that it may announce; empty: any that is its own.")] = ""

    def __post_init__(self) -> None:
        require_site(self.name)
        if self.url:
            require_url(self.url)


class Beneath(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands behind an index node that sends to its parents.

    `index` is the ring of the node's own index, so that nodes of one index are known as such. `complete` says that the
    node's news at the message's position lacks no sender; `missing` names those that are lacking, each with the nodes
    between. `nodes` are this node and all whose news is in its own, over so many `levels`: a node that finds itself
    among them would hear its own words.
    """

    index: Annotated[str, Meta(min_length=1, max_length=64)]
    complete: bool
    missing: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=MISSING_MAX)]
    nodes: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(min_length=1, max_length=BENEATH_NODES_MAX)]
    levels: Annotated[int, Meta(ge=1, le=LEVELS_MAX)]
