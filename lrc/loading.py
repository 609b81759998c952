"""What the rules must know before they decide a request: the records, digests and holders of the names in it.

All of it is read in the transaction that will write, once for each name of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeAlias

from lrc import attribute_reads, attributes, layout, mappings
from lrc.attributes import DefinitionBody, ValueBody
from lrc.mappings import Faults, Holders, MappingBody, Overlay
from lrc.reads import View
from reploc import digest
from reploc.attributes import DefineBody, RemoveBody, SetBody, UndefineBody
from reploc.errors import ReplocError, TooLarge
from reploc.wire import MappingsBody, RenameBody

#: Records that one renaming of PFNs may change in its one transaction: ten times a bulk request's items.
RENAMED_RECORDS_MAX = 100_000

#: Takes into an overlay what the catalog knows of some LFNs.
Load: TypeAlias = Callable[[View, Overlay, Sequence[str]], None]


#: Whatever a catalog can be told to change.
WriteBody: TypeAlias = MappingBody | DefinitionBody | ValueBody


def needs_own_commit(body: WriteBody) -> bool:
    """Whether the request cannot share its commit with others: it reads tables that these would change."""
    if isinstance(body, RenameBody | SetBody | RemoveBody):
        return body.what == "pfn"
    return isinstance(body, DefineBody | UndefineBody)


def item_count(body: WriteBody) -> int:
    """How many items a request has."""
    if isinstance(body, RenameBody):
        return len(body.names)
    if isinstance(body, SetBody | RemoveBody):
        return len(body.values)
    return len(body.attributes if isinstance(body, DefineBody | UndefineBody) else body.mappings)


def name_faults(body: WriteBody) -> Faults:
    """The items whose names are none, found before anything is read."""
    if isinstance(body, MappingBody):
        return mappings.name_faults(body)
    return attributes.name_faults(body)


def name_faults_of_each(bodies: Sequence[WriteBody]) -> list[Faults]:
    """The same for each request of a group. Registrations are looked at together, as nearly always nothing is wrong."""
    registrations = [body for body in bodies if isinstance(body, MappingsBody)]
    together = MappingsBody("put", [item for body in registrations for item in body.mappings])
    if len(registrations) < 2 or mappings.name_faults(together):
        return [name_faults(body) for body in bodies]
    return [{} if isinstance(body, MappingsBody) else name_faults(body) for body in bodies]


def prepare(view: View, overlay: Overlay, load: Load, bodies: Sequence[WriteBody], faults: Sequence[Faults]) -> None:
    """Load at once what the requests of a group map. Where that is too much, each of them is told so by itself."""
    each = zip(bodies, faults, strict=True)
    lfns = [lfn for body, wrong in each if isinstance(body, MappingBody) for lfn in mappings.lfns_of(body, wrong)]
    if len(bodies) > 1:
        with suppress(TooLarge):
            load(view, overlay, lfns)


def decided(
    view: View, overlay: Overlay, load: Load, body: WriteBody, faults: Faults
) -> mappings.Outcome | ReplocError:
    """What becomes of one request; an error where it would read too much."""
    if isinstance(body, MappingBody):
        return _decided_mappings(view, overlay, load, body, faults)
    overlay.definitions_before = attribute_reads.definitions_of(view, attributes.attributes_of(body))
    overlay.definitions_after = dict(overlay.definitions_before)
    if isinstance(body, DefineBody | UndefineBody):
        return attributes.define(overlay, body, faults, *attribute_reads.defined(view))
    try:
        if body.what == "lfn":
            load(view, overlay, attributes.names_of(body, faults))
        else:
            attribute_reads.load_pfn_values(view, overlay.pfn_values, attributes.names_of(body, faults))
    except TooLarge as error:
        return error
    return attributes.apply(overlay, body, faults)


def _decided_mappings(
    view: View, overlay: Overlay, load: Load, body: MappingBody, faults: Faults
) -> mappings.Outcome | ReplocError:
    if clashing := _clashing(view, overlay, mappings.collections_of(body, faults)):
        faults = mappings.collection_faults(body, clashing) | faults
    try:
        pfns = mappings.pfns_of(body, faults)
        holders = _load_holders(view, pfns)
        attribute_reads.load_pfn_values(view, overlay.pfn_values, pfns)
        load(
            view, overlay, [*mappings.lfns_of(body, faults), *(lfn for lfns in holders.values() for lfn in lfns or ())]
        )
    except TooLarge as error:
        return error
    return mappings.apply(overlay, body, faults, holders)


def load(view: View, overlay: Overlay, lfns: Sequence[str]) -> None:
    """Take into the overlay what the catalog knows of those LFNs that it does not hold yet.

    Whether a new LFN's digest stands for another is left to the flush, which finds out without a look of its own.
    """
    if unknown := _load_known(view, overlay, lfns):
        overlay.load_unknown(unknown, digest.stored(digest.of(unknown)))


def load_with_taken(view: View, overlay: Overlay, lfns: Sequence[str]) -> None:
    """The same, and which new LFNs have the digest of another: once in a catalog's life, or an attack."""
    unknown = _load_known(view, overlay, lfns)
    digests = digest.stored(digest.of(unknown))
    there = view.has_digests(digests)
    overlay.load_unknown(unknown, digests, [lfn for lfn, taken in zip(unknown, there, strict=True) if taken])


def _load_known(view: View, overlay: Overlay, lfns: Sequence[str]) -> list[str]:
    """Take in the LFNs that the catalog knows; the others."""
    before = overlay.before
    wanted = [lfn for lfn in dict.fromkeys(lfns) if lfn not in before]
    if not wanted:
        return []
    unknown = []
    for lfn, stored in zip(wanted, view.stored_many(wanted), strict=True):
        if stored is None:
            unknown.append(lfn)
        else:
            overlay.load(view.record(lfn, stored))
    return unknown


def _clashing(view: View, overlay: Overlay, collections: Iterable[str]) -> set[str]:
    """The collections of long names whose key is another's, in the catalog or in the overlay."""
    found = set()
    for name in collections:
        key = layout.key(name)
        if layout.is_whole(key):
            continue
        holder = view.collection_under(key)
        if overlay.collection_keys.setdefault(key, holder.name if holder else name) != name:
            found.add(name)
    return found


def _load_holders(view: View, pfns: Sequence[str]) -> Holders:
    """The LFNs under each PFN, None from where the request would change too many records."""
    holders: Holders = {}
    room = RENAMED_RECORDS_MAX
    for pfn in pfns:
        if pfn not in holders:
            lfns = list(islice(view.holders(pfn), room + 1))
            holders[pfn] = lfns if len(lfns) <= room else None
            room = max(0, room - len(lfns))
    return holders
