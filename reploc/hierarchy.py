"""Index nodes that tell their news to parents: whom these believe, and what such a node says of what is below it.

The last of the Giggle paper's example systems, RLS5, has one level above another; here there may be several.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from reploc.config import Settings
from reploc.errors import NameInvalid
from reploc.names import require_site, require_url

#: Levels of index nodes above the catalogs: with ten children to a node, eight levels have a hundred million of them.
LEVELS_MAX = 8
#: Senders whose filters a node relays; a node of more is not complete to its parents.
RELAYED_MAX = 10_000
#: Names below an index node that it tells as missing, and index nodes whose news is in its own; a node of more says so
#: by not being complete, or is refused.
MISSING_MAX, BENEATH_NODES_MAX = 1_000, 10_000


#: Characters of a relayed sender's name: a site and the nodes between, each of at most 253.
PATH_CHARS_MAX = 254 * (LEVELS_MAX + 1)


def relayed_name(node: str, sender: str) -> str:
    """The name of a sender whose filters a node relays."""
    return f"{node}/{sender}"


def teller(sender: str) -> str:
    """Who speaks in a sender's name: itself, or the index node that relays it."""
    return sender.partition("/")[0]


def is_relayed(sender: str) -> bool:
    """Whether a sender is one whose filters an index node relays."""
    return "/" in sender


def require_sender(sender: str, *, node: bool) -> str:
    """The name of a sender itself: of a site, or of what an index `node` relays. Raises NameInvalid."""
    if not node:
        return require_site(sender)
    parts = sender[:PATH_CHARS_MAX].split("/")
    for part in parts[: LEVELS_MAX + 1]:
        require_site(part)
    if len(parts) > LEVELS_MAX + 1 or len(sender) > PATH_CHARS_MAX:
        raise NameInvalid(f"sender {sender[:80]!r} is relayed over more than {LEVELS_MAX} levels")
    return sender


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
    among them would hear its own words. `relays` are the senders whose filters the node tells on, each as a sender of
    its own, under the name NODE/SENDER.
    """

    index: Annotated[str, Meta(min_length=1, max_length=64)]
    complete: bool
    missing: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=MISSING_MAX)]
    nodes: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(min_length=1, max_length=BENEATH_NODES_MAX)]
    levels: Annotated[int, Meta(ge=1, le=LEVELS_MAX)]
    relays: Annotated[list[Annotated[str, Meta(max_length=PATH_CHARS_MAX)]], Meta(max_length=RELAYED_MAX)] = []
