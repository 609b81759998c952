"""The rules of registering, deleting and renaming mappings: pure, over an overlay of the records concerned.

    create  the LFN must be unknown                     `lfn-exists`
    add     the LFN must be known                       `lfn-unknown`
    put     either of the two
    delete  one mapping, or all of the LFN              `lfn-unknown`, `mapping-unknown`
    rename  an LFN to an unknown one, or a PFN under    `lfn-unknown`, `lfn-exists`, `pfn-unknown`
            every LFN that it stands under

A mapping that is there already is no error of add and put, and an LFN goes with its last mapping. Size, checksum and
collection belong to the LFN: where the catalog knows none, a value given fills it in; where it knows another, that is
`attributes-differ` unless the request says `update`; where none is given, nothing changes. Checksums are compared in
lower case. In an atomic request one item's error undoes all its items, and the answer lists every item that fails.

What the rules decide lies in the overlay; `lrc/index.py` writes the difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lrc.layout import PFNS_PER_LFN_MAX, StoredAttribute
from lrc.values import PfnValues
from reploc import names
from reploc.attributes import What
from reploc.errors import (
    AttributesDiffer,
    DigestCollision,
    LfnExists,
    LfnUnknown,
    MappingUnknown,
    NameInvalid,
    PfnsFull,
    PfnUnknown,
    ReplocError,
    TooLarge,
)
from reploc.wire import DeleteBody, DeleteItem, ItemError, MappingItem, MappingsBody, RenameBody, RenameItem

MappingBody: TypeAlias = MappingsBody | DeleteBody | RenameBody
Item = TypeVar("Item")
#: Item → what is wrong with its names, found before any rule is applied.
Faults: TypeAlias = dict[int, ReplocError]
#: PFN → the LFNs that it stands under; None where those are more than one request may change.
Holders: TypeAlias = dict[str, list[str] | None]
#: Attribute → how it is defined.
Definitions: TypeAlias = dict[tuple[What, str], StoredAttribute | None]

#: A checksum that needs no second look: there is one per item, and a fault's words only for a few.
_CHECKSUM = re.compile("|".join(f"{name}:[0-9a-f]{{{digits}}}" for name, digits in names.CHECKSUM_DIGITS.items()))
#: Characters of a name that an error's message quotes.
QUOTED_CHARS = 200


class Record(Struct, frozen=True, gc=False):
    """What the catalog knows of one LFN. `pfns` are distinct, in the order of their registration, and never empty;
    `values` are those of its attributes (`lrc/values.py`)."""

    lfn: str
    size: int | None
    checksum: str | None
    collection: str | None
    pfns: tuple[str, ...]
    values: bytes | None = None


class Outcome(Struct, frozen=True):
    """`done` items took effect or were true already; the others are listed. Of an atomic request it is all or none."""

    done: int
    errors: list[ItemError]


class Overlay:
    """The records that a group of requests is about, as loaded and as they will be.

    #: `before` and `after` hold the same LFNs in the same order, None for one that is not in the catalog.
    #: `digests` holds the stored digest of each LFN that was unknown when loaded; `taken` those of them whose digest
    #: is known to stand in the catalog for another LFN.
    #: `collection_keys` holds, by key, the collections of long names, in the catalog or about to be.
    #: `definitions_before` and `definitions_after` hold the same attributes, None for one that is not defined.
    """

    def __init__(self) -> None:
        self.before: dict[str, Record | None] = {}
        self.after: dict[str, Record | None] = {}
        self.digests: dict[str, bytes] = {}
        self.taken: set[str] = set()
        self.collection_keys: dict[bytes, str] = {}
        self.pfn_values = PfnValues()
        self.definitions_before: Definitions = {}
        self.definitions_after: Definitions = {}
        self._claims: dict[bytes, str] = {}
        self._undo: list[tuple[str, Record | None]] = []

    def load(self, record: Record) -> None:
        """Take in a record as it stands in the catalog."""
        self.before[record.lfn] = self.after[record.lfn] = record

    def load_unknown(self, lfns: Sequence[str], digests: Sequence[bytes], taken: Iterable[str] = ()) -> None:
        """Take in that the catalog does not hold these LFNs, with their stored digests."""
        nothing: dict[str, Record | None] = dict.fromkeys(lfns)
        self.before.update(nothing)
        self.after.update(nothing)
        self.digests.update(zip(lfns, digests, strict=True))
        self.taken.update(taken)

    def set(self, lfn: str, record: Record | None) -> None:
        """Decide how a loaded LFN will stand."""
        self._undo.append((lfn, self.after[lfn]))
        self._place(lfn, record)

    def add(self, record: Record) -> bool:
        """Decide that an LFN which is unknown so far will stand like this; False, and nothing decided, where another
        LFN, in the catalog or about to be, has its digest."""
        lfn = record.lfn
        digest = self.digests.get(lfn)
        if digest is not None and (lfn in self.taken or self._claims.setdefault(digest, lfn) != lfn):
            return False
        self._undo.append((lfn, None))
        self.after[lfn] = record
        return True

    def _place(self, lfn: str, record: Record | None) -> None:
        self.after[lfn] = record
        digest = self.digests.get(lfn)
        if digest is None:
            return
        if record is not None:
            self._claims[digest] = lfn
        elif self._claims.get(digest) == lfn:
            del self._claims[digest]

    def mark(self) -> None:
        """Forget how to undo what has been decided so far."""
        self._undo.clear()

    def rollback(self) -> None:
        """Undo everything since the mark."""
        while self._undo:
            self._place(*self._undo.pop())
        self.pfn_values.rollback()

    def changes(self) -> list[tuple[Record | None, Record | None]]:
        """(before, after) of each LFN that will stand otherwise."""
        return [
            (old, new)
            for old, new in zip(self.before.values(), self.after.values(), strict=True)
            if new is not old and new != old
        ]


# ---- names -----------------------------------------------------------------------------------------------------------


def name_faults(body: MappingBody) -> Faults:
    """The items whose names or checksums are none, each with its NameInvalid."""
    found: Faults = {}
    if isinstance(body, RenameBody):
        _name_faults(found, f"old {body.what}", [item.old for item in body.names])
        _name_faults(found, f"new {body.what}", [item.new for item in body.names])
        return found
    _name_faults(found, "lfn", [item.lfn for item in body.mappings])
    _name_faults(found, "pfn", ["-" if item.pfn is None else item.pfn for item in body.mappings])
    if isinstance(body, MappingsBody):
        _collection_faults(found, body.mappings)
        _checksum_faults(found, body.mappings)
    return found


def _name_faults(found: Faults, what: str, given: Sequence[str]) -> None:
    for index, wrong in names.faults(given).items():
        found.setdefault(index, NameInvalid(f"{what} {wrong}"))


def _collection_faults(found: Faults, items: Sequence[MappingItem]) -> None:
    distinct = list({item.collection for item in items if item.collection is not None})
    if wrong := {distinct[at]: words for at, words in names.faults(distinct).items()}:
        for index, item in enumerate(items):
            if item.collection in wrong:
                found.setdefault(index, NameInvalid(f"collection {wrong[item.collection]}"))


def _checksum_faults(found: Faults, items: Sequence[MappingItem]) -> None:
    for index, item in enumerate(items):
        if item.checksum is None or _CHECKSUM.fullmatch(item.checksum):
            continue
        if wrong := names.checksum_fault(item.checksum.lower()):
            found.setdefault(index, NameInvalid(wrong))


def collections_of(body: MappingBody, faults: Faults) -> set[str]:
    """The collections that the body names, save in items at fault."""
    if not isinstance(body, MappingsBody):
        return set()
    return {item.collection for at, item in enumerate(body.mappings) if item.collection and at not in faults}


def collection_faults(body: MappingBody, clashing: Container[str]) -> Faults:
    """The items whose collection cannot be told from another, each with its DigestCollision."""
    items = body.mappings if isinstance(body, MappingsBody) else []
    return {
        at: DigestCollision(f"collection {quoted(item.collection)} has the digest of another collection")
        for at, item in enumerate(items)
        if item.collection in clashing
    }


def lfns_of(body: MappingBody, faults: Faults) -> list[str]:
    """The LFNs that must be loaded before the body is applied; those of items at fault are left out."""
    if isinstance(body, RenameBody):
        if body.what == "pfn":
            return []
        return [name for index, item in enumerate(body.names) if index not in faults for name in (item.old, item.new)]
    items: Sequence[MappingItem | DeleteItem] = body.mappings
    if not faults:
        return [item.lfn for item in items]
    return [item.lfn for index, item in enumerate(items) if index not in faults]


def pfns_of(body: MappingBody, faults: Faults) -> list[str]:
    """The PFNs whose holders must be known before the body is applied: those of a renaming of PFNs, else none."""
    if not isinstance(body, RenameBody) or body.what != "pfn":
        return []
    return [name for index, item in enumerate(body.names) if index not in faults for name in (item.old, item.new)]


# ---- rules -----------------------------------------------------------------------------------------------------------


def apply(overlay: Overlay, body: MappingBody, faults: Faults, holders: Holders | None = None) -> Outcome:
    """Decide every item of a request in its order, or none of an atomic one that has an error.

    All of `lfns_of` and every LFN in `holders`, which has all of `pfns_of`, must be loaded.
    """
    overlay.mark()
    if isinstance(body, MappingsBody):
        errors = each(body.mappings, faults, lambda item: _register(overlay, item, body))
        count = len(body.mappings)
    elif isinstance(body, DeleteBody):
        errors = each(body.mappings, faults, lambda item: _delete(overlay, item))
        count = len(body.mappings)
    else:
        rename = _pfn_renamer(overlay, holders or {}) if body.what == "pfn" else _lfn_renamer(overlay)
        errors = each(body.names, faults, rename)
        count = len(body.names)
    if errors and body.atomic:
        overlay.rollback()
        return Outcome(0, errors)
    return Outcome(count - len(errors), errors)


def each(
    items: Sequence[Item], faults: Mapping[int, ReplocError], rule: Callable[[Item], ReplocError | None]
) -> list[ItemError]:
    """What is wrong with each item: its fault, or what the rule says."""
    errors = []
    for index, item in enumerate(items):
        if (error := faults.get(index) or rule(item)) is not None:
            errors.append(ItemError(index, error.code, error.detail))
    return errors


def _register(overlay: Overlay, item: MappingItem, body: MappingsBody) -> ReplocError | None:
    lfn = item.lfn
    record = overlay.after[lfn]
    if record is None:
        if body.mode == "add":
            return LfnUnknown(f"lfn {quoted(lfn)} is not registered; mode add needs a known LFN")
        checksum = item.checksum and item.checksum.lower()
        new = Record(lfn, item.size, checksum, item.collection, (item.pfn,))
        return None if overlay.add(new) else _collision(lfn)
    if body.mode == "create":
        return LfnExists(f"lfn {quoted(lfn)} is registered already")
    return _extend(overlay, record, item, body.update)


def _extend(overlay: Overlay, record: Record, item: MappingItem, update: bool) -> ReplocError | None:
    """Another mapping, or the same one, of a known LFN."""
    checksum = item.checksum and item.checksum.lower()
    given = (("size", item.size), ("checksum", checksum), ("collection", item.collection))
    news = {field: value for field, value in given if value is not None and value != getattr(record, field)}
    if not update and (differ := [field for field in news if getattr(record, field) is not None]):
        said = ", ".join(f"{field} is {quoted(getattr(record, field))}, not {quoted(news[field])}" for field in differ)
        return AttributesDiffer(f"lfn {quoted(record.lfn)}: {said}")
    if item.pfn not in record.pfns:
        if len(record.pfns) >= PFNS_PER_LFN_MAX:
            return PfnsFull(
                f"lfn {quoted(record.lfn)} has {PFNS_PER_LFN_MAX:,} PFNs, which is the most that it can have"
            )
        overlay.set(record.lfn, replace(record, pfns=(*record.pfns, item.pfn), **news))
    elif news:
        overlay.set(record.lfn, replace(record, **news))
    return None


def _delete(overlay: Overlay, item: DeleteItem) -> ReplocError | None:
    record = overlay.after[item.lfn]
    if record is None:
        return LfnUnknown(f"lfn {quoted(item.lfn)} is not registered")
    if item.pfn is None:
        overlay.set(item.lfn, None)
        return None
    if item.pfn not in record.pfns:
        return MappingUnknown(f"lfn {quoted(item.lfn)} has no pfn {quoted(item.pfn)}")
    rest = tuple(pfn for pfn in record.pfns if pfn != item.pfn)
    overlay.set(item.lfn, replace(record, pfns=rest) if rest else None)
    return None


def _lfn_renamer(overlay: Overlay) -> Callable[[RenameItem], ReplocError | None]:
    def rename(item: RenameItem) -> ReplocError | None:
        record = overlay.after[item.old]
        if record is None:
            return LfnUnknown(f"lfn {quoted(item.old)} is not registered")
        if item.new == item.old:
            return None
        if overlay.after[item.new] is not None:
            return LfnExists(f"lfn {quoted(item.new)} is registered already")
        if not overlay.add(replace(record, lfn=item.new)):
            return _collision(item.new)
        overlay.set(item.old, None)
        return None

    return rename


def _pfn_renamer(overlay: Overlay, loaded: Holders) -> Callable[[RenameItem], ReplocError | None]:
    """The rule for one renaming of a PFN; what the earlier ones of the request moved, the later ones see."""
    holders = dict(loaded)

    def rename(item: RenameItem) -> ReplocError | None:
        old, new = holders[item.old], holders[item.new]
        if old is None or new is None:
            return TooLarge("the request would rename PFNs under more LFNs than one request may change")
        if not old:
            return PfnUnknown(f"pfn {quoted(item.old)} is not registered")
        if item.new == item.old:
            return None
        try:
            overlay.pfn_values.rename(item.old, item.new)
        except ReplocError as wrong:
            return wrong
        for lfn in old:
            record = overlay.after[lfn]
            assert record is not None
            overlay.set(lfn, replace(record, pfns=_renamed(record.pfns, item.old, item.new)))
        holders[item.new] = list(dict.fromkeys([*new, *old]))
        holders[item.old] = []
        return None

    return rename


def _renamed(pfns: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    """The PFNs with `old` called `new`; where `new` is among them already, the two become one."""
    return tuple(dict.fromkeys(new if pfn == old else pfn for pfn in pfns))


def _collision(lfn: str) -> DigestCollision:
    return DigestCollision(f"lfn {quoted(lfn)} has the digest of another LFN of this catalog")


def quoted(value: object) -> str:
    """A name or value for the words of an error."""
    text = str(value)
    return repr(text if len(text) <= QUOTED_CHARS else text[: QUOTED_CHARS - 1] + "…")
