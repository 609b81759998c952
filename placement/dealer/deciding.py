"""The decisions of a cycle: each proposal in its turn, against what earlier ones have taken.

`docs/dealer.md` has the rules; turns and draws are those of the Dynamo paper, section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from placement.dealer.plugin import Scene
from placement.dealer.proposal import Answer, Proposal, Verdict
from placement.dealer.room import Reason, Reasons, Room
from placement.dealer.stock import Item
from placement.dealer.turns import Turn
from placement.detox.runs import Bits, Keys
from placement.inventory import UNKNOWN
from placement.schemas import NO_GROUP, NOBODY

#: Statuses of datasets of which no more copies are made.
DEAD = ("deleted", "deprecated", "invalid", "ignored")
DEAD_SAID = "the dataset's status"
EMPTY_SAID = "no block with files"
SOURCE_SAID = "no source for a block"
SPENT_SAID = "beyond max_cycle_volume"
GROUP_SAID = "the group is not defined"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided in a turn. `blocks` are copied or handed over at the verdict's site, to `group`; `size` are the
    bytes that a copy brings, and `beside` the blocks that are there already and are handed over with it."""

    turn: Turn
    verdict: Verdict
    blocks: tuple[int, ...] = ()
    group: int = NOBODY
    size: int = 0
    beside: tuple[int, ...] = ()

    @property
    def touched(self) -> tuple[int, ...]:
        """All blocks that it is about."""
        return self.blocks + self.beside


