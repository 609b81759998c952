"""The client of a catalog's attributes: definitions, values, and searches by value, for any number of items.

`LrcClient.attributes` is one over the same connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from reploc import names
from reploc.attributes import (
    ATTRIBUTES_MAX,
    After,
    AttributeItem,
    DefineBody,
    Definition,
    Definitions,
    Found,
    NameValues,
    Operator,
    RemoveBody,
    RemoveItem,
    SearchBody,
    SearchPage,
    SetBody,
    SetItem,
    UndefineBody,
    UndefineItem,
    Value,
    Values,
    ValuesBody,
    What,
)
from reploc.client.batches import batch_size, cut, joined
from reploc.client.calls import Calls
from reploc.client.concurrency import side_by_side
from reploc.wire import PAGE_ITEMS, Written


class AttributesClient(Calls):
    """The attributes of the catalog at `url`. Bulk operations are cut into batches and numbered as by LrcClient."""

    # ---- writing

    async def define(
        self, attributes: Sequence[AttributeItem], *, if_absent: bool = False, atomic: bool = False
    ) -> Written:
        """Defines attributes; `if_absent`: one that is defined already with the same type is success."""
        size = batch_size(attributes, atomic, ATTRIBUTES_MAX)

        async def send(batch: Sequence[AttributeItem]) -> Written:
            body = DefineBody(list(batch), if_absent=if_absent, atomic=atomic)
            return await self._post("/v1/attributes/define", body, Written, idempotent=if_absent)

        return joined(await side_by_side(send, cut(attributes, size), limit=1), size)

    async def undefine(
        self, attributes: Sequence[UndefineItem], *, clear: bool = False, atomic: bool = False
    ) -> Written:
        """Forgets attributes. One that has values is the error `attribute-in-use`, unless `clear` removes them first,
        which takes many commits and is not undone where a later item fails."""
        size = batch_size(attributes, atomic, ATTRIBUTES_MAX)

        async def send(batch: Sequence[UndefineItem]) -> Written:
            body = UndefineBody(list(batch), clear=clear, atomic=atomic)
            return await self._post("/v1/attributes/undefine", body, Written, idempotent=False)

        return joined(await side_by_side(send, cut(attributes, size), limit=1), size)

    async def set(
        self,
        what: What,
        values: Sequence[SetItem],
        mode: Literal["set", "add", "modify"] = "set",
        *,
        atomic: bool = False,
    ) -> Written:
        """Sets values of LFNs or PFNs. `add`: the name must have none of the attribute yet. `modify`: it must."""
        size = batch_size(values, atomic)

        async def send(batch: Sequence[SetItem]) -> Written:
            body = SetBody(what, list(batch), mode, atomic=atomic)
            return await self._post("/v1/attributes/set", body, Written, idempotent=mode != "add")

        return joined(await side_by_side(send, cut(values, size)), size)

    async def remove(self, what: What, values: Sequence[RemoveItem], *, atomic: bool = False) -> Written:
        """Removes values, or all values of a name where no attribute is given."""
        size = batch_size(values, atomic)

        async def send(batch: Sequence[RemoveItem]) -> Written:
            body = RemoveBody(what, list(batch), atomic=atomic)
            return await self._post("/v1/attributes/remove", body, Written, idempotent=False)

        return joined(await side_by_side(send, cut(values, size)), size)

    # ---- reading

    async def definitions(self, what: What | None = None, name: str | None = None) -> list[Definition]:
        """The attributes that are defined, each with the number of its values, the least and the greatest."""
        return (await self._get("/v1/attributes", Definitions, what=what, name=name)).attributes

    async def of(self, what: What, name: str) -> NameValues:
        """All values of one LFN or PFN. Raises LfnUnknown or PfnUnknown."""
        return await self._get("/v1/attributes/values", NameValues, what=what, name=names.require(name, what))

    async def values(self, what: What, asked: Sequence[str], attribute: str | None = None) -> Values:
        """The values of many LFNs or PFNs, or those of one attribute; `unknown` holds names that are not registered."""
        names.require_all(asked, f"{what}s")

        async def send(batch: Sequence[str]) -> Values:
            return await self._post("/v1/attributes/values", ValuesBody(what, list(batch), attribute), Values)

        found = Values({}, [])
        for answer in await side_by_side(send, cut(asked)):
            found.values.update(answer.values)
            found.unknown.extend(answer.unknown)
        return found

    async def search_page(self, body: SearchBody) -> SearchPage:
        """One page of a search. It may hold few or none and still not be the last."""
        return await self._post("/v1/attributes/search", body, SearchPage)

    async def search(
        self, what: What, attribute: str, op: Operator, value: Value | None = None, upper: Value | None = None
    ) -> AsyncIterator[Found]:
        """All names whose value compares like this, in the order of their values, page after page.

        Raises AttributeUnknown, and ValueInvalid where an operand is not of the attribute's type.
        """
        after: After | None = None
        while True:
            page = await self.search_page(SearchBody(what, attribute, op, value, upper, PAGE_ITEMS, after))
            for found in page.found:
                yield found
            if page.next is None:
                return
            after = After(page.next.name, page.next.value)
