"""Orders as placement hands them out and carriers report on them: a durable wish to copy or delete data at a site.

A carrier (file operations by default) reads `GET /v1/orders?after=CHANGE` again and again. Every change of an order,
its writing and its cancelling too, raises the feed's `change`, so that a carrier that knows the last change misses
nothing and one that lost its memory begins at 0. It reports with `POST /v1/orders/progress`; a report says what is true
now, so that a repeated or late one does no harm.

Orders and observations meet by position (see `ARCHITECTURE.md`, Words): the last report of an order carries the
position of the site's catalog after its last registration or removal, and placement counts the order as still under way
until the index's news of that site has reached it.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from reploc.wire import PAGE_ITEMS, Answer, Body, Count, Limit, Name

#: What an order wants of a site.
OrderKind: TypeAlias = Literal["copy", "delete"]
#: The life of an order: `new → active → done | failed | cancelled`.
OrderState: TypeAlias = Literal["new", "active", "done", "failed", "cancelled"]
#: What a carrier may report.
ReportedState: TypeAlias = Literal["active", "done", "failed", "cancelled"]

#: Reports in one body: a carrier that has more sends several.
REPORTS_MAX = 1_000
#: Characters of the reason in a report: a sentence, not a log.
REASON_CHARS_MAX = 2_000


class BlockOrder(Answer, frozen=True):
    """One block of an order.

    Of a copy, `sources` are the sites that held the block whole when the order was written; of a deletion, `witness` is
    the site whose complete replica must survive, empty where the policy let the last copy go.
    """

    name: str
    files: int
    bytes: int
    sources: tuple[str, ...] = ()
    witness: str = ""


class Order(Answer, frozen=True):
    """A durable wish of placement: copy these blocks to the site, or delete them there.

    `item` is the dataset or block that was asked for, `asked_by` says who did (`cycle 12`, `request 7`, a person),
    `change` is the place of the last change in the feed, `created_s` seconds since the epoch of POSIX, in UTC.
    """

    id: int
    kind: OrderKind
    item: str
    site: str
    group: str
    blocks: tuple[BlockOrder, ...]
    state: OrderState
    asked_by: str
    created_s: float
    change: int
    files_done: int = 0
    bytes_done: int = 0
    reason: str = ""


class OrdersQuery(Body, frozen=True):
    """Orders that changed after a place of the feed, in the order of their changes."""

    after: Count = 0
    limit: Limit = PAGE_ITEMS


class Orders(Answer, frozen=True):
    """A page of the feed; `next` is what to ask `after` next, also when the page is empty."""

    orders: tuple[Order, ...]
    next: int


class OrderReport(Body, frozen=True):
    """What became of an order so far.

    `position` is the site's catalog position after the last registration or removal, 0 where none was needed;
    `files` and `bytes` are all that the carrier found to do.
    """

    id: Count
    state: ReportedState
    files: Count = 0
    files_done: Count = 0
    bytes: Count = 0
    bytes_done: Count = 0
    position: Count = 0
    reason: Annotated[str, Meta(max_length=REASON_CHARS_MAX)] = ""


class OrderReports(Body, frozen=True):
    """Reports on many orders."""

    reports: Annotated[tuple[OrderReport, ...], Meta(max_length=REPORTS_MAX)]


class BlockFilesQuery(Body, frozen=True):
    """The files of one block as its definition has them, a page at a time."""

    name: Name
    limit: Limit = PAGE_ITEMS
    after: Name | None = None


class BlockFile(Answer, frozen=True):
    """One file of a block: `checksum` is `algorithm:hex`, absent where none is known."""

    lfn: str
    size: int
    checksum: str | None = None


class BlockFiles(Answer, frozen=True):
    """A page of a block's files; `next` is absent on the last page."""

    files: tuple[BlockFile, ...]
    next: str | None = None
