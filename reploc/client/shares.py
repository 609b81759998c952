"""Asks the owners of what a question is about: one of each share must answer completely.

Where an index is parted by LFNs alone, any owner of a slot settles it. Where it is parted by sites too, every part of
the sites has owners of its own, and an LFN is settled when one of each has answered; a node that owns several shares is
asked once. Who asks says how one node is asked, and which nodes are to be asked last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reploc.client import locations
from reploc.ring import Needs, Owners
from reploc.wire import Locations


class Ask(Protocol):
    """Asks one node about LFNs: what it says, or None where it failed.

    `left` counts the nodes, this one included, that can be asked one after the other; `alone` says that nobody has
    answered yet, so that this one's failure would be that of all.
    """

    def __call__(self, node: str, lfns: Sequence[str], *, left: int, alone: bool) -> Awaitable[Locations | None]: ...


@dataclass(frozen=True)
class Group:
    """Needs that one node, which is asked first, can settle at once."""

    first: str
    needs: Needs


def groups(needs: Needs, last: Callable[[str], bool]) -> list[Group]:
    """Needs by the fewest nodes that settle all of them, or nearly so; nodes that are to be asked last are not chosen
    while there are others. A need that nobody owns is left out."""
    left = [owners for owners in needs if owners]
    found: list[Group] = []
    while left:
        nodes = sorted({node for owners in left for node in owners})
        first = min(nodes, key=lambda node: (last(node), -sum(node in owners for owners in left), node))
        mine = tuple(owners for owners in left if first in owners)
        found.append(Group(first, mine))
        left = [owners for owners in left if first not in owners]
    return found


async def ask_owners(
    nodes: Sequence[str], lfns: Sequence[str], ask: Ask, others: Sequence[str] = ()
) -> Locations | None:
    """What the first nodes say that settle all of the LFNs, asked one after the other; None where all failed.

    `others` of the nodes are no owners, and only asked while no owner has answered.
    """
    said: Locations | None = None
    for number, node in enumerate(nodes):
        if said is not None and node in others:
            continue
        asked = list(lfns) if said is None else said.incomplete
        answer = await ask(node, asked, left=len(nodes) - number, alone=said is None)
        if answer is None:
            continue
        said = answer if said is None else locations.merged(said, answer)
        if not said.incomplete:
            break
    return said


async def ask_shares(
    needs: Needs, lfns: Sequence[str], ask: Ask, last: Callable[[str], bool], others: Sequence[str] = ()
) -> Locations | None:
    """What owners of all shares say of the LFNs, all of which are complete only where every share is; None where all
    failed. Where there is one share, `others` may reach its owners, and are asked before those that come last."""
    if len(needs) == 1:
        owners = sorted(needs[0], key=last)
        well = [owner for owner in owners if not last(owner)]
        return await ask_owners([*well, *others, *owners[len(well) :]], lfns, ask, others)
    said = await asyncio.gather(*(_ask_group(group, lfns, ask, last) for group in groups(needs, last)))
    if all(one is None for one in said):
        return None
    return locations.together([locations.unanswered(lfns) if one is None else one for one in said])


async def _ask_group(group: Group, lfns: Sequence[str], ask: Ask, last: Callable[[str], bool]) -> Locations | None:
    others: list[Owners] = [
        tuple(sorted((owner for owner in owners if owner != group.first), key=last)) for owners in group.needs
    ]
    more = max(map(len, others))
    said = await ask(group.first, list(lfns), left=1 + more, alone=True)
    lacking = list(lfns) if said is None else said.incomplete
    if not lacking or not more:
        return said
    rest = await asyncio.gather(*(ask_owners(owners, lacking, ask) for owners in others))
    if all(one is None for one in rest):
        return said
    found = locations.together([locations.unanswered(lacking) if one is None else one for one in rest])
    return locations.merged(locations.unanswered(lfns) if said is None else said, found)
