"""What file operations are asked and answer over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from fileops.operation import Kind, State
from reploc.wire import BATCH_ITEMS_MAX, PAGE_ITEMS, Answer, Body, Count, Limit, Name, Size

Site = Annotated[str, Meta(min_length=1, max_length=253)]


class OperationItem(Body, frozen=True):
    """One operation that is wanted by hand.

    A copy names the sites that it may be taken from. A deletion names the `witness` whose copy must survive, or says
    `last_copy`: that the last one may go. What is not said of the file is asked of the sources' catalogs.
    """

    kind: Kind
    site: Site
    lfn: Name
    sources: tuple[Site, ...] = ()
    witness: str = ""
    last_copy: bool = False
    size: Size | None = None
    checksum: str | None = None
    collection: str | None = None


class SubmitBody(Body, frozen=True):
    """Operations that are wanted by hand."""

    operations: Annotated[list[OperationItem], Meta(max_length=BATCH_ITEMS_MAX)]


class Submitted(Answer, frozen=True):
    """The numbers of the operations, in the order of the request; one that was wanted already is that one."""

    ids: list[int]


class OperationsQuery(Body, frozen=True):
    """Operations in the order of their numbers, narrowed by what is given."""

    state: State | None = None
    kind: Kind | None = None
    site: str | None = None
    order: Count | None = None
    lfn: Name | None = None
    after: Count = 0
    limit: Limit = PAGE_ITEMS


class OperationQuery(Body, frozen=True):
    """One operation."""

    id: Count


class OperationSaid(Answer, frozen=True):
    """One operation: `order` is 0 for one submitted by hand, `due_s` the moment of the next attempt of one that waits,
    `moved` the bytes that travelled; times are seconds since the epoch of POSIX."""

    id: int
    kind: Kind
    site: str
    lfn: str
    state: State
    order: int
    sources: tuple[str, ...]
    witness: str
    size: int | None
    checksum: str | None
    collection: str | None
    attempts: int
    source: str
    runner: str
    reason: str
    due_s: float
    created_s: float
    finished_s: float | None
    seconds: float | None
    moved: int | None


class OperationsSaid(Answer, frozen=True):
    """A page of operations; `next` is what to ask `after` for the next, absent on the last."""

    operations: list[OperationSaid]
    next: int | None = None


class PassageSaid(Answer, frozen=True):
    """One line of a story."""

    at_s: float
    event: str
    state: str
    words: str


class StorySaid(Answer, frozen=True):
    """An operation, and all that happened to it."""

    operation: OperationSaid
    story: list[PassageSaid]


class IdsBody(Body, frozen=True):
    """Operations by number."""

    ids: Annotated[list[Count], Meta(max_length=BATCH_ITEMS_MAX)]


class OutcomeSaid(Answer, frozen=True):
    """What became of one number of a request: its state, or the error's code and words."""

    id: int
    state: str = ""
    code: str = ""
    message: str = ""


class OutcomesSaid(Answer, frozen=True):
    """What became of each number of a request."""

    outcomes: list[OutcomeSaid]


class LinkSaid(Answer, frozen=True):
    """How copies from one site to another go: `success` from 0 to 1 and `rate` in bytes a second, both exponentially
    weighted."""

    source: str
    destination: str
    success: float
    rate: float
    copies: int
    failures: int
    bytes: int
    at_s: float


class LinksSaid(Answer, frozen=True):
    """All links."""

    links: list[LinkSaid]


class DrainBody(Body, frozen=True):
    """A site, or with none all, gets no new operations; `undo` gives them again."""

    site: str = ""
    undo: bool = False


class DrainSaid(Answer, frozen=True):
    """The sites that get no new operations (empty text: none does), and how many are under way here."""

    drained: list[str]
    active: int


class CarriedOrder(Answer, frozen=True):
    """An order of placement as it stands here."""

    id: int
    kind: Kind
    site: str
    item: str
    state: Literal["expanding", "open", "done", "cancelled", "failed"]
    files: int
    bytes: int
    files_open: int
    files_held: int
    files_done: int
    bytes_done: int
    files_cancelled: int
    position: int
    reason: str


class CarriedOrders(Answer, frozen=True):
    """A page of orders, the newest first."""

    orders: list[CarriedOrder]


class CarriedQuery(Body, frozen=True):
    """The newest orders."""

    limit: Limit = PAGE_ITEMS


class HistoryQuery(Body, frozen=True):
    """Operations that ended in a time, in the order of their numbers."""

    since_s: Annotated[float, Meta(ge=0)] = 0.0
    until_s: Annotated[float, Meta(ge=0)] = 1e12
    after: Count = 0
    limit: Limit = PAGE_ITEMS


class Suspect(Answer, frozen=True):
    """A copy that turned out bad or absent when it was to be copied from."""

    site: str
    lfn: str
    words: str
    at_s: float


class Suspects(Answer, frozen=True):
    """Copies that the consistency checker should look at, by site and LFN."""

    suspects: list[Suspect]


class Fts3Said(Answer, frozen=True):
    """How copies that are delegated to an FTS3 server stand: how many in how many jobs, what the last request failed
    with (empty: it did not), and until when the proxy that was delegated to it is good (absent: none was, as yet)."""

    url: str
    copies: int
    jobs: int
    error: str
    proxy_until_s: float | None = None


class FileopsStatus(Answer, frozen=True):
    """What the service is and has to do: how many operations are in each state that is not its last; `remains` counts
    attempts whose temporary files are still looked for; `fts3` is absent where no copies are delegated."""

    runner: str
    version: str
    uptime_s: float
    parts: list[str]
    sites: int
    active: int
    states: dict[str, int]
    drained: list[str]
    remains: int
    feed: str
    feed_error: str
    fts3: Fts3Said | None = None


def submitted_names(body: SubmitBody) -> Iterable[str]:
    """The LFNs that a submission acts on."""
    return (item.lfn for item in body.operations)
