"""Every message as a frozen type, with the bounds that each field must keep.

Bodies travel as JSON or MessagePack; soft state always as MessagePack. A field that a type does not name is an error.
`Body` types are what a client sends, the others what a service answers. Names are validated by `reploc/names.py`, where
the error can say which one of many is wrong; everything that a type can say is said here.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from reploc.hierarchy import Beneath
from reploc.partition import Partition

#: Items in one bulk request: a thousand is usual; ten times that still answers within a second.
BATCH_ITEMS_MAX = 10_000
#: Names in one page of a listing.
PAGE_ITEMS_MAX = 10_000
PAGE_ITEMS = 1_000
#: Bytes of one body: 10,000 items of ordinary names, or 2,000 of the longest.
BODY_BYTES_MAX = 32 << 20
#: Slots of an index: the top 16 bits of a digest name the largest number (`lrc/layout.py`).
SLOTS_MAX = 65_536
SIZE_MAX = (1 << 63) - 1
#: Seconds that a resolved lookup may take: usually, and at most, so that no caller can hold a node's memory for long.
DEADLINE_S = 10.0
DEADLINE_S_MAX = 300.0
#: Bytes of summaries in one soft-state message (one is always sent, however large): a second on a 30 Mbit/s line, so
#: that a message is done long before the next renewal and a broken one costs little.
FRAME_BYTES_MAX = 4 << 20
#: A sender's durable random name: 128 bits in hexadecimal fit twice.
SENDER_CHARS_MAX = 64
#: Thirty years: an age beyond it is a broken clock, and infinity no JSON.
AGE_S_MAX = 1e9
#: Starts of one sender: with one a second it is reached after nine million years. A node that claims more is not
#: believed, so that it cannot leave a sender without an epoch above its own.
EPOCH_MAX = 1 << 48
#: The version of the soft-state protocol. A node refuses another.
SOFT_STATE_VERSION = 5

Size: TypeAlias = Annotated[int, Meta(ge=0, le=SIZE_MAX)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=SIZE_MAX)]
Slot: TypeAlias = Annotated[int, Meta(ge=0, lt=SLOTS_MAX)]
#: 64 unsigned bits, compared only; it may exceed what JSON readers keep exactly, and travels as MessagePack alone.
Word: TypeAlias = Annotated[int, Meta(ge=0, extra_json_schema={"maximum": (1 << 64) - 1})]
#: A name whose bounds `reploc/names.py` checks, for many at once and in bytes; here readers are told of them.
Name: TypeAlias = Annotated[
    str,
    Meta(
        description="UTF-8 text of 1 to 4,096 bytes without control characters.",
        extra_json_schema={"minLength": 1, "maxLength": 4096, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"},
    ),
]
Limit: TypeAlias = Annotated[int, Meta(ge=1, le=PAGE_ITEMS_MAX)]


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends."""


class Nothing(Body, frozen=True):
    """The body of a request that says nothing but its path."""


class Answer(Struct, frozen=True):
    """What a service answers; readers ignore fields that they do not know."""


# ---- the local replica catalog ---------------------------------------------------------------------------------------

Mode: TypeAlias = Literal["create", "add", "put"]


class MappingItem(Body, frozen=True):
    """One copy to register. `size`, `checksum` and `collection` belong to the LFN; absent means unknown."""

    lfn: str
    pfn: str
    size: Size | None = None
    checksum: str | None = None
    collection: str | None = None


class MappingsBody(Body, frozen=True):
    """`create`: the LFN must be new. `add`: it must be known. `put`: either, and a mapping that is there is success.

    `update` lets an add or put change size, checksum or collection of a known LFN. `atomic`: all or nothing.
    """

    mode: Mode
    mappings: Annotated[list[MappingItem], Meta(max_length=BATCH_ITEMS_MAX)]
    atomic: bool = False
    update: bool = False


class DeleteItem(Body, frozen=True):
    """One mapping, or with no `pfn` all mappings of the LFN. The LFN goes with its last mapping."""

    lfn: str
    pfn: str | None = None


class DeleteBody(Body, frozen=True):
    mappings: Annotated[list[DeleteItem], Meta(max_length=BATCH_ITEMS_MAX)]
    atomic: bool = False


