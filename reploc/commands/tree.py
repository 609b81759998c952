"""`reploc tree`: a hierarchy of index nodes by its levels, seen from any of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from reploc.client.retry import Retrying
from reploc.client.transport import HttpTransport
from reploc.client.tree import TreeNode, tree
from reploc.commands import discovery, terminal
from reploc.commands.options import json_option, rli_option
from reploc.commands.terminal import EXIT_STATUSES, Exit
from reploc.wire import Member

NODE_COLUMNS = (">LEVEL", "INDEX NODE", "URL", "STATE", "PARENTS", ">CHILDREN", ">SITES", ">OLDEST NEWS")
SENDER_COLUMNS = ("AT", "NODE OR SITE BELOW", "STATE", ">HEARD FROM", ">AGE OF NEWS", "LACKS")


@click.command("tree", epilog=EXIT_STATUSES)
@rli_option
@click.option("--sites", "with_sites", is_flag=True, help="List all sites too, not only those that are not heard.")
@json_option
def show_tree(rlis: tuple[str, ...], with_sites: bool, as_json: bool) -> None:
    """Shows the levels of a hierarchy of index nodes, and what each node hears from below.

    One node of any level is enough: the others are found by what they say of each other. With --json each line is one
    node, with all that it hears.
    """
    nodes = asyncio.run(_tree(discovery.find(rlis=rlis).index))
    if as_json:
        for node in nodes:
            terminal.say_json(node)
    else:
        _show(nodes, with_sites=with_sites)
    click.get_current_context().exit(_status(nodes))


async def _tree(urls: Sequence[str]) -> list[TreeNode]:
    transport = Retrying(HttpTransport())
    try:
        return await tree(urls, transport)
    finally:
        await transport.close()


def _show(nodes: Sequence[TreeNode], *, with_sites: bool) -> None:
    heard = [
        _sender_row(node.node, sender)
        for node in nodes
        for sender in [*node.children, *(site for site in node.sites if with_sites or site.state != "live")]
    ]
    terminal.sections([(NODE_COLUMNS, [_node_row(node) for node in nodes]), (SENDER_COLUMNS, heard)])
    for node in nodes:
        if node.code:
            terminal.note(f"{node.node}: {node.code}: {node.detail}")


def _node_row(node: TreeNode) -> tuple[str, ...]:
    ages = [sender.news_age_s for sender in [*node.children, *node.sites] if sender.news_age_s is not None]
    return (
        str(node.level),
        node.node,
        node.url,
        node.code or ("complete" if node.complete else "incomplete"),
        ", ".join(node.parents) or "-",
        _live_of(node.children),
        _live_of(node.sites),
        terminal.shown_age(max(ages, default=None)),
    )


def _live_of(senders: Sequence[Member]) -> str:
    live = sum(sender.state == "live" for sender in senders)
    return str(live) if live == len(senders) else f"{live} of {len(senders)}"


def _sender_row(node: str, sender: Member) -> tuple[str, ...]:
    lacks = {None: "-", True: "nothing", False: "something below"}[sender.complete]
    heard, news = terminal.shown_age(sender.age_s), terminal.shown_age(sender.news_age_s)
    return (node, sender.name, sender.state, heard, news, lacks)


def _status(nodes: Sequence[TreeNode]) -> Exit:
    if all(node.code for node in nodes):
        return Exit.FAILED
    return Exit.DONE if all(node.complete for node in nodes) else Exit.INCOMPLETE
