"""Columns that are relayed: whatever a sender did, whoever follows at any distance comes to the very same bits."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from kinds import MatrixFilters

from reploc import bloom, digest
from reploc.partition import Partition
from reploc.sender.news import NO_DIGESTS, News
from reploc.sender.placing import Placing
from reploc.sender.slot_filters import SlotFilters, build_slot
from rli.columns import ColumnNews, SlotColumns
from rli.filters import Column

SLOTS, RATE, SITE = 4, 1e-4, 3


class Relayed:
    """A sender's live filters, a node that holds them, the columns that it relays, and who follows these."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.names: set[str] = set()
        self.placing = Placing(Partition(SLOTS))
        self.sender = SlotFilters(self.placing, RATE)
        self.sender.fit(50)
        self.node, self.parent = MatrixFilters(SLOTS), MatrixFilters(SLOTS)
        self.node.matrix.store_now(0, SITE + 1, 0, np.zeros(bloom.geometry(0, RATE).bytes, dtype=np.uint8))
        self.columns = SlotColumns(self.node.matrix, SITE)
        self.node.watch(self._changed)
        #: The sequences and checksums that node and parent hold.
        self.at_node: dict[int, tuple[int, int]] = {}
        self.at_parent: dict[int, tuple[int, int]] = {}
        self.heard: list[Column] = []

    def _changed(self, column: Column) -> None:
        self.heard.append(column)
        if column.site == SITE:
            self.columns.take(column)

    def build(self, slot: int) -> None:
        mine = [name for name in sorted(self.names) if self._slot(name) == slot]
        digests = digest.of(mine) if mine else NO_DIGESTS
        self.sender.replace(build_slot(slot, digests, self.sender.size_class, RATE))

    def _slot(self, name: str) -> int:
        return int(self.placing.of([name], digest.of([name]), [None])[0])

    def add(self) -> None:
        new = {f"/name/{self.rng.randrange(10_000)}" for _ in range(5)} - self.names
        self.names |= new
        added = digest.of(sorted(new))
        changes = self.sender.changes(News(1, added, NO_DIGESTS))
        ready = self.sender.built[changes.slots]
        self.sender.add(changes.items[ready], changes.slots[ready])

    def follow(self, whose: SlotFilters | SlotColumns, to: MatrixFilters, held: dict[int, tuple[int, int]]) -> None:
        """One holder takes some slots forward, by an increment where there is one."""
        for slot in self.rng.sample(range(SLOTS), 2):
            if not whose.built[slot]:
                continue
            base, checksum = held.get(slot, (0, 0))
            if base == int(whose.sequences[slot]):
                continue
            summary = whose.summary(slot, base)
            if summary.from_seq:
                to.change(summary, SITE, checksum)
            else:
                for _ in to.store(slot, SITE, to.verified(summary)):
                    pass
            held[slot] = summary.to_seq, summary.checksum

    def step(self) -> None:
        match self.rng.randrange(7):
            case 0:
                self.names -= set(self.rng.sample(sorted(self.names), min(3, len(self.names))))
                self.build(self.rng.randrange(SLOTS))
            case 1 | 2:
                self.add()
            case 3:
                self.sender.fit(self.rng.choice([20, 80, 300]))
                for slot in range(SLOTS):
                    self.build(slot)
            case 4 if self.rng.random() < 0.2:
                self.node.drop_site(SITE)
                self.at_node.clear()
            case 5 if self.rng.random() < 0.2:
                self.columns.restart()
                self.at_parent = {}
            case _:
                self.follow(self.sender, self.node, self.at_node)
        if self.rng.random() < 0.7:
            self.follow(self.columns, self.parent, self.at_parent)


@pytest.mark.parametrize("seed", range(20))
def test_whoever_follows_the_columns_comes_to_the_bits_that_the_node_holds(seed: int) -> None:
    print(f"seed {seed}")
    world = Relayed(Random(seed))
    for _ in range(150):
        world.step()
    for _ in range(40):
        world.follow(world.columns, world.parent, world.at_parent)
    for slot in range(SLOTS):
        size_class, bits = world.node.matrix.column(slot, SITE)
        held_class, held = world.parent.matrix.column(slot, SITE)
        assert (held_class, held.tobytes()) == (size_class, bits.tobytes()), slot
        assert world.columns.content(slot) == (size_class, bits.tobytes())
    assert world.heard


def test_a_slot_of_which_nothing_is_held_is_told_as_a_filter_without_names() -> None:
    columns = SlotColumns(MatrixFilters(SLOTS).matrix, SITE)
    assert columns.built.all()
    assert not columns.stale.any()
    said = MatrixFilters(SLOTS).verified(columns.summary(1, 0))
    assert (said.size_class, said.names, said.bits.any()) == (0, 0, False)


def test_nothing_of_it_is_ever_built() -> None:
    columns = SlotColumns(MatrixFilters(SLOTS).matrix, SITE)
    assert columns.changes(ColumnNews.of(5, 2)).slots.tolist() == [2]
    with pytest.raises(AssertionError, match="told as they came"):
        columns.replace(object())