class RenameItem(Body, frozen=True):
    old: str
    new: str


class RenameBody(Body, frozen=True):
    """`lfn`: the new LFN must not exist. `pfn`: the PFN is renamed under every LFN that it stands under."""

    what: Literal["lfn", "pfn"]
    names: Annotated[list[RenameItem], Meta(max_length=BATCH_ITEMS_MAX)]
    atomic: bool = False


class ItemError(Answer, frozen=True):
    """Which item of a bulk request failed, and why: `code` is that of `reploc/errors.py`."""

    index: int
    code: str
    message: str


class Written(Answer, frozen=True):
    """`done` counts the items that took effect or were true already; `position` is the commit that holds them."""

    done: int
    errors: list[ItemError]
    position: int


class LfnQuery(Body, frozen=True):
    """One LFN."""

    lfn: Name


class LfnsBody(Body, frozen=True):
    lfns: Annotated[list[Name], Meta(max_length=BATCH_ITEMS_MAX)]


class Replica(Answer, frozen=True):
    """What a catalog knows of one LFN."""

    size: int | None
    checksum: str | None
    collection: str | None
    pfns: list[str]


class LfnReplica(Answer, frozen=True):
    lfn: str
    size: int | None
    checksum: str | None
    collection: str | None
    pfns: list[str]


class Replicas(Answer, frozen=True):
    replicas: dict[str, Replica]
    unknown: list[str]


class Exists(Answer, frozen=True):
    """The LFNs asked for, parted into those that the catalog holds and those that it does not."""

    known: list[str]
    unknown: list[str]


class Names(Answer, frozen=True):
    """One page. `next` is what to send as `after` for the next page, or null at the end."""

    lfns: list[str]
    next: str | None


class CollectionTotals(Answer, frozen=True):
    """Totals count an LFN once, however many PFNs; `bytes` leaves out the files whose size is unknown."""

    name: str
    files: int
    bytes: int
    files_of_unknown_size: int


class Collections(Answer, frozen=True):
    collections: list[CollectionTotals]
    next: str | None


class Files(Answer, frozen=True):
    """One page of files, each an LFN with its copies; `next` as with names."""

    files: list[LfnReplica]
    next: str | None


# ---- soft state ------------------------------------------------------------------------------------------------------


#: What a sender's news is about: LFNs, or the totals of collections. Each has slots, sequences and a position of its
#: own, so that a node may be complete in one and not in the other.
About: TypeAlias = Literal["names", "collections"]
#: How a summary tells what a sender holds of a slot.
Kind: TypeAlias = Literal["bloom", "fingerprint", "list", "collection"]


