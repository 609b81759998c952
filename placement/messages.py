"""What placement is told and what it answers over HTTP; the same types are the files that its commands read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from reploc.orders import REPORTS_MAX, OrderKind, OrderState
from reploc.sites import Site
from reploc.wire import BATCH_ITEMS_MAX, PAGE_ITEMS, SIZE_MAX, Answer, Body, Count, Limit, Name, Size

#: Seconds since the epoch of POSIX in UTC, as a 32-bit column holds them: up to 2106.
Moment: TypeAlias = Annotated[int, Meta(ge=0, lt=1 << 32)]
#: Files of a block: 32 bits.
FileCount: TypeAlias = Annotated[int, Meta(ge=0, lt=1 << 32)]
DatasetStatus: TypeAlias = Literal["unknown", "deleted", "deprecated", "invalid", "production", "valid", "ignored"]
Level: TypeAlias = Literal["dataset", "block"]
#: A word or a sentence of who asks.
Said: TypeAlias = Annotated[str, Meta(max_length=2_000)]
Word: TypeAlias = Annotated[str, Meta(max_length=128)]


# ---- definitions -----------------------------------------------------------------------------------------------------


class SiteItem(Body, frozen=True):
    """A site as carriers use it, and what placement knows of it besides: bytes per second to it, and its cores."""

    site: Site
    bandwidth: Annotated[float, Meta(ge=0)] = 0.0
    cores: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0


class GroupItem(Body, frozen=True):
    """A group that owns data, as whole dataset replicas or block by block."""

    name: Word
    level: Level = "block"


class PartitionItem(Body, frozen=True):
    """A partition: a condition over block replicas, or the names of the partitions that it is made of."""

    name: Word
    condition: Annotated[str, Meta(max_length=100_000)] | None = None
    parts: Annotated[list[Word], Meta(min_length=1, max_length=1_000)] | None = None


class QuotaItem(Body, frozen=True):
    """Bytes that a site has for a partition: negative is without a bound, null takes the quota away."""

    site: Word
    partition: Word
    quota: Annotated[int, Meta(ge=-(1 << 62), le=SIZE_MAX)] | None


class FileItem(Body, frozen=True):
    """A file of a block."""

    lfn: Name
    size: Size
    checksum: str | None = None


class BlockItem(Body, frozen=True):
    """A block of a dataset; `name` is what stands behind the `#`, absent where the dataset is its own only block.

    Totals are told, or are the sums over the block's files; told and listed, they must agree. Files are added to those
    that are there.
    """

    name: Name | None = None
    size: Size | None = None
    num_files: FileCount | None = None
    is_open: bool | None = None
    last_update: Moment | None = None
    files: Annotated[list[FileItem], Meta(max_length=BATCH_ITEMS_MAX)] | None = None


class DatasetItem(Body, frozen=True):
    """A dataset with blocks; what is absent stays as it is, or takes its default where the dataset is new."""

    name: Name
    status: DatasetStatus | None = None
    data_type: Word | None = None
    software_version: Word | None = None
    is_open: bool | None = None
    last_update: Moment | None = None
    blocks: Annotated[list[BlockItem], Meta(max_length=BATCH_ITEMS_MAX)] = []


class OwnerItem(Body, frozen=True):
    """Who owns a dataset or block (`/dataset#block`) at a site; a dataset replica may follow an open dataset."""

    item: Name
    site: Word
    group: Word
    growing: bool = False
    custodial: bool = False


class InjectBody(Body, frozen=True):
    """Definitions in bulk: all of it is taken, or nothing. Telling it again changes nothing."""

    sites: Annotated[list[SiteItem], Meta(max_length=BATCH_ITEMS_MAX)] = []
    groups: Annotated[list[GroupItem], Meta(max_length=BATCH_ITEMS_MAX)] = []
    partitions: Annotated[list[PartitionItem], Meta(max_length=BATCH_ITEMS_MAX)] = []
    quotas: Annotated[list[QuotaItem], Meta(max_length=BATCH_ITEMS_MAX)] = []
    datasets: Annotated[list[DatasetItem], Meta(max_length=BATCH_ITEMS_MAX)] = []
    owners: Annotated[list[OwnerItem], Meta(max_length=BATCH_ITEMS_MAX)] = []


class Injected(Answer, frozen=True):
    """How much changed; files count those that are new."""

    sites: int
    groups: int
    partitions: int
    quotas: int
    datasets: int
    files: int
    owners: int


class Definitions(Answer, frozen=True):
    """What is defined, but for datasets."""

    sites: list[SiteItem]
    groups: list[GroupItem]
    partitions: list[PartitionItem]
    quotas: list[QuotaItem]


class DatasetsQuery(Body, frozen=True):
    """Datasets by a glob pattern, a page at a time, in the order of their names."""

    pattern: Name = "*"
    limit: Limit = PAGE_ITEMS
    after: Name | None = None


class DatasetRow(Answer, frozen=True):
    """A dataset and its totals, and at how many sites it is, wholly or in part."""

    name: str
    status: str
    data_type: str
    software_version: str
    is_open: bool
    last_update: int
    size: int
    num_files: int
    num_blocks: int
    replicas: int
    full_replicas: int


class Datasets(Answer, frozen=True):
    """A page of datasets; `next` is absent on the last one."""

    datasets: list[DatasetRow]
    next: str | None = None


class DatasetQuery(Body, frozen=True):
    """One dataset."""

    name: Name


class ReplicaRow(Answer, frozen=True):
    """A block replica."""

    block: str
    site: str
    group: str
    files: int
    bytes: int
    complete: bool
    custodial: bool
    copying: bool
    deleting: bool
    locked: bool
    last_update: int


class Dataset(Answer, frozen=True):
    """A dataset with all its block replicas."""

    dataset: DatasetRow
    replicas: list[ReplicaRow]


# ---- the inventory ---------------------------------------------------------------------------------------------------


class SiteNews(Answer, frozen=True):
    """A site in the inventory: how old its news is (absent: nothing was heard), and what it holds."""

    name: str
    storage: str
    status: str
    age_s: float | None
    complete: bool
    position: int
    dataset_replicas: int
    block_replicas: int
    bytes: int
    projected_bytes: int


class InventoryStatus(Answer, frozen=True):
    """The inventory under its version."""

    version: str
    datasets: int
    blocks: int
    dataset_replicas: int
    block_replicas: int
    bytes: int
    sites: list[SiteNews]


class PlacementStatus(Answer, frozen=True):
    """`GET /v1/status` of placement."""

    version: str
    uptime_s: float
    inventory: str
    index: list[str]
    pending_orders: int


class Pulled(Answer, frozen=True):
    """What a look at the index brought: sites whose news was read anew, and sites with none."""

    changed: list[str]
    missing: list[str]
    seconds: float


# ---- locks -----------------------------------------------------------------------------------------------------------


class LockItem(Body, frozen=True):
    """A lock on a dataset or block by name or glob pattern, at sites and of groups by glob pattern."""

    item: Name
    site: Word = "*"
    group: Word = "*"
    expires_s: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    comment: Said = ""


class LockBody(Body, frozen=True):
    """Locks to place."""

    locks: Annotated[list[LockItem], Meta(min_length=1, max_length=BATCH_ITEMS_MAX)]
    placed_by: Word = ""


class ReleaseBody(Body, frozen=True):
    """Locks to release, by their numbers."""

    ids: Annotated[list[Count], Meta(min_length=1, max_length=BATCH_ITEMS_MAX)]
    released_by: Word = ""


class LocksQuery(Body, frozen=True):
    """Locks that hold, or with `all` those too that were released or have expired."""

    all: bool = False
    limit: Limit = PAGE_ITEMS
    after: Count = 0


class Lock(Answer, frozen=True):
    """A lock; `released_s` is absent while it was not released."""

    id: int
    item: str
    site: str
    group: str
    placed_by: str
    comment: str
    placed_s: float
    expires_s: float | None = None
    released_s: float | None = None
    released_by: str | None = None


class Locks(Answer, frozen=True):
    """A page of locks; `next` is what to ask `after` next, absent on the last page."""

    locks: list[Lock]
    next: int | None = None


# ---- orders ----------------------------------------------------------------------------------------------------------


class WishItem(Body, frozen=True):
    """A copy or deletion that a person asks for: a dataset, or a block of one (`/dataset#block`)."""

    kind: OrderKind
    item: Name
    site: Word
    group: Word = ""


class WishBody(Body, frozen=True):
    """Copies and deletions: all are ordered, or none."""

    orders: Annotated[list[WishItem], Meta(min_length=1, max_length=REPORTS_MAX)]
    asked_by: Word = ""


class CancelBody(Body, frozen=True):
    """Orders or requests to cancel, by their numbers; with requests go the orders that were written for them alone."""

    ids: Annotated[list[Count], Meta(min_length=1, max_length=REPORTS_MAX)]
    reason: Said = ""


class Written(Answer, frozen=True):
    """What became of wishes: orders written, open ones that they joined, those that they cancelled, owners changed."""

    written: list[int]
    joined: list[int]
    cancelled: list[int]
    handed_over: int


class Numbers(Answer, frozen=True):
    """The numbers of the locks or orders that something was done about."""

    ids: list[int]


class OrderHistoryQuery(Body, frozen=True):
    """Orders from the newest back, of one state, item (a dataset with its blocks, or a block), site or cycle."""

    state: OrderState | None = None
    item: Name | None = None
    site: Word | None = None
    cycle: Count | None = None
    limit: Limit = PAGE_ITEMS
    before: Count | None = None


# ---- history ---------------------------------------------------------------------------------------------------------


class Cycle(Answer, frozen=True):
    """A cycle: what decided on which inventory, and what came of it."""

    id: int
    kind: str
    policy: str
    inventory: str
    seed: int | None
    started_s: float
    ended_s: float
    outcome: str
    reason: str
    totals: dict[str, Any]


class CyclesQuery(Body, frozen=True):
    """Cycles from the newest back."""

    kind: Word | None = None
    limit: Limit = PAGE_ITEMS
    before: Count | None = None


class CycleQuery(Body, frozen=True):
    """One cycle, by its number."""

    id: Count


class CycleDecisions(Answer, frozen=True):
    """What a cycle decided, as its kind writes it: of detox and dealer the file of its plan."""

    id: int
    kind: str
    decisions: bytes


class Cycles(Answer, frozen=True):
    """A page of cycles; `next` is what to ask `before` next."""

    cycles: list[Cycle]
    next: int | None = None
