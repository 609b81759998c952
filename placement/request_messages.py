"""Requests as they are told and shown over HTTP and in files: copies and deletions that people want."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from placement.messages import Moment, Word
from reploc.orders import REPORTS_MAX, OrderKind
from reploc.wire import PAGE_ITEMS, Answer, Body, Count, Limit, Name

#: The life of a request: `new → activated → completed`, or `rejected`, or `cancelled`.
RequestState: TypeAlias = Literal["new", "activated", "completed", "rejected", "cancelled"]
#: Sites and patterns of sites of one request: a collaboration has hundreds of sites at most.
SITES_MAX = 1_000


class RequestItem(Body, frozen=True):
    """So many copies of a dataset or block (`/dataset#block`) over these sites, one at each where `copies` is absent.

    Or its deletion at all of them. Sites are names or glob patterns.
    """

    kind: OrderKind
    item: Name
    sites: Annotated[list[Word], Meta(min_length=1, max_length=SITES_MAX)]
    group: Word = ""
    copies: Annotated[int, Meta(ge=1, le=SITES_MAX)] | None = None


class RequestBody(Body, frozen=True):
    """Requests: all are taken, or none. What is open already is not asked for twice."""

    requests: Annotated[list[RequestItem], Meta(min_length=1, max_length=REPORTS_MAX)]
    asked_by: Word = ""


class Requested(Answer, frozen=True):
    """The number of each request, in the order in which they were told, and those that were open already."""

    ids: list[int]
    joined: list[int]


class RequestsQuery(Body, frozen=True):
    """Requests from the newest back, of one state, kind, item, site (as it was asked for) or person, of some time.

    `item` finds the requests of a dataset and of its blocks, `by` those whose `asked_by` holds this text; times are
    when they were made.
    """

    state: RequestState | None = None
    kind: OrderKind | None = None
    item: Name | None = None
    site: Word | None = None
    by: Word | None = None
    since_s: Moment | None = None
    until_s: Moment | None = None
    limit: Limit = PAGE_ITEMS
    before: Count | None = None


class RequestOrder(Answer, frozen=True):
    """An order that a request led to, or joined."""

    id: int
    site: str
    state: str
    bytes: int
    bytes_done: int
    reason: str


class DataRequest(Answer, frozen=True):
    """A request and how it stands; `reason` says why it is where it is, `updated_s` since when."""

    id: int
    kind: OrderKind
    item: str
    sites: list[str]
    group: str
    copies: int | None
    state: RequestState
    reason: str
    asked_by: str
    created_s: float
    updated_s: float
    orders: list[RequestOrder] = []

    @property
    def under_way(self) -> bool:
        """Whether an order of it is open."""
        return any(order.state in ("new", "active") for order in self.orders)


class DataRequests(Answer, frozen=True):
    """A page of requests; `next` is what to ask `before` next, absent on the last page."""

    requests: list[DataRequest]
    next: int | None = None
