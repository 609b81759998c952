"""`reploc lrc attribute`: the attributes of a catalog's LFNs and PFNs, and their values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

import click

from reploc.attributes import (
    AttributeItem,
    AttributeType,
    Definition,
    Operator,
    RemoveItem,
    SetItem,
    UndefineItem,
    Value,
    Values,
    What,
    from_text,
)
from reploc.client import LrcClient
from reploc.commands import input_files, terminal, writing
from reploc.commands.input_files import Form, Line
from reploc.commands.options import CommandGroup, file_option, format_option, json_option, lrc_option
from reploc.commands.terminal import EXIT_STATUSES, Exit
from reploc.errors import AttributeUnknown
from reploc.wire import Written

#: A value may begin with a dash.
NEGATIVE_NUMBERS = {"ignore_unknown_options": True}

what_argument = click.argument("what", type=click.Choice(["lfn", "pfn"]))


@click.group(cls=CommandGroup, epilog=EXIT_STATUSES)
def attribute() -> None:
    """Attributes that users define on LFNs and PFNs, their values, and searches by value."""


# ---- definitions -----------------------------------------------------------------------------------------------------


@attribute.command(epilog=EXIT_STATUSES)
@what_argument
@click.argument("name")
@click.argument("kind", metavar="TYPE", type=click.Choice(["text", "int", "float", "time"]))
@lrc_option
@json_option
def define(what: What, name: str, kind: AttributeType, lrcs: tuple[str, ...], as_json: bool) -> None:
    """Defines the attribute NAME of LFNs or PFNs. Whole numbers have 64 bits, times a zone."""

    async def send(client: LrcClient, items: Sequence[AttributeItem]) -> Written:
        return await client.attributes.define(items)

    lines = iter([Line(name, AttributeItem(what, name, kind))])
    asyncio.run(writing.write(writing.connector(lrcs), "defined", lines, send, as_json))


@attribute.command(epilog=EXIT_STATUSES)
@what_argument
@click.argument("name")
@click.option("--clear", is_flag=True, help="Remove its values first, in steps.")
@lrc_option
@json_option
def undefine(what: What, name: str, clear: bool, lrcs: tuple[str, ...], as_json: bool) -> None:
    """Forgets the attribute NAME, which must have no values unless --clear removes them."""

    async def send(client: LrcClient, items: Sequence[UndefineItem]) -> Written:
        return await client.attributes.undefine(items, clear=clear)

    lines = iter([Line(name, UndefineItem(what, name))])
    asyncio.run(writing.write(writing.connector(lrcs), "undefined", lines, send, as_json))


@attribute.command(epilog=EXIT_STATUSES)
@click.argument("what", type=click.Choice(["lfn", "pfn"]), required=False)
@click.argument("name", required=False)
@lrc_option
@json_option
def show(what: What | None, name: str | None, lrcs: tuple[str, ...], as_json: bool) -> None:
    """Lists the attributes, each with the number of its values, the least and the greatest of them."""
    found = asyncio.run(_definitions(lrcs, what, name))
    if as_json:
        for definition in found:
            terminal.say_json(definition)
    else:
        columns = ("OF", "ATTRIBUTE", "TYPE", ">VALUES", "LEAST", "GREATEST")
        terminal.table(columns, [_row(definition) for definition in found])
    click.get_current_context().exit(Exit.DONE if found else Exit.REFUSED)


def _row(definition: Definition) -> list[str]:
    ends = ["-" if value is None else str(value) for value in (definition.least, definition.greatest)]
    return [definition.what, definition.name, definition.type, f"{definition.values:,}", *ends]


async def _definitions(lrcs: tuple[str, ...], what: What | None, name: str | None = None) -> list[Definition]:
    async with writing.connector(lrcs)() as client:
        return await client.attributes.definitions(what, name)


# ---- values ----------------------------------------------------------------------------------------------------------


@attribute.command("set", epilog=EXIT_STATUSES, context_settings=NEGATIVE_NUMBERS)
@what_argument
@click.argument("name", required=False)
@click.argument("called", metavar="ATTRIBUTE", required=False)
@click.argument("value", required=False)
@click.option(
    "--mode",
    type=click.Choice(["set", "add", "modify"]),
    default="set",
    show_default=True,
    help="add: NAME must have no value of it yet. modify: it must have one. set: either.",
)
@file_option
@format_option
@lrc_option
@json_option
def set_command(
    what: What,
    name: str | None,
    called: str | None,
    value: str | None,
    mode: Literal["set", "add", "modify"],
    file: BinaryIO | None,
    form: Form | None,
    lrcs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Sets the value of ATTRIBUTE of the LFN or PFN NAME.

    With --file each line is name, attribute and value between tabs, or as NDJSON an object with those keys.
    """
    kinds = {one.name: one.type for one in asyncio.run(_definitions(lrcs, what))}
    if file is None:
        if name is None or called is None or value is None:
            raise click.UsageError("expected NAME, ATTRIBUTE and VALUE, or --file")
        if called not in kinds:
            raise AttributeUnknown(f"{what}s have no attribute {called[:200]!r}")
        lines = iter([Line(name, SetItem(name, called, from_text(kinds[called], value)))])
    else:
        _require_alone(name)
        lines = input_files.set_values_in(file, kinds, form)

    async def send(client: LrcClient, items: Sequence[SetItem]) -> Written:
        return await client.attributes.set(what, items, mode)

    asyncio.run(writing.write(writing.connector(lrcs), "set", lines, send, as_json))


