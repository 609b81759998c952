"""What sites hold of collections, as an index node tells it: who reports, and each site's totals as Arrow.

A reader asks `GET /v1/collections/sites` for the state of every site's news and then, for each site whose `version` is
not the one that it has already, `GET /v1/collections/arrow?site=`: an Arrow IPC stream (`ARROW`) with the columns
of `COLUMNS`, a row per collection, names in ascending order of their bytes. So a site that did not change costs a line.

Where collections are partitioned over nodes, each node answers for the slots that it holds, and a reader joins them; of
redundant nodes it takes for each site and slot the news of the highest position.
"""

from __future__ import annotations

from reploc.questions import SiteName
from reploc.wire import Answer, Body, Name

#: The media type of an Arrow IPC stream.
ARROW = "application/vnd.apache.arrow.stream"
#: The columns of the stream, all but the first 64-bit integers; an LFN counts once, however many PFNs it has, and
#: `bytes` leaves out the files whose size is unknown.
COLUMNS = ("collection", "files", "bytes", "files_of_unknown_size")
#: Headers of the stream: the version of the news in it, and the catalog position that it includes.
VERSION_HEADER = "Reploc-Version"
POSITION_HEADER = "Reploc-Position"


class HoldingsQuery(Body, frozen=True):
    """One site."""

    site: SiteName


class SiteHoldings(Answer, frozen=True):
    """The state of one site's news of collections at a node.

    `version` changes whenever a total changes and never comes back; `position` is the catalog position that the news
    includes, `age_s` the age of the news at most, `complete` whether the node holds all that it owns of the site.
    """

    site: str
    lrc: str
    version: str
    position: int
    age_s: float
    complete: bool
    collections: int


class Holdings(Answer, frozen=True):
    """All sites of which a node has news; `missing` names those that it should have and has not.

    `complete`: the node knows all senders and holds from each all that it owns. `slots` are the runs of slots (first,
    last) that the node owns, of `slot_count` in all, so that a reader knows when it has asked enough nodes.
    """

    node: str
    complete: bool
    missing: list[str]
    slots: list[tuple[int, int]]
    slot_count: int
    sites: list[SiteHoldings]


class CollectionQuery(Body, frozen=True):
    """One collection."""

    name: Name


class SiteCollection(Answer, frozen=True):
    """What one site holds of a collection, by news of that age, which includes the catalog's `position`."""

    site: str
    lrc: str
    age_s: float
    position: int
    files: int
    bytes: int
    files_of_unknown_size: int


class CollectionSites(Answer, frozen=True):
    """Which sites hold how much of a collection. Unless `complete`, others might hold some too: those in `missing`, or
    sites that the node does not know yet."""

    name: str
    complete: bool
    missing: list[str]
    sites: list[SiteCollection]