class Summary(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a sender tells of one slot, so that the node holds it at sequence `to_seq`; `from_seq` 0 needs no base.

    `bloom`: with `from_seq` 0 `body` is a whole filter in the container of `reploc/bloom.py`, which says its size class
    and its number of names. Otherwise it is an increment, a difference as drawn in `reploc/difference.py`, which a node
    can apply that holds `from_seq` or any sequence between the two. `checksum` is `reploc.bloom.checksum` of the bits
    at `to_seq`.

    `fingerprint` and `list`: `body` is a set of keys as drawn in `reploc/key_sets.py`, all of the slot or, with another
    `from_seq`, those that came and went.

    `collection`: `body` are totals as drawn in `reploc/totals.py`, of all collections of the slot or, with another
    `from_seq`, of those that changed; `checksum` is `reploc.totals.checksum` of all at `to_seq`.
    """

    slot: Slot
    kind: Kind
    from_seq: Count
    to_seq: Annotated[int, Meta(ge=1, le=SIZE_MAX)]
    checksum: Word
    body: bytes


class SoftState(Struct, frozen=True, forbid_unknown_fields=True):
    """One soft-state message from a sender to a node; without summaries it is a renewal.

    `message` numbers the messages of one epoch to one node, so that a late one is known as such. `incarnation` is a
    random number of the sender's start: a store restored from a backup may come to an epoch that was used before, and
    is told by it from the one that used it. `vector` is `reploc.softstate.vector_hash` over the sequences of the slots
    that this node is sent, those that are not built yet included. `news_age_s` says how long ago the catalog stood at
    `position`, all of whose LFNs those sequences hold; LFNs deleted before it they may hold a while longer. `drop`
    names slots that the node holds and is not told of any more. News about `collections` has epochs, messages,
    sequences and a position of its own, and that position holds every deletion too. A small sender tells everything in
    `one_piece`: slot 0 of its messages then stands for all slots of the index. `beneath` is told by index nodes alone,
    whose `site` is the node's name; a catalog has nothing beneath it.
    """

    version: int
    site: str
    sender: Annotated[str, Meta(min_length=1, max_length=SENDER_CHARS_MAX)]
    url: str
    slots: Annotated[int, Meta(ge=1, le=SLOTS_MAX)]
    error_rate: float
    epoch: Annotated[int, Meta(ge=1, le=EPOCH_MAX)]
    incarnation: Word
    message: Annotated[int, Meta(ge=1, le=SIZE_MAX)]
    position: Count
    news_age_s: Annotated[float, Meta(ge=0, le=AGE_S_MAX)]
    vector: Word
    summaries: Annotated[list[Summary], Meta(max_length=SLOTS_MAX)] = []
    drop: Annotated[list[Slot], Meta(max_length=SLOTS_MAX)] = []
    about: About = "names"
    one_piece: bool = False
    beneath: Beneath | None = None


class SlotAnswer(Struct, frozen=True, array_like=True):
    """`ok`: the node now holds this sequence or a later one. `resend`: it does not, and `reason` says why."""

    slot: Slot
    status: Literal["ok", "resend"]
    reason: str = ""


class SoftStateAnswer(Answer, frozen=True):
    """What a node says to a message.

    `epoch` is the highest that it knows for the sender. `outdated` says that the message was of an earlier epoch, or of
    another incarnation in the same one: nothing of it was used, and the sender must go above `epoch`. `current` says
    that the node holds exactly the message's vector. Where it does not, `held` lists (slot, sequence) of all that it
    holds in this epoch, and the sender finds what is owed. `applied` is the position that it has fully applied.
    """

    epoch: Annotated[int, Meta(ge=0, le=EPOCH_MAX)]
    current: bool
    applied: Count
    outdated: bool = False
    slots: list[SlotAnswer] = []
    held: list[tuple[Slot, Count]] | UnsetType = UNSET


class NodeProgress(Answer, frozen=True):
    """How far one index node has taken a sender's updates. Ages in seconds, null before the first answer.

    `lag_s` is the age of the oldest LFN that the node may not know yet, 0 where it knows all.
    """

    node: str
    url: str
    state: Literal["current", "behind", "unreachable", "refused"]
    owed_slots: int
    applied_position: int
    contact_age_s: float | None
    retry_in_s: float
    error: str
    lag_s: float


class SenderStatus(Answer, frozen=True):
    """`GET /v1/softstate` of an LRC: what it sends, and what each node is owed.

    `nodes` and `position` are about LFNs; `collections` and `collections_position` about the totals of collections.
    """

    site: str
    epoch: int
    position: int
    slots: int
    size_class: int
    names: int
    expected_false_positive_rate: float
    nodes: list[NodeProgress]
    ring: str = ""
    collections: list[NodeProgress] = []
    collections_position: int | None = None


# ---- the replica location index --------------------------------------------------------------------------------------


class SiteNews(Answer, frozen=True, omit_defaults=True):
    """Where a site's LRC is, and how old the news is that the node has fully applied.

    Where `index` is not empty it is no site but an index node below this one, `lrc` its address, and a lookup goes on
    there; nodes of the same `index` know the same, and one of them will do.
    """

    lrc: str
    age_s: float
    index: str = ""


class SiteLocation(Answer, frozen=True, omit_defaults=True):
    """A site that may hold an LFN, or with `index` an index node that may know one, as `SiteNews` says."""

    site: str
    lrc: str
    age_s: float
    index: str = ""


class Location(Answer, frozen=True):
    """Which sites may hold the LFN. Unless `complete`, other sites might hold it too: those in `missing`, of which the
    node has no news, and those that could not be asked in time, in `stale` because the news of them is older than
    demanded, in `unverified` because their own word was demanded. A site that was asked is of age 0."""

    lfn: str
    complete: bool
    missing: list[str]
    sites: list[SiteLocation]
    stale: list[str] = []
    unverified: list[str] = []


class Locations(Answer, frozen=True):
    """The same for many; `sites` describes each site that occurs. What is lacking is over all `incomplete` LFNs."""

    locations: dict[str, list[str]]
    incomplete: list[str]
    missing: list[str]
    sites: dict[str, SiteNews]
    stale: list[str] = []
    unverified: list[str] = []


class Existence(Answer, frozen=True):
    """The LFNs asked for in three parts: some site may hold it; no site does; or nobody can say, since not all sites
    were heard. With `verify` the first part is those that a site's own catalog holds."""

    may_hold: list[str]
    nowhere: list[str]
    unknown: list[str]
    missing: list[str]
    stale: list[str]
    unverified: list[str]


class SiteReplica(Answer, frozen=True):
    """A verified copy: the site's own catalog named it just now."""

    site: str
    lrc: str
    size: int | None
    checksum: str | None
    pfns: list[str]


class Ordering(Answer, frozen=True):
    """By what the copies of an LFN are ordered: the distance to the client's site; for lack of it, of some sites at
    least, the measured round trips; that site first and then names; or names alone. `reason` says what was lacking for
    a better order, and is empty where nothing was."""

    by: Literal["distance", "round_trip", "site", "name"]
    reason: str = ""


UNORDERED = Ordering("name", "no client_site was given")


class Resolved(Answer, frozen=True):
    """Verified copies of one LFN. The index lacks the news of a site in `missing`, and one in `unreachable` did not
    answer: either may hold copies that are not listed. An answer that is not `complete` and names neither comes from
    nodes that do not know all sites yet. In `stale` are sites whose news is older than demanded, and which could not be
    asked instead."""

    lfn: str
    complete: bool
    missing: list[str]
    unreachable: list[str]
    replicas: list[SiteReplica]
    stale: list[str] = []
    ordering: Ordering = UNORDERED


class ResolvedMany(Answer, frozen=True):
    replicas: dict[str, list[SiteReplica]]
    incomplete: list[str]
    missing: list[str]
    unreachable: list[str]
    stale: list[str] = []
    ordering: Ordering = UNORDERED


class Member(Answer, frozen=True):
    """One service that a node knows: an index node of the static list, or a sender that it has heard from, which is a
    catalog or an index node below this one (`child`).

    Of a live sender `claim` is a mark that tells it from others that claim its site, `bound_s` says how long the node
    has been bound to it, `news_age_s` how old the oldest of its news may be, and of a live `child` `complete` whether
    what it has told lacks no sender below.
    """

    kind: Literal["rli", "lrc", "child"]
    name: str
    url: str
    state: Literal["live", "silent", "listed"]
    age_s: float | None = None
    claim: str = ""
    bound_s: float = 0.0
    news_age_s: float | None = None
    complete: bool | None = None


class Service(Answer, frozen=True):
    """A service's description of itself: what it is, where, of which version and since when it runs (RFC 3339, UTC),
    and those of its parameters that others should know."""

    kind: str
    name: str
    url: str
    version: str
    since: str
    parameters: dict[str, str | int | float]


class FormerRing(Answer, frozen=True):
    """An index before its ring changed; `partition` is null where it was parted by hash alone."""

    redundancy: int
    nodes: list[Member]
    partition: Partition | None = None


class Members(Answer, frozen=True):
    """`GET /v1/members`: what a client or another node needs to find the owners of a slot.

    `listed` holds the cells whose list of senders this node vouches for, as runs [first, last]; a cell's number is its
    slot's where sites are of one part, otherwise slot × parts + part. While the ring has
    changed less than `expiry_s` ago, `former` are the owners that catalogs still tell their news. `services` are those
    that describe themselves: this node, and with a registry all that are in it. `partition` is null where the index is
    parted by hash alone. `parents` are the index nodes that this one tells its own news.
    """

    node: str
    slots: int
    redundancy: int
    error_rate: float
    ring: str
    listed: list[tuple[int, int]]
    members: list[Member]
    expiry_s: float = 90.0
    former: FormerRing | None = None
    services: list[Service] = []
    partition: Partition | None = None
    parents: list[Member] = []
