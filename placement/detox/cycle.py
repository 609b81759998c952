"""One detox cycle: iterations over a world until nothing more is to go (Dynamo paper, section 4.1).

Each pass first lets go what `Delete` lines decided, site by site; then, of the triggered site whose protected fraction
is largest, candidates leave in their order until the site is released or a slice of its quota is gone; then everything
that this could have changed is decided anew. The work of a pass is proportional to what goes, not to the inventory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from placement.detox import lines as decisions
from placement.detox.conditions import Conditions
from placement.detox.leaving import Leaving
from placement.detox.lines import UNDECIDED, Lines
from placement.detox.runs import Array, Batch, Bits, Keys
from placement.detox.settings import DetoxSettings
from placement.detox.vetoes import Budget, Veto
from placement.detox.world import World
from placement.policy.bits import Coded, Column
from placement.policy.syntax import Policy
from placement.policy.variables import Level, Variable

#: Candidates that are looked at together at first, and how many times more each time that was not enough.
_FIRST_CANDIDATES, _MORE = 64, 4


@dataclass(frozen=True)
class Seen:
    """What lines saw: the values of the variables that change, one each a (replica, line) in `values`, and of what is
    about single blocks one for each row that goes in `blocks`."""

    replicas: Keys
    lines: Keys
    values: dict[Variable, Column]
    blocks: dict[Variable, Column]


@dataclass
class Departures:
    """What goes, in the order in which it was decided: a part for each pass, joined at the end."""

    rows: list[Keys] = field(default_factory=list)
    lines: list[Array] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def add(self, rows: Keys, lines: Array, number: int, seen: Seen) -> None:
        """Takes in what goes in a pass."""
        self.rows.append(rows)
        self.lines.append(lines)
        self.passes.append(number)
        self.seen.append(seen)


class Cycle:
    """The state of a cycle. `run` is called once; then the arrays hold what was decided."""

    def __init__(
        self, policy: Policy, world: World, settings: DetoxSettings, now_s: float, *, yes_really: bool = False
    ) -> None:
        self.policy, self.world, self._settings = policy, world, settings
        self.conditions = Conditions(world, now_s)
        self.lines = Lines(policy, world, self.conditions, now_s)
        self._until = [line.condition for line in policy.until]
        replicas, sites = len(world.replica_dataset), world.inventory.sites.height
        self.site_bytes_before: Keys = world.site_bytes.copy()
        self.budget = Budget.of(settings, world.site_bytes, yes_really=yes_really)
        #: For each row the line that decides on it, UNDECIDED where none does, and the veto on its going.
        self.row_line: Array = np.full(len(world.row_block), UNDECIDED, dtype=np.int32)
        self.row_veto: Array = np.zeros(len(world.row_block), dtype=np.int8)
        self._protected: Keys = np.zeros(replicas, dtype=np.int64)
        self._has_candidates: Bits = np.zeros(replicas, dtype=np.bool_)
        self._has_deletes: Bits = np.zeros(replicas, dtype=np.bool_)
        self.site_protected: Keys = np.zeros(sites, dtype=np.int64)
        self._candidates_at: Keys = np.zeros(sites, dtype=np.int64)
        self.triggered: Bits = np.zeros(sites, dtype=np.bool_)
        self.triggered_at_start: Bits = self.triggered
        self._exempt: Bits = np.isin(world.inventory.datasets["status"].cast(str).to_numpy(), settings.allow_last_copy)
        self._dataset_rank: Keys = world.inventory.datasets["name"].rank("ordinal").to_numpy().astype(np.int64)
        self._sites_by_name: Keys = world.inventory.sites["name"].arg_sort().to_numpy().astype(np.int64)
        self._site_rank: Keys = np.argsort(self._sites_by_name)
        self._at_site: list[Keys] = []
        self._seen_variables = sorted(
            (each for each in policy.variables() if each.volatile and each.level is not Level.BLOCK), key=str
        )
        self._seen_of_blocks = sorted(
            (each for each in policy.variables() if each.level is Level.BLOCK and _changes(each)), key=str
        )
        self.gone, self.reowned = Departures(), Departures()
        self.new_owner: list[Array] = []
        self.passes = 0

    def run(self) -> None:
        """Decides everything."""
        world = self.world
        held = np.zeros(len(world.replica_dataset), dtype=np.bool_)
        held[world.row_replica[world.pool]] = True
        pool = np.flatnonzero(held)
        self._decide(pool)
        targets = np.bincount(world.replica_site[pool], minlength=len(self.triggered)) > 0
        self.triggered = self.conditions.any_of_sites([line.condition for line in self.policy.when]) & targets
        self.triggered_at_start = self.triggered.copy()
        by_site = pool[np.lexsort((self._dataset_rank[world.replica_dataset[pool]], world.replica_site[pool]))]
        cuts = np.searchsorted(world.replica_site[by_site], np.arange(len(self.triggered) + 1))
        self._at_site = [by_site[begin:end] for begin, end in pairwise(cuts)]
        while self._pass():
            self.passes += 1

    def _pass(self) -> bool:
        """One pass; whether there may be more to do."""
        deleted = self._delete()
        if not self.policy.iterative:
            self._static()
            return False
        site = self._next_site()
        if site is None:
            return deleted
        self._slice(site)
        return True

    # ---- deciding ----------------------------------------------------------------------------------------------------

    def _decide(self, replicas: Keys) -> None:
        """Decides anew on dataset replicas, and keeps what is summed over them."""
        world, batch = self.world, self.world.batch(replicas)
        line_of = self.lines.decide(batch)
        self.row_line[batch.rows] = line_of
        what = self.lines.decision[line_of]
        free = self.row_veto[batch.rows] == Veto.NONE
        protected = batch.summed(np.where(what == decisions.PROTECT, world.row_bytes[batch.rows], 0))
        candidates = batch.any((what == decisions.DISMISS) & free)
        site = world.replica_site[replicas]
        np.add.at(self.site_protected, site, protected - self._protected[replicas])
        np.add.at(self._candidates_at, site, candidates.astype(np.int64) - self._has_candidates[replicas])
        self._protected[replicas] = protected
        self._has_candidates[replicas] = candidates
        self._has_deletes[replicas] = batch.any((what == decisions.DELETE) & free)

    def _decide_after(self, replicas: Keys, site: int, before: list[bool]) -> None:
        """Decides anew on all that the going of something of these replicas of a site could have changed."""
        touched, _ = self.world.siblings(np.unique(self.world.replica_dataset[replicas]))
        if before != self._site_bits(site):
            touched = np.union1d(touched, self._at_site[site])
        self._decide(touched)

    def _site_bits(self, site: int) -> list[bool]:
        return [bool(self.conditions.of_sites(leaf)[site]) for leaf in self.lines.site_leaves]

    # ---- Delete lines ------------------------------------------------------------------------------------------------

    def _delete(self) -> bool:
        """What `Delete` lines decided goes, in the order of sites and names, and counts follow; whether any did."""
        found = False
        for site in self._sites_by_name.tolist():
            mine = self._at_site[site]
            while len(chosen := mine[self._has_deletes[mine]]):
                found = True
                self._let_go(site, chosen, decisions.DELETE, until_change=True)
        return found

    # ---- candidates --------------------------------------------------------------------------------------------------

    def _next_site(self) -> int | None:
        """The triggered site with candidates whose protected fraction is largest; the first by name of several."""
        waiting = np.flatnonzero(self.triggered & (self._candidates_at > 0))
        if not len(waiting):
            return None
        quota = self.world.quota[waiting]
        fraction = self.site_protected[waiting] / np.where(np.isfinite(quota), quota, 1.0)
        return int(waiting[np.lexsort((self._site_rank[waiting], -fraction))[0]])

    def _released(self, site: int) -> bool:
        """Un-triggers a site at which an `Until` holds."""
        if bool(self.conditions.any_of_sites(self._until)[site]):
            self.triggered[site] = False
        return not self.triggered[site]

    def _slice(self, site: int) -> None:
        """Candidates of a site go until it is released or its slice is gone."""
        if self._released(site):
            return
        quota = float(self.world.quota[site])
        enough = self._settings.deletion_per_iteration * quota if np.isfinite(quota) else np.inf
        waiting = self._ordered(self._at_site[site][self._has_candidates[self._at_site[site]]])
        self._let_go(site, waiting, decisions.DISMISS, enough=enough)
        self._released(site)

    def _ordered(self, replicas: Keys) -> Keys:
        """Candidates by the keys of `Order`, ties by the names of dataset and site."""
        batch = self.world.batch(replicas)
        keys: list[Array] = []
        for key in self.policy.order:
            values = self.conditions.values(key.variable, batch)
            assert not isinstance(values, Coded)
            signed = values.astype(np.float64) if values.dtype.kind == "f" else values.astype(np.int64)
            keys.append(-signed if key.decreasing else signed)
        keys += [self._dataset_rank[self.world.replica_dataset[replicas]]]
        keys += [self._site_rank[self.world.replica_site[replicas]]]
        return replicas[np.lexsort(keys[::-1])]

    def _static(self) -> None:
        """Candidates of all triggered sites in one order, each site until its release; nothing is decided anew."""
        waiting = np.flatnonzero(self._has_candidates & self.triggered[self.world.replica_site])
        ordered = self._ordered(waiting)
        sites = self.world.replica_site[ordered]
        closed: dict[int, Veto] = {}
        for run in np.split(ordered, np.flatnonzero(np.diff(sites)) + 1) if len(ordered) else ():
            site = int(self.world.replica_site[run[0]])
            if site in closed:
                self._close(site, run, decisions.DISMISS, closed[site])
            elif not self._released(site):
                why = self._let_go(site, run, decisions.DISMISS, anew=False)
                closed |= {site: why} if why is not Veto.NONE else {}
                self._released(site)

    # ---- going -------------------------------------------------------------------------------------------------------

    def _let_go(
        self,
        site: int,
        replicas: Keys,
        decision: int,
        *,
        enough: float = np.inf,
        until_change: bool = False,
        anew: bool = True,
    ) -> Veto:
        """What a decision would have go of replicas of one site goes, in their order.

        It ends when `Until` releases the site (of candidates), with the first replica that makes `enough` bytes, at the
        first for which there is no room in the cycle, or (`until_change`) when a predicate on the site has changed.
        Where there was no room, those that are left are vetoed, and the reason comes back.
        """
        begin, chunk, before = 0, _FIRST_CANDIDATES, self._site_bits(site)
        going, closed = 0, Veto.NONE
        while begin < len(replicas):
            leaving = self._leaving(replicas[begin : begin + chunk], decision)
            over, why = self.budget.first_over(site, leaving.size, leaving.files)
            last = self._last(site, leaving, decision, enough - going, until_change=until_change)
            done = min(over, last + 1, len(leaving.batch))
            self._apply(site, leaving, done)
            going += int(leaving.size[:done].sum())
            begin += done
            if over <= last and why is not Veto.NONE:
                self._close(site, replicas[begin:], decision, why)
                closed = why
                break
            if last < len(leaving.batch):
                break
            chunk *= _MORE
        if anew:
            untouched = replicas[begin:] if closed is not Veto.NONE else replicas[:0]
            self._decide_after(np.append(replicas[:begin], untouched), site, before)
        return closed

    def _leaving(self, replicas: Keys, decision: int) -> Leaving:
        batch = self._chosen(replicas, decision)
        single = self.lines.by_block[self.row_line[batch.rows]]
        exempt = self._exempt[self.world.replica_dataset[replicas]]
        return Leaving.of(self.world, batch, single, exempt)

    def _chosen(self, replicas: Keys, decision: int) -> Batch:
        """Dataset replicas with the rows that a decision would have go and nothing has vetoed."""
        batch = self.world.batch(replicas)
        line_of = self.row_line[batch.rows]
        chosen = (self.lines.decision[line_of] == decision) & (self.row_veto[batch.rows] == Veto.NONE)
        return batch.without(~chosen)

    def _last(self, site: int, leaving: Leaving, decision: int, enough: float, *, until_change: bool) -> int:
        """The last replica of those that goes, by what the site is then like; their number where none is."""
        freed, projected = np.cumsum(leaving.freed), np.cumsum(leaving.freed_projected)
        ends = np.cumsum(leaving.size) >= enough
        if decision == decisions.DISMISS:
            for condition in self._until:
                ends |= self.conditions.at_site(condition, site, freed, projected)
        if until_change:
            for leaf in self.lines.site_leaves:
                now = self.conditions.of_sites(leaf)[site]
                ends |= self.conditions.at_site(leaf, site, freed, projected) != now
        return int(np.argmax(ends)) if ends.any() else len(ends)

    def _apply(self, site: int, leaving: Leaving, done: int) -> None:
        """The first `done` replicas go, as far as nothing vetoes it."""
        rows, mine = leaving.batch.rows, leaving.batch.owner < done
        vetoed = mine & (leaving.reason > 0)
        self.row_veto[rows[vetoed]] = leaving.reason[vetoed]
        handed, goes = mine & leaving.handed, mine & leaving.goes
        if handed.any():
            self.reowned.add(rows[handed], self.row_line[rows[handed]], self.passes, self._seen(rows[handed]))
            self.new_owner.append(leaving.heir[handed])
        if goes.any():
            self.gone.add(rows[goes], self.row_line[rows[goes]], self.passes, self._seen(rows[goes]))
        # What was seen is noted before anything changes.
        if handed.any():
            self.world.reown(rows[handed], leaving.heir[handed], site)
        if goes.any():
            self.world.remove(rows[goes], site)
        self.budget.spend(site, int(leaving.size[:done].sum()), int(leaving.files[:done].sum()))

    def _close(self, site: int, replicas: Keys, decision: int, why: Veto) -> None:
        """There is no room for these: they stay."""
        self.row_veto[self._chosen(replicas, decision).rows] = why
        if why is Veto.SITE_CAP:
            self.budget.over.add(site)

    # ---- what decisions saw ------------------------------------------------------------------------------------------

    def _seen(self, rows: Keys) -> Seen:
        """The values of changing variables for the parts that rows are of."""
        lines = self.row_line[rows].astype(np.int64)
        part = np.unique(np.stack([self.world.row_replica[rows], lines]), axis=1)
        of_blocks = {variable: self.conditions.row_values(variable, rows) for variable in self._seen_of_blocks}
        return Seen(part[0], part[1], self.seen_by(part[0], part[1]), of_blocks)

    def seen_by(self, replicas: Keys, lines: Keys) -> dict[Variable, Column]:
        """The values of changing variables as lines see them for dataset replicas: of the blocks left to them."""
        batch = self.world.batch(replicas)
        view = batch.without(self.row_line[batch.rows] < lines[batch.owner])
        return {variable: self.conditions.values(variable, view) for variable in self._seen_variables}


def _changes(variable: Variable) -> bool:
    """Whether what is said of a block can change in the course of a cycle; its owner does when it is handed over."""
    return variable.volatile or variable.name == "blockreplica.owner"
