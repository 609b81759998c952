"""The LFNs that match a pattern, as an index node that is told whole names lists them: by pages, with the sites.

Names come in an order of the node's own. A name that some site held from the first page to the last is in one of them;
one that came or went meanwhile may be. A node that was started anew begins anew, whatever page is asked for, so that a
name may come twice, but none is left out.

An index node that others tell their news does not list what these hold: it names them, and they are asked in its place,
as with a lookup.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from reploc.wire import PAGE_ITEMS, Answer, Body, Limit, Name, SiteNews


class ListedQuery(Body, frozen=True):
    """A glob pattern, and behind which page to go on."""

    pattern: Name
    limit: Limit = PAGE_ITEMS
    after: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET


class ListedLfns(Answer, frozen=True):
    """One page: the sites of each LFN, all of which `sites` describes. `next` is what to send as `after`, or null.

    A page may hold fewer than asked for, or none, and still not be the last. `complete`: the node has the lists of all
    sites for its share of the index; `missing` names the sites of which it has not. `shares`: "all" where its share is
    the whole index, "some" where other nodes have more. `below` are the index nodes that hold more: nodes of the same
    `index` know the same.
    """

    locations: dict[str, list[str]]
    next: str | None
    complete: bool
    missing: list[str]
    shares: Literal["all", "some"]
    sites: dict[str, SiteNews]
    below: dict[str, SiteNews] = {}
