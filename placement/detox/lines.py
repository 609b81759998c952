"""A policy's lines, made ready for a world: which line decides on each dataset replica, or on each block of it.

Lines whose answer cannot change and is about a replica as a whole are tried once, at the start: only the first of them
that matches a replica matters, since it decides (`first match wins`). Lines that name single datasets are found by one
look-up of all names, so that thousands of them cost what one costs. What remains, *open* lines, is tried in order for
the replicas that are to be decided anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placement.detox.conditions import Conditions
from placement.detox.runs import Array, Batch, Bits, Keys, expanded
from placement.detox.world import World
from placement.policy.syntax import (
    Action,
    Both,
    Comparison,
    Condition,
    Decision,
    Either,
    Line,
    OfBlocks,
    Policy,
    by_single_blocks,
    leaves,
)
from placement.policy.values import is_glob
from placement.policy.variables import Level

#: Decisions by their place, as arrays have them.
DECISIONS = (Decision.IGNORE, Decision.PROTECT, Decision.DELETE, Decision.DISMISS)
IGNORE, PROTECT, DELETE, DISMISS = range(4)
#: A row that no line has decided on.
UNDECIDED = -1


@dataclass(frozen=True)
class _Ready:
    """A line that holds today: `names` are the only datasets that it can match, `rest` what else it asks of them."""

    number: int
    action: Action
    condition: Condition
    names: tuple[str, ...] | None
    rest: Condition | None
    open: bool
    by_block: bool


#: A view is made smaller when fewer than this share of its dataset replicas are undecided.
_COMPACT_BELOW = 0.7


@dataclass
class _View:
    """What is left to decide of a batch: dataset replicas by their places in it, and rows by theirs."""

    places: Keys
    batch: Batch
    row_places: Keys
    seen: Bits

    @classmethod
    def of(cls, whole: Batch) -> _View:
        rows = np.arange(len(whole.rows))
        return cls(np.arange(len(whole)), whole, rows, np.ones(len(rows), dtype=np.bool_))

    def compacted(self, undecided: Bits) -> _View:
        """The same without what is decided, where that is worth it; `undecided` has a place for the whole batch."""
        kept = undecided[self.places]
        if kept.sum() >= _COMPACT_BELOW * len(kept):
            return self
        rows = kept[self.batch.owner] & self.seen[self.row_places]
        place = np.cumsum(kept) - 1
        batch = Batch(self.batch.replicas[kept], self.batch.rows[rows], place[self.batch.owner[rows]])
        return _View(self.places[kept], batch, self.row_places[rows], self.seen)

    def taken(self, active: Bits) -> tuple[Batch, Keys]:
        """Some of the dataset replicas with their rows in view, and the places of those rows in the whole batch."""
        rows = np.flatnonzero(self.seen[self.row_places] & active[self.batch.owner])
        place = np.cumsum(active) - 1
        some = Batch(self.batch.replicas[active], self.batch.rows[rows], place[self.batch.owner[rows]])
        return some, self.row_places[rows]

    def drop(self, rows: Keys) -> None:
        """Takes rows, by their places in the whole batch, out of view."""
        self.seen[rows] = False


class Lines:
    """The lines of a policy; the number of the default is that of lines before it."""

    def __init__(self, policy: Policy, world: World, conditions: Conditions, now_s: float) -> None:
        self._world, self._conditions = world, conditions
        self.default = len(policy.lines)
        actions = [line.action for line in (*policy.lines, policy.default)]
        #: By the number of a line, its decision's place in `DECISIONS`, and whether it takes single blocks.
        self.decision: Array = np.array([DECISIONS.index(action.decision) for action in actions], dtype=np.int8)
        self.by_block: Bits = np.array([action.by_block for action in actions], dtype=np.bool_)
        valid = ((number, line) for number, line in enumerate(policy.lines) if _holds_today(line, now_s))
        ready = [_made_ready(number, line) for number, line in valid]
        known = self._keys([name for line in ready for name in line.names or ()])
        self._first = self._first_fixed([line for line in ready if not line.open], known)
        self._wide = [line for line in ready if line.open and line.names is None]
        self._narrow = {line.number: line for line in ready if line.open and line.names is not None}
        pairs = [(known[name], line.number) for line in self._narrow.values() for name in line.names or ()]
        told = np.array(sorted({pair for pair in pairs if pair[0] >= 0}), dtype=np.int64).reshape(-1, 2)
        #: Pairs of a dataset and an open line that can match it alone, by dataset and line.
        self._narrow_dataset, self._narrow_line = told[:, 0], told[:, 1]
        #: Site predicates of open lines: when one changes at a site, all its replicas are decided anew.
        self.site_leaves = sorted(
            {leaf for line in ready if line.open for leaf in leaves(line.condition) if _of_changing_site(leaf)},
            key=str,
        )

    def _keys(self, names: list[str]) -> dict[str, int]:
        found = self._world.inventory.dataset_keys(names)
        return dict(zip(names, found.tolist(), strict=True))

    def _first_fixed(self, lines: list[_Ready], known: dict[str, int]) -> Array:
        """For each dataset replica the first line that matches and cannot cease to, shape (replicas,)."""
        world = self._world
        by_name = np.full(world.inventory.datasets.height, self.default, dtype=np.int32)
        pure = [(known[name], line.number) for line in lines if line.rest is None for name in line.names or ()]
        pairs = np.array([pair for pair in pure if pair[0] >= 0], dtype=np.int64).reshape(-1, 2)
        np.minimum.at(by_name, pairs[:, 0], pairs[:, 1].astype(np.int32))
        first = by_name[world.replica_dataset]
        for line in lines:
            if line.names is not None and line.rest is None:
                continue
            if line.names is None:
                left = np.flatnonzero(first > line.number)
            else:
                replicas, _ = world.siblings(_datasets(line, known))
                left = replicas[first[replicas] > line.number]
            nothing = np.zeros(0, dtype=np.int64)
            asked = line.condition if line.rest is None else line.rest
            matched = self._conditions.of_replicas(asked, Batch(left, nothing, nothing))
            first[left[matched]] = line.number
        return first

    def decide(self, batch: Batch) -> Array:
        """The number of the line that decides on each row of a batch, shape (len(batch.rows),)."""
        line_of: Array = np.full(len(batch.rows), UNDECIDED, dtype=np.int32)
        decided = self._first[batch.replicas].astype(np.int64)
        view = _View.of(batch)
        for line, asked, mask in self._open_lines(batch):
            view = view.compacted(decided > line.number)
            active = decided[view.places] > line.number
            active &= True if mask is None else mask[view.places]
            if not active.any():
                continue
            some, at = view.taken(active)
            matched = self._conditions.of_replicas(asked, some)
            if line.by_block:
                hit = self._blocks(asked, some, matched)
                matched &= some.every(hit)
                parts = hit & ~matched[some.owner]
                line_of[at[parts]] = line.number
                view.drop(at[parts])
            decided[view.places[active][matched]] = line.number
        left = line_of == UNDECIDED
        line_of[left] = decided[batch.owner[left]]
        return line_of

    def _blocks(self, condition: Condition, some: Batch, matched: Bits) -> Bits:
        """Of the rows of matched replicas, those for which the condition holds too."""
        found = np.zeros(len(some.rows), dtype=np.bool_)
        asked = matched[some.owner]
        found[asked] = self._conditions.of_rows(condition, some.of(matched))
        return found

    def _open_lines(self, batch: Batch) -> Iterator[tuple[_Ready, Condition, Bits | None]]:
        """The open lines that may match in a batch, in order: what is left to ask, and of which replicas."""
        wide = [(line.number, line, None) for line in self._wide]
        narrow = []
        if len(self._narrow_line):
            narrow = [(number, self._narrow[number], mask) for number, mask in self._narrow_masks(batch)]
        for _, line, mask in sorted([*wide, *narrow], key=lambda each: each[0]):
            yield line, line.condition if line.rest is None else line.rest, mask

    def _narrow_masks(self, batch: Batch) -> Iterator[tuple[int, Bits]]:
        dataset = self._world.replica_dataset[batch.replicas]
        begin = np.searchsorted(self._narrow_dataset, dataset, "left")
        pairs, place = expanded(begin, np.searchsorted(self._narrow_dataset, dataset, "right") - begin)
        numbers = self._narrow_line[pairs]
        order = np.argsort(numbers, kind="stable")
        cuts = np.flatnonzero(np.diff(numbers[order])) + 1
        for chosen in np.split(order, cuts) if len(order) else ():
            mask = np.zeros(len(batch), dtype=np.bool_)
            mask[place[chosen]] = True
            yield int(numbers[chosen[0]]), mask


def _holds_today(line: Line, now_s: float) -> bool:
    return line.validity is None or line.validity.holds(now_s)


def _made_ready(number: int, line: Line) -> _Ready:
    assert line.condition is not None
    condition = line.condition
    parts = condition.parts if isinstance(condition, Both) else (condition,)
    named = next((part for part in parts if _is_of_names(part)), None)
    names, rest = None, None
    if isinstance(named, Comparison):
        names = tuple(str(value) for value in named.values)
        others = tuple(part for part in parts if part is not named)
        rest = (others[0] if len(others) == 1 else Both(others)) if others else None
    by_block = line.action.by_block and by_single_blocks(condition)
    return _Ready(number, line.action, condition, names, rest, _can_change(condition), by_block)


def _is_of_names(part: Condition) -> bool:
    if not isinstance(part, Comparison) or part.variable.name != "dataset.name" or part.operator not in ("==", "in"):
        return False
    return not any(is_glob(str(value)) for value in part.values)


def _can_change(condition: Condition) -> bool:
    """Whether what a line says of a dataset replica depends on its blocks in view, or on what else is there."""
    if isinstance(condition, OfBlocks):
        return True
    if isinstance(condition, Both | Either):
        return any(_can_change(part) for part in condition.parts)
    return condition.variable.level is Level.BLOCK or condition.variable.volatile


def _of_changing_site(leaf: Condition) -> bool:
    return isinstance(leaf, Comparison) and leaf.variable.level is Level.SITE and leaf.variable.volatile


def _datasets(line: _Ready, known: dict[str, int]) -> Keys:
    keys = sorted({known[name] for name in line.names or ()} - {-1})
    return np.array(keys, dtype=np.int64)