@attribute.command(epilog=EXIT_STATUSES)
@what_argument
@click.argument("name", required=False)
@click.argument("called", metavar="[ATTRIBUTE]", required=False)
@file_option
@format_option
@lrc_option
@json_option
def remove(
    what: What,
    name: str | None,
    called: str | None,
    file: BinaryIO | None,
    form: Form | None,
    lrcs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Removes the value of ATTRIBUTE of NAME, or without ATTRIBUTE all its values.

    With --file each line is name and attribute between tabs, or a name alone; or as NDJSON an object with those keys.
    """
    if file is None:
        if name is None:
            raise click.UsageError("expected NAME, or --file")
        lines: Iterator[Line[RemoveItem]] = iter([Line(name, RemoveItem(name, called))])
    else:
        _require_alone(name)
        lines = input_files.removed_values_in(file, form)

    async def send(client: LrcClient, items: Sequence[RemoveItem]) -> Written:
        return await client.attributes.remove(what, items)

    asyncio.run(writing.write(writing.connector(lrcs), "removed", lines, send, as_json))


def _require_alone(name: str | None) -> None:
    if name is not None:
        raise click.UsageError("with --file everything stands in the file: no NAME beside it")


@attribute.command(epilog=EXIT_STATUSES)
@what_argument
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--attribute", "called", metavar="NAME", help="The values of this one alone.")
@lrc_option
@json_option
def query(what: What, names: tuple[str, ...], called: str | None, lrcs: tuple[str, ...], as_json: bool) -> None:
    """Prints the values of LFNs or PFNs, one a line: name, attribute, value."""
    said = asyncio.run(_values(lrcs, what, names, called))
    if as_json:
        terminal.say_json(said)
    else:
        rows = [[name, one, str(value)] for name, held in said.values.items() for one, value in sorted(held.items())]
        terminal.table(("NAME", "ATTRIBUTE", "VALUE"), rows)
        for name in said.unknown:
            terminal.note(f"{name}: is not registered")
    click.get_current_context().exit(Exit.REFUSED if said.unknown else Exit.DONE)


async def _values(lrcs: tuple[str, ...], what: What, names: tuple[str, ...], called: str | None) -> Values:
    async with writing.connector(lrcs)() as client:
        return await client.attributes.values(what, names, called)


@attribute.command(epilog=EXIT_STATUSES, context_settings=NEGATIVE_NUMBERS)
@what_argument
@click.argument("called", metavar="ATTRIBUTE")
@click.argument("op", type=click.Choice(["all", "=", "!=", "<", "<=", ">=", ">", "between", "like"]))
@click.argument("operands", metavar="[VALUE [UPPER]]", nargs=-1)
@lrc_option
@json_option
def search(
    what: What, called: str, op: Operator, operands: tuple[str, ...], lrcs: tuple[str, ...], as_json: bool
) -> None:
    """Prints the LFNs or PFNs whose value of ATTRIBUTE compares as asked, in the order of their values.

    between takes VALUE and UPPER, both included; like a pattern of SQL (% any text, _ any character).
    """
    wanted = {"all": 0, "between": 2}.get(op, 1)
    if len(operands) != wanted:
        raise click.UsageError(f"{op} takes {wanted} values; {len(operands)} were given")
    found = asyncio.run(_search(lrcs, what, called, op, operands, as_json))
    click.get_current_context().exit(Exit.DONE if found else Exit.REFUSED)


async def _search(
    lrcs: tuple[str, ...], what: What, called: str, op: Operator, operands: tuple[str, ...], as_json: bool
) -> int:
    """Prints what is found as it comes; how much it was."""
    count = 0
    async with writing.connector(lrcs)() as client:
        definitions = await client.attributes.definitions(what, called)
        if not definitions:
            raise AttributeUnknown(f"{what}s have no attribute {called[:200]!r}")
        given: list[Value | None] = [from_text(definitions[0].type, text) for text in operands]
        value, upper = [*given, None, None][:2]
        async for found in client.attributes.search(what, called, op, value, upper):
            count += 1
            if as_json:
                terminal.say_json(found)
            else:
                terminal.say_row([found.name, str(found.value)])
    return count
