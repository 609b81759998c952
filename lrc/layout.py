"""The on-disk format of a catalog: its tables, and how names, records and counters become keys and values.

A store is a directory with an LMDB environment (`data.mdb`, `lock.mdb`) and `writer.lock`, which its one writer keeps
locked. In the environment are these tables; all numbers in keys are big-endian, so that the order of bytes is theirs:

    table            key                         value                                          several per key
    meta             "format"                    magic, 0, layout version (4 bytes)             no
                     "state"                     State                                          no
                     "rls"                       StoredIndex, a list of them                    no
    lfn              LFN key                     StoredRecord                                   no
    pfn              PFN key                     LFN key                                        yes
    digest           top 16 bits of h1 (2)       digest: h1, h2 (16 bytes)                      yes, fixed size
    collection       collection key              StoredCollection                               no
    collection_name  collection id (8)           collection key                                 no
    member           collection id (8)           LFN key                                        yes
    attribute        "l" or "p", name            StoredAttribute                                no
    attribute_name   attribute id (4)            "l" or "p", name                               no
    pfn_values       PFN key                     StoredPfnValues                                no
    value            attribute id (4), value     LFN key or PFN key                             yes
    change           position (8)                StoredChanges                                  no

State and all that is Stored… are MessagePack arrays of their fields in order. The values of an LFN lie in its record,
those of a PFN in a row of their own. In the key of the table `value` a value is bytes in its order (`lrc/values.py`).

A name's key is its UTF-8 bytes. LMDB takes keys of up to 511 bytes: a name of 511 bytes or more has as key its first
495 bytes and the 16 bytes of its digest, so that a key of 511 bytes is always that of a long name, and no other is:

    0                              495              511
    ├─ first bytes of the name ────┼─ its digest ───┤

Two long names with one key would need one digest. A catalog holds no two LFNs with one digest, so an LFN key is
exactly one LFN's; two PFNs may share a key, and who reads compares the whole names in the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from reploc import digest
from reploc.attributes import AttributeType, What

MAGIC = b"reploc-lrc"
#: Raised with every change of this module that an older reader cannot read.
LAYOUT_VERSION = 2

#: LMDB's own limit, for keys and for the values of a table with several values per key.
KEY_BYTES_MAX = 511
KEY_PREFIX_BYTES = KEY_BYTES_MAX - digest.DIGEST_BYTES
#: The longest name that is its own key: one less than the limit, see above.
WHOLE_NAME_BYTES_MAX = KEY_BYTES_MAX - 1
#: Bytes of h1 that are the key of the digest table, and the largest number of slots that are ranges of it.
DIGEST_KEY_BYTES = 2
SLOTS_MAX = 1 << (8 * DIGEST_KEY_BYTES)
#: Bytes of an attribute's id.
ATTRIBUTE_ID_BYTES = 4
#: Copies of one file at one site; a record is rewritten whole for each change, so it must stay small.
PFNS_PER_LFN_MAX = 1_000

FORMAT_KEY = b"format"
STATE_KEY = b"state"
RLS_KEY = b"rls"
WRITER_LOCK = "writer.lock"
DATA_FILE = "data.mdb"
#: The files of a store, of which a directory that becomes one may hold nothing else.
STORE_FILES = frozenset({DATA_FILE, "lock.mdb", WRITER_LOCK})


@dataclass(frozen=True)
class Table:
    """One table: `many` values per key, all of one size where `fixed`."""

    name: str
    many: bool = False
    fixed: bool = False


META = Table("meta")
LFN = Table("lfn")
PFN = Table("pfn", many=True)
DIGEST = Table("digest", many=True, fixed=True)
COLLECTION = Table("collection")
COLLECTION_NAME = Table("collection_name")
MEMBER = Table("member", many=True)
ATTRIBUTE = Table("attribute")
ATTRIBUTE_NAME = Table("attribute_name")
PFN_VALUES = Table("pfn_values")
VALUE = Table("value", many=True)
CHANGE = Table("change")
TABLES = (
    *(META, LFN, PFN, DIGEST, COLLECTION, COLLECTION_NAME, MEMBER),
    *(ATTRIBUTE, ATTRIBUTE_NAME, PFN_VALUES, VALUE, CHANGE),
)


class State(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The catalog's counters and names.

    `position` counts the commits that changed mappings, `epoch` the sender's incarnations; `lfns`, `mappings` and
    `collections` are totals; collection ids below `next_collection` have been given out and are never given out again.
    """

    site: str
    sender: str
    position: int
    epoch: int
    lfns: int
    mappings: int
    collections: int
    next_collection: Annotated[int, Meta(ge=1)]


