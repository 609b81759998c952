"""What the RLS port is told and asked about attributes: the protocol's types, codes and orders of parameters.

Values are text there: numbers in decimal, all 64 bits of an integer, and times without a zone, which are taken for UTC
and lose their fraction of a second. Where later servers have codes of their own for a value that is not there (29) and
an attribute in use (30), methods that the first ones had answer as those did (23 and 22).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from lrc.catalog import Catalog
from lrc.clearing import clear_attribute
from lrc.rls.reads import RESULTS_MAX
from lrc.threads import Threads
from lrc.writer import Writer
from reploc.attributes import (
    After,
    AttributeItem,
    AttributeType,
    DefineBody,
    Definition,
    Found,
    Operator,
    RemoveBody,
    RemoveItem,
    SearchBody,
    SetBody,
    SetItem,
    UndefineBody,
    UndefineItem,
    Value,
    What,
    from_text,
)
from reploc.errors import ValueInvalid
from reploc.rls.port import code_of
from reploc.rls.protocol import (
    DONE,
    Code,
    ObjectType,
    Refused,
    Request,
    listing,
    name,
    number,
    object_type,
    window,
)
from reploc.wire import PAGE_ITEMS, ItemError

#: Their number of a type → ours, and of an operator.
_TYPES: tuple[AttributeType, ...] = ("time", "float", "int", "text")
_OPERATORS: tuple[Operator, ...] = ("all", "=", "!=", ">", ">=", "<", "<=", "between", "like")
#: How a time may be written, first as the C client does.
_TIMES = ("%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S")


class Attributes:
    """The methods about attributes."""

    def __init__(self, catalog: Catalog, threads: Threads, writer: Writer) -> None:
        self._catalog = catalog
        self._threads = threads
        self._writer = writer

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[bytes]]]:
        """Method → answer."""
        return {
            b"lrc_attr_create": self.define,
            b"lrc_attr_delete": self.undefine,
            b"lrc_attr_get": self.definitions,
            b"lrc_attr_add": self.add,
            b"lrc_attr_modify": self.modify,
            b"lrc_attr_remove": self.remove,
            b"lrc_attr_value_get": self.values,
            b"lrc_attr_search": self.search,
            b"lrc_attr_add_bulk": self.add_bulk,
            b"lrc_attr_remove_bulk": self.remove_bulk,
            b"lrc_attr_value_get_bulk": self.values_bulk,
        }

    # ---- definitions -------------------------------------------------------------------------------------------------

    async def define(self, request: Request) -> bytes:
        """`lrc_attr_create` name, object type, type."""
        called, what = name(request.parameters[0], "attribute"), _what(request.parameters[1])
        item = AttributeItem(what, called, _type(request.parameters[2]))
        return _done((await self._writer.submit(DefineBody([item]))).errors, called, called)

    async def undefine(self, request: Request) -> bytes:
        """`lrc_attr_delete` name, object type, 1 to remove its values too."""
        called, what = name(request.parameters[0], "attribute"), _what(request.parameters[1])
        self._defined(what, called)
        if number(request.parameters[2], "clearvalues"):
            await clear_attribute(self._catalog, self._threads, self._writer, what, called)
        return _done((await self._writer.submit(UndefineBody([UndefineItem(what, called)]))).errors, called, called)

    async def definitions(self, request: Request) -> bytes:
        """`lrc_attr_get` name or empty, object type: each name and type."""
        called, what = _optional(request.parameters[0]), _what(request.parameters[1])
        found = self._catalog.attributes(what, called)
        if not found:
            raise Refused(Code.ATTRIBUTE_UNKNOWN, called or "NULL")
        return listing((one.name, str(_TYPES.index(one.type))) for one in found)

    def _defined(self, what: What, called: str) -> Definition:
        found = self._catalog.attributes(what, called)
        if not found:
            raise Refused(Code.ATTRIBUTE_UNKNOWN, called)
        return found[0]

    # ---- values ------------------------------------------------------------------------------------------------------

    async def add(self, request: Request) -> bytes:
        """`lrc_attr_add` key, object type, type, name, value: there is no value yet."""
        key, objtype, kind, called, value = request.parameters
        what, item = self._item(key, objtype, kind, called, value)
        return _done((await self._writer.submit(SetBody(what, [item], "add"))).errors, item.name, item.attribute)

    async def modify(self, request: Request) -> bytes:
        """`lrc_attr_modify` key, name, object type, type, value: there is one."""
        key, called, objtype, kind, value = request.parameters
        what, item = self._item(key, objtype, kind, called, value)
        errors = (await self._writer.submit(SetBody(what, [item], "modify"))).errors
        return _done(errors, item.name, item.attribute, no_value=Refused(Code.VALUE_UNKNOWN, item.attribute))

    async def remove(self, request: Request) -> bytes:
        """`lrc_attr_remove` key, name, object type."""
        key, called = name(request.parameters[0], "name"), name(request.parameters[1], "attribute")
        body = RemoveBody(_what(request.parameters[2]), [RemoveItem(key, called)])
        errors = (await self._writer.submit(body)).errors
        return _done(errors, key, called, no_value=Refused(Code.ATTRIBUTE_UNKNOWN, f"{key}: {called}"))

    def _item(self, key: bytes, objtype: bytes, kind: bytes, called: bytes, value: bytes) -> tuple[What, SetItem]:
        """A value to set. Refused: it is of another type than the attribute, or no value."""
        what, attribute = _what(objtype), name(called, "attribute")
        said, held = _type(kind), self._defined(what, attribute).type
        if said != held:
            wrong = f"specified {_TYPES.index(said)} should be {_TYPES.index(held)}"
            raise Refused(Code.ATTRIBUTE_TYPE, wrong)
        return what, SetItem(name(key, "name"), attribute, _from_port(held, name(value, "value")))

    async def values(self, request: Request) -> bytes:
        """`lrc_attr_value_get` key, name or empty, object type: name, type and value of each."""
        key, called = name(request.parameters[0], "name"), _optional(request.parameters[1])
        what = _what(request.parameters[2])
        if called is not None:
            self._defined(what, called)
        found = await self._threads.run(partial(self._catalog.values, what, [key], called))
        if called is not None and key not in found.values:
            raise Refused(_unknown(what), key)
        entries = self._described(what, found.values.get(key, {}))
        if not entries:
            raise Refused(Code.ATTRIBUTE_UNKNOWN, key)
        return listing(entries)

    def _described(self, what: What, held: Mapping[str, Value]) -> list[tuple[str, str, str]]:
        kinds = {one.name: one.type for one in self._catalog.attributes(what)} if held else {}
        return [
            (called, str(_TYPES.index(kinds[called])), _to_port(kinds[called], value))
            for called, value in sorted(held.items())
            if called in kinds
        ]

    async def search(self, request: Request) -> bytes:
        """`lrc_attr_search` name, object type, operator, two operands, offset, limit: key, type and value of each."""
        attribute, what = name(request.parameters[0], "attribute"), _what(request.parameters[1])
        kind = self._defined(what, attribute).type
        op = _operator(request.parameters[2])
        operands = [name(token, "operand") if token else None for token in request.parameters[3:5]]
        wanted = 0 if op == "all" else 2 if op == "between" else 1
        if None in operands[:wanted]:
            raise Refused(Code.BAD_ARGUMENT, f"operator {request.parameters[2].decode()} takes {wanted} operands")
        given = [_from_port(kind, text) if text is not None else None for text in operands[:wanted]]
        value, upper = [*given, None, None][:2]
        search = SearchBody(what, attribute, op, value, upper)
        offset, limit = window(request, 5)
        found = await self._found(search, offset + limit if limit else RESULTS_MAX + 1)
        if not limit and len(found) > RESULTS_MAX:
            raise Refused(Code.BAD_ARGUMENT, f"more than {RESULTS_MAX} results; give a limit and page, or narrow it")
        cut = found[offset : offset + limit] if limit else found
        if not cut:
            raise Refused(_unknown(what), attribute)
        return listing((one.name, str(_TYPES.index(kind)), _to_port(kind, one.value)) for one in cut)

    async def _found(self, search: SearchBody, most: int) -> list[Found]:
        """The first results of a search."""
        found: list[Found] = []
        after: After | None = None
        while len(found) < most:
            limit = min(PAGE_ITEMS, most - len(found))
            body = SearchBody(search.what, search.attribute, search.op, search.value, search.upper, limit, after)
            page = await self._threads.run(partial(self._catalog.search, body))
            found += page.found
            if page.next is None:
                break
            after = After(page.next.name, page.next.value)
        return found

    # ---- many --------------------------------------------------------------------------------------------------------

    async def add_bulk(self, request: Request) -> bytes:
        """`lrc_attr_add_bulk`: key, object type, type, name, value each; the failed items alone are listed."""
        failed: list[tuple[int, Code]] = []
        by_kind: dict[What, list[tuple[int, SetItem]]] = {}
        for at, (key, objtype, kind, called, value) in enumerate(request.items):
            try:
                what, item = self._item(key, objtype, kind, called, value)
            except Refused as wrong:
                failed.append((at, wrong.code))
            else:
                by_kind.setdefault(what, []).append((at, item))
        for what, items in by_kind.items():
            written = await self._writer.submit(SetBody(what, [item for _, item in items], "add"))
            failed += [(items[error.index][0], _code(error, Code.VALUE_UNKNOWN)) for error in written.errors]
        return _failed(failed, [(item[0], item[3]) for item in request.items])

    async def remove_bulk(self, request: Request) -> bytes:
        """`lrc_attr_remove_bulk`: key, object type, name each."""
        failed: list[tuple[int, Code]] = []
        by_kind: dict[What, list[tuple[int, RemoveItem]]] = {}
        for at, (key, objtype, called) in enumerate(request.items):
            try:
                item = RemoveItem(name(key, "name"), name(called, "attribute"))
                by_kind.setdefault(_what(objtype), []).append((at, item))
            except Refused as wrong:
                failed.append((at, wrong.code))
        for what, items in by_kind.items():
            written = await self._writer.submit(RemoveBody(what, [item for _, item in items]))
            failed += [(items[error.index][0], _code(error, Code.VALUE_UNKNOWN)) for error in written.errors]
        return _failed(failed, [(item[0], item[2]) for item in request.items])

    async def values_bulk(self, request: Request) -> bytes:
        """`lrc_attr_value_get_bulk` name or empty, object type: for each key its values or one miss."""
        called, what = _optional(request.parameters[0]), _what(request.parameters[1])
        if called is not None:
            self._defined(what, called)
        keys = [name(key, "name") for (key,) in request.items]
        found = await self._threads.run(partial(self._catalog.values, what, keys, called))
        entries: list[Sequence[str]] = []
        for key in keys:
            held = found.values.get(key)
            code = _unknown(what) if held is None else Code.VALUE_UNKNOWN
            described = self._described(what, held or {})
            entries += [("0", key, *one) for one in described] or [(str(code.value), key, called or "")]
        return listing(entries)


# ---- parameters ------------------------------------------------------------------------------------------------------


def _what(token: bytes) -> What:
    kind = object_type(token, ObjectType.LRC_LFN, ObjectType.LRC_PFN)
    return "lfn" if kind is ObjectType.LRC_LFN else "pfn"


def _type(token: bytes) -> AttributeType:
    at = number(token, "type") if token else len(_TYPES)
    if at >= len(_TYPES):
        raise Refused(Code.ATTRIBUTE_TYPE, f"{token[:40].decode(errors='replace')}: expected 0 to 3")
    return _TYPES[at]


def _operator(token: bytes) -> Operator:
    at = number(token, "operator")
    if at >= len(_OPERATORS):
        raise Refused(Code.OPERATOR, str(at))
    return _OPERATORS[at]


def _optional(token: bytes) -> str | None:
    return name(token, "attribute") if token else None


def _from_port(kind: AttributeType, text: str) -> Value:
    """A value as the port is told it. Refused: it is none of this type."""
    if kind != "time":
        try:
            return from_text(kind, text)
        except ValueInvalid as wrong:
            raise Refused(Code.BAD_ARGUMENT, wrong.detail) from None
    for form in _TIMES:
        try:
            return f"{datetime.strptime(text, form).isoformat()}Z"
        except ValueError:
            continue
    raise Refused(Code.BAD_ARGUMENT, f"date {text[:40]}: expected YYYYMMDDHHMMSS")


def _to_port(kind: AttributeType, value: Value) -> str:
    """A value as the port tells it: of a time YYYY-MM-DD HH:MM:SS."""
    return str(value)[:19].replace("T", " ") if kind == "time" else str(value)


# ---- replies ---------------------------------------------------------------------------------------------------------


def _unknown(what: What) -> Code:
    return Code.LFN_UNKNOWN if what == "lfn" else Code.PFN_UNKNOWN


def _code(error: ItemError, no_value: Code) -> Code:
    return no_value if error.code == "value-unknown" else code_of(error.code)


def _done(errors: Sequence[ItemError], key: str, called: str, no_value: Refused | None = None) -> bytes:
    """The reply to a request of one item; the detail of an error is the name that it is about."""
    if not errors:
        return DONE
    error = errors[0]
    if error.code == "value-unknown" and no_value is not None:
        raise no_value
    code = code_of(error.code)
    about = {
        Code.LFN_UNKNOWN: key,
        Code.PFN_UNKNOWN: key,
        Code.ATTRIBUTE_UNKNOWN: called,
        Code.ATTRIBUTE_EXISTS: called,
    }
    raise Refused(code, about.get(code, f"{error.code}: {error.message}"))


def _failed(failed: Sequence[tuple[int, Code]], names: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The reply to a bulk request: code, key and attribute of each failed item, in their order."""
    told = [(str(code.value), *(token.decode(errors="replace") for token in names[at])) for at, code in sorted(failed)]
    return listing(told)
