"""What the rules must know before they decide a request: the records, digests and holders of the names in it.

All of it is read in the transaction that will write, once for each name of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeAlias

from lrc import layout, mappings
from lrc.mappings import Faults, Holders, Overlay, WriteBody
from lrc.reads import View
from reploc import digest
from reploc.errors import ReplocError, TooLarge
from reploc.wire import RenameBody

#: Records that one renaming of PFNs may change in its one transaction: ten times a bulk request's items.
RENAMED_RECORDS_MAX = 100_000

#: Takes into an overlay what the catalog knows of some LFNs.
Load: TypeAlias = Callable[[View, Overlay, Sequence[str]], None]


def needs_own_commit(body: WriteBody) -> bool:
    """Whether the request cannot share its commit with others."""
    return isinstance(body, RenameBody) and body.what == "pfn"


def decided(
    view: View, overlay: Overlay, load: Load, body: WriteBody, faults: Faults
) -> mappings.Outcome | ReplocError:
    """What becomes of one request; an error where it would read too much."""
    if clashing := _clashing(view, overlay, mappings.collections_of(body, faults)):
        faults = mappings.collection_faults(body, clashing) | faults
    try:
        holders = _load_holders(view, mappings.pfns_of(body, faults))
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
    unknown = _load_known(view, overlay, lfns)
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