class StoredRecord(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What the catalog knows of one LFN. `collection` is an id or 0; `lfn` is there where the key does not hold it, and
    `values` (`lrc/values.py`) where the LFN has any."""

    size: int | None
    checksum: str | None
    collection: int
    pfns: tuple[str, ...]
    lfn: str | None = None
    values: bytes | None = None


class StoredCollection(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A collection's id, whole name and totals. `size_sum` is 16 bytes: sums of sizes may need more than 64 bits."""

    id: int
    name: str
    files: int
    size_sum: Annotated[bytes, Meta(min_length=16, max_length=16)]
    files_of_unknown_size: int

    @property
    def total_bytes(self) -> int:
        return int.from_bytes(self.size_sum, "big")


class StoredAttribute(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The definition of an attribute, and the number of its values."""

    id: Annotated[int, Meta(ge=1, lt=1 << 32)]
    type: AttributeType
    values: int


class StoredPfnValues(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The values of a PFN that has any (`lrc/values.py`); `pfn` is there where the key does not hold it."""

    values: bytes
    pfn: str | None = None


class StoredChanges(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What one commit changed: when (seconds since the epoch), the number of names logged up to it, and its LFNs."""

    at: float
    logged: int
    lfns: tuple[str, ...]


class StoredIndex(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An index server of the Globus RLS that is sent updates: filters, or lists of the names that match any of the
    patterns, without patterns of all. What went after the position `told` it may not have been told."""

    url: str
    filters: bool
    patterns: tuple[str, ...] = ()
    told: int = 0


encode = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(State).decode
decode_record = msgspec.msgpack.Decoder(StoredRecord).decode
decode_collection = msgspec.msgpack.Decoder(StoredCollection).decode
decode_attribute = msgspec.msgpack.Decoder(StoredAttribute).decode
decode_pfn_values = msgspec.msgpack.Decoder(StoredPfnValues).decode
decode_indexes = msgspec.msgpack.Decoder(tuple[StoredIndex, ...]).decode
decode_changes = msgspec.msgpack.Decoder(StoredChanges).decode


def format_value(version: int = LAYOUT_VERSION) -> bytes:
    """What the "format" row of a store of this layout version holds: whose store it is, and of which version."""
    return MAGIC + b"\0" + version.to_bytes(4, "big")


def format_version(value: bytes) -> int | None:
    """The layout version that a store's "format" names, or None where it is no store of ours."""
    magic, version = value[:-4], value[-4:]
    return int.from_bytes(version, "big") if magic == MAGIC + b"\0" else None


def size_sum(total: int) -> bytes:
    """A sum of sizes as a stored collection keeps it: more than 64 bits may be needed."""
    return total.to_bytes(16, "big")


def key(name: str) -> bytes:
    """The key of one name."""
    raw = name.encode()
    if len(raw) <= WHOLE_NAME_BYTES_MAX:
        return raw
    return raw[:KEY_PREFIX_BYTES] + digest.stored(digest.of_bytes([raw]))[0]


def keys(names: Sequence[str]) -> list[bytes]:
    """The keys of many names, in their order."""
    if max(map(len, names), default=0) * 4 <= WHOLE_NAME_BYTES_MAX:
        return list(map(str.encode, names))
    return [key(name) if len(name) * 4 > WHOLE_NAME_BYTES_MAX else name.encode() for name in names]


def is_whole(name_key: bytes | memoryview) -> bool:
    """Whether the key holds the whole name."""
    return len(name_key) <= WHOLE_NAME_BYTES_MAX


def digest_key(stored: bytes) -> bytes:
    """The key under which a stored digest lies."""
    return stored[:DIGEST_KEY_BYTES]


def slot_keys(slot: int, slots: int) -> list[bytes]:
    """The keys of the digest table that make up one slot of `slots` (a power of two up to SLOTS_MAX)."""
    each = SLOTS_MAX // slots
    return [number.to_bytes(DIGEST_KEY_BYTES, "big") for number in range(slot * each, (slot + 1) * each)]


def id_key(collection_id: int) -> bytes:
    """The key of a collection's id in `collection_name` and `member`."""
    return collection_id.to_bytes(8, "big")


def position_key(position: int) -> bytes:
    """The key of a commit in `change`."""
    return position.to_bytes(8, "big")


def position_of(key: bytes | memoryview) -> int:
    """The commit of a row of `change`."""
    return int.from_bytes(key, "big")


def attribute_key(what: What, name: str) -> bytes:
    """The key of an attribute's definition."""
    return what[:1].encode() + name.encode()


def attribute_of(key: bytes | memoryview) -> tuple[What, str]:
    """What an attribute is defined on, and its name."""
    text = str(key, "utf-8")
    return ("lfn" if text[0] == "l" else "pfn"), text[1:]


def attribute_id_key(attribute_id: int) -> bytes:
    """The key of an attribute's id in `attribute_name`, and the beginning of its keys in `value`."""
    return attribute_id.to_bytes(ATTRIBUTE_ID_BYTES, "big")