class Dealing:
    """A cycle while it decides: the room that is left, and what was given away."""

    def __init__(self, scene: Scene) -> None:
        inventory = scene.inventory
        self.room = Room(inventory, scene.settings, scene.left_out, scene.member)
        self.partition = scene.settings.partition
        self._scene = scene
        self._by_name = inventory.sites["name"].arg_sort().to_numpy()
        self._group_rank = inventory.groups["name"].rank("ordinal").to_numpy()
        self._dead = inventory.datasets["status"].is_in(DEAD).to_numpy()
        self._groups = {name: key for key, name in enumerate(inventory.groups["name"])}
        self._group = self._key_of(scene.settings.group)
        self._left = scene.settings.max_cycle_volume
        self._spent = False
        self._given: dict[int, list[Decision]] = {}

    def decide(self, turns: Iterable[Turn]) -> list[Decision]:
        """A decision for each turn, in their order."""
        return [self._decided(turn) for turn in turns]

    def _decided(self, turn: Turn) -> Decision:
        proposal = turn.proposal
        if said := self._refused_at_once(proposal):
            return _rejected(turn, said)
        item = self.item(proposal)
        if not len(item.blocks):
            return _rejected(turn, EMPTY_SAID)
        reasons, lacking = self.reasons(proposal, item)
        best = Reason(int(reasons.max(initial=Reason.NO_TARGET)))
        if best is Reason.THERE and proposal.sites is not None and proposal.at_one:
            return self._handed_over(turn, item, proposal.sites[0])
        if best is not Reason.OPEN:
            return _rejected(turn, best.words)
        if not (item.sourced | (item.rescuable if proposal.rescue else False)).all():
            return _rejected(turn, SOURCE_SAID)
        return self._copied(turn, item, self._drawn(reasons == Reason.OPEN, turn.chance), lacking)

    def is_dead(self, proposal: Proposal) -> bool:
        """Whether the dataset's status is one of which no more copies are made."""
        return bool(self._dead[proposal.dataset])

    def _refused_at_once(self, proposal: Proposal) -> str:
        if self.is_dead(proposal):
            return DEAD_SAID
        if self._group_of(proposal) == UNKNOWN:
            return GROUP_SAID
        return SPENT_SAID if self._spent and not proposal.at_one else ""

    def item(self, proposal: Proposal) -> Item:
        """What sites hold of what is proposed, with what this cycle gave away already."""
        item = self._scene.stock.item(proposal.dataset, proposal.blocks)
        for given in self._given.get(proposal.dataset, ()):
            mine = np.flatnonzero(np.isin(item.blocks, given.touched))
            site = given.verdict.site
            item.held[mine, site] = True
            item.deleting[mine, site] = False
            item.projected[mine, site] = item.size[mine]
            item.owner[mine, site] = given.group
        return item

    def reasons(self, proposal: Proposal, item: Item) -> tuple[Reasons, Keys]:
        """Why each site that may get it does not, OPEN where it may; and the bytes that a copy would bring."""
        lacking = item.lacking
        found = self.room.reasons(lacking)
        able = self.room.standing == Reason.OPEN
        if not proposal.at_one:
            # To the one site that is wanted a copy goes all the same: its deletion is cancelled.
            found[able & item.leaving] = Reason.LEAVING
        found[able & item.whole] = Reason.THERE
        if proposal.sites is not None:
            others = np.ones(len(found), dtype=np.bool_)
            others[list(proposal.sites)] = False
            found[others] = Reason.NO_TARGET
        return found, lacking

    def _drawn(self, may: Bits, chance: float) -> int:
        """One of the sites that may, by chance with weight by their free fraction; by name where none has any."""
        sites = self._by_name[may[self._by_name]]
        total = np.cumsum(self.room.free[sites])
        if not total[-1] > 0:
            return int(sites[0])
        return int(sites[min(np.searchsorted(total, chance * total[-1], side="right"), len(sites) - 1)])

    def _copied(self, turn: Turn, item: Item, site: int, lacking: Keys) -> Decision:
        size = int(lacking[site])
        if self._spent or size > self._left:
            # What no cycle could order does not keep the rest from being ordered.
            self._spent = self._spent or size <= self._scene.settings.max_cycle_volume
            return _rejected(turn, SPENT_SAID)
        group = self._group_of(turn.proposal)
        owner = self._owner(item) if group == NOBODY else group
        blocks = item.blocks[~item.held[:, site]]
        named = turn.proposal.at_one or bool(turn.proposal.group)
        beside = self._foreign(item, site, group) if named else ()
        self._left -= size
        self.room.take(site, size)
        verdict = Verdict(turn.proposal, Answer.COPY, site)
        return self._gave(Decision(turn, verdict, tuple(blocks.tolist()), owner, size, beside))

    def _handed_over(self, turn: Turn, item: Item, site: int) -> Decision:
        """Gives what is there to the group that wants it, or rejects what it has already."""
        group = self._group_of(turn.proposal)
        if not (foreign := self._foreign(item, site, group)):
            return _rejected(turn, Reason.THERE.words)
        return self._gave(Decision(turn, Verdict(turn.proposal, Answer.HAND_OVER, site), foreign, group))

    def _foreign(self, item: Item, site: int, group: int) -> tuple[int, ...]:
        """The blocks that a site holds of an item and a group would have of another; what this cycle gave already its
        first keeps."""
        if group == NOBODY:
            return ()
        given = [each.touched for each in self._given.get(item.dataset, ()) if each.verdict.site == site]
        foreign = item.blocks[item.held[:, site] & (item.owner[:, site] != group)]
        left: list[int] = foreign[~np.isin(foreign, [block for blocks in given for block in blocks])].tolist()
        return tuple(left)

    def _gave(self, decision: Decision) -> Decision:
        self._given.setdefault(decision.turn.proposal.dataset, []).append(decision)
        return decision

    def _group_of(self, proposal: Proposal) -> int:
        return self._key_of(proposal.group) if proposal.group else self._group

    def _key_of(self, group: str) -> int:
        return self._groups.get(group or NO_GROUP, UNKNOWN)

    def _owner(self, item: Item) -> int:
        """Who owns most bytes of an item, of several the first by name; nobody only where nobody owns any."""
        owned = np.zeros(self._scene.inventory.groups.height, dtype=np.int64)
        blocks, sites = np.nonzero(item.held & (item.owner != UNKNOWN))
        np.add.at(owned, item.owner[blocks, sites], item.size[blocks])
        owned[NOBODY] = 0
        most = np.flatnonzero(owned == owned.max())
        return int(most[np.argmin(self._group_rank[most])]) if owned.any() else NOBODY


def _rejected(turn: Turn, said: str) -> Decision:
    return Decision(turn, Verdict(turn.proposal, Answer.REJECT, UNKNOWN, said))
