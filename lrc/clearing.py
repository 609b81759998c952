"""The removal of what is too much for one commit: all values of an attribute, or all mappings, some at a time.

Others go on writing meanwhile; what they add is removed too, as long as it is found.
"""

from __future__ import annotations

from functools import partial

from lrc.catalog import Catalog
from lrc.threads import Threads
from lrc.writer import Writer
from reploc.attributes import RemoveBody, RemoveItem, SearchBody, What
from reploc.wire import DeleteBody, DeleteItem

#: Names that one commit is about.
CLEAR_NAMES = 1_000


async def clear_attribute(catalog: Catalog, threads: Threads, writer: Writer, what: What, attribute: str) -> None:
    """Every value of an attribute goes. AttributeUnknown."""
    search = SearchBody(what, attribute, "all", limit=CLEAR_NAMES)
    while found := (await threads.run(partial(catalog.search, search))).found:
        await writer.submit(RemoveBody(what, [RemoveItem(one.name, attribute) for one in found]))


async def clear_mappings(catalog: Catalog, threads: Threads, writer: Writer) -> None:
    """Every mapping goes, with the values of its names; definitions stay."""
    while lfns := (await threads.run(partial(catalog.lfns, limit=CLEAR_NAMES))).lfns:
        await writer.submit(DeleteBody([DeleteItem(lfn) for lfn in lfns]))
