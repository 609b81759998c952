"""The routes of a catalog's attributes. Short reads answer on the loop; long searches and bulk reads go to a thread."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType

from lrc import named
from lrc.catalog import Catalog
from lrc.clearing import clear_attribute
from lrc.threads import Threads
from lrc.writer import Writer
from reploc import names
from reploc.actions import Action, everything
from reploc.attributes import (
    AttributeName,
    DefineBody,
    Definitions,
    NameValues,
    RemoveBody,
    SearchBody,
    SearchPage,
    SetBody,
    UndefineBody,
    Values,
    ValuesBody,
    ValuesQuery,
    What,
)
from reploc.errors import AttributeUnknown, LfnUnknown, PfnUnknown
from reploc.routes import Call, Done, Route, get, post
from reploc.wire import Body, Written


class AttributesQuery(Body, frozen=True):
    """The attributes of LFNs or of PFNs, or those of one name."""

    what: What | UnsetType = UNSET
    name: AttributeName | UnsetType = UNSET


class AttributeRoutes:
    """Their handlers."""

    def __init__(self, catalog: Catalog, threads: Threads, writer: Writer) -> None:
        self._catalog = catalog
        self._threads = threads
        self._writer = writer

    def routes(self) -> list[Route[Any]]:
        """Every route under /v1/attributes."""
        return [*self._of_definitions(), *self._of_values()]

    def _of_definitions(self) -> list[Route[Any]]:
        change = Action.WRITE_CATALOG
        return [
            get(
                "/v1/attributes",
                self.definitions,
                AttributesQuery,
                "The attributes, with statistics of their values",
                action=Action.READ_CATALOG,
                acts_on=everything,
            ),
            post(
                "/v1/attributes/define",
                self.define,
                DefineBody,
                "Define attributes",
                action=change,
                acts_on=everything,
            ),
            post(
                "/v1/attributes/undefine",
                self.undefine,
                UndefineBody,
                "Forget attributes",
                action=change,
                acts_on=everything,
            ),
        ]

    def _of_values(self) -> list[Route[Any]]:
        see, change = Action.READ_CATALOG, Action.WRITE_CATALOG
        return [
            post(
                "/v1/attributes/set",
                self.set,
                SetBody,
                "Set values of LFNs or PFNs",
                action=change,
                acts_on=named.valued,
            ),
            post(
                "/v1/attributes/remove",
                self.remove,
                RemoveBody,
                "Remove values of LFNs or PFNs",
                action=change,
                acts_on=named.valued,
            ),
            get(
                "/v1/attributes/values",
                self.values_of_one,
                ValuesQuery,
                "All values of one LFN or PFN",
                action=see,
                acts_on=named.one_valued,
            ),
            post(
                "/v1/attributes/values",
                self.values,
                ValuesBody,
                "The values of many LFNs or PFNs",
                action=see,
                acts_on=named.many_valued,
            ),
            post(
                "/v1/attributes/search",
                self.search,
                SearchBody,
                "The names whose values compare as asked",
                action=see,
                acts_on=everything,
                begin=self.begin_search,
            ),
        ]

    async def definitions(self, call: Call[AttributesQuery]) -> Definitions:
        what = None if call.what.what is UNSET else call.what.what
        name = None if call.what.name is UNSET else call.what.name
        return Definitions(self._catalog.attributes(what, name))

    async def define(self, call: Call[DefineBody]) -> Written:
        return await self._writer.submit(call.what)

    async def undefine(self, call: Call[UndefineBody]) -> Written:
        if call.what.clear:
            for item in call.what.attributes:
                try:
                    await clear_attribute(self._catalog, self._threads, self._writer, item.what, item.name)
                except AttributeUnknown:
                    continue  # which the answer says of this item
        return await self._writer.submit(call.what)

    async def set(self, call: Call[SetBody]) -> Written:
        return await self._writer.submit(call.what)

    async def remove(self, call: Call[RemoveBody]) -> Written:
        return await self._writer.submit(call.what)

    async def values_of_one(self, call: Call[ValuesQuery]) -> NameValues:
        what, name = call.what.what, names.require(call.what.name, call.what.what)
        found = self._catalog.values(what, [name]).values.get(name)
        if found is None:
            unknown = LfnUnknown if what == "lfn" else PfnUnknown
            raise unknown(f"{name[:200]!r} is not in the catalog of {self._catalog.site}")
        return NameValues(name, found)

    async def values(self, call: Call[ValuesBody]) -> Values:
        body = call.what
        names.require_all(body.names, "names")
        return await self._threads.run(partial(self._catalog.values, body.what, body.names, body.attribute))

    async def search(self, call: Call[SearchBody]) -> SearchPage:
        _require_place(call.what)
        return await self._threads.run(partial(self._catalog.search, call.what))

    def begin_search(self, call: Call[SearchBody], done: Done) -> None:
        """The same, where few rows are looked at: a thread would cost more than they do."""
        _require_place(call.what)
        done(self._catalog.search_shortly(call.what))


def _require_place(body: SearchBody) -> None:
    """NameInvalid: the page is to begin behind what is no name."""
    if body.after is not None:
        names.require(body.after.name, "after.name")
