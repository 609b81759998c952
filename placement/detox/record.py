"""A cycle that has ended, written down as a plan: its decisions with what they saw, its deletions with witnesses."""

from __future__ import annotations

import numpy as np
import polars as pl

from placement.detox import lines as decisions
from placement.detox.cycle import Cycle, Departures
from placement.detox.plan import BLOCKS, DECISION, DECISIONS, SitePlan
from placement.detox.runs import Array, Bits, Keys, expanded
from placement.detox.values import BlockValues, shown_values
from placement.detox.vetoes import REASONS, Veto
from placement.policy.syntax import Line, variables_of
from placement.policy.variables import Level, Variable

#: The number of a row's fate: what is recorded of it, by its place in the enumeration of decisions.
_PROTECT, _KEEP, _DELETE, _HAND_OVER, _VETO = range(5)


class Record:
    """What a cycle came to, row by row: `fate` and `line` of each row of which anything is recorded."""

    def __init__(self, cycle: Cycle) -> None:
        self._cycle, self._world = cycle, cycle.world
        rows = len(self._world.row_block)
        self._fate = np.full(rows, -1, dtype=np.int8)
        self._pass = np.zeros(rows, dtype=np.uint32)
        #: What changing variables were when something went, as texts, and by which part; filled when asked for.
        self._went: dict[Variable, pl.Series] = {}
        self._went_by: Keys | None = None
        what = np.where(cycle.row_line >= 0, cycle.lines.decision[cycle.row_line], decisions.IGNORE)
        self._fate[what == decisions.PROTECT] = _PROTECT
        self._fate[what == decisions.DISMISS] = _KEEP
        self._fate[(cycle.row_veto > 0) & np.isin(what, (decisions.DISMISS, decisions.DELETE))] = _VETO
        self._gone, self._reowned = _joined(cycle.gone), _joined(cycle.reowned)
        for departures, fate in ((cycle.gone, _DELETE), (cycle.reowned, _HAND_OVER)):
            for chosen, number in zip(departures.rows, departures.passes, strict=True):
                self._fate[chosen] = fate
                self._pass[chosen] = number

    # ---- decisions ---------------------------------------------------------------------------------------------------

    def decisions(self) -> pl.DataFrame:
        """A row for each part of a dataset replica, in the order of site, dataset and line; see DECISIONS."""
        world, cycle = self._world, self._cycle
        rows = np.flatnonzero(self._fate >= 0)
        line = cycle.row_line[rows].astype(np.int64)
        told = pl.DataFrame(
            {
                "replica": world.row_replica[rows],
                "line": line,
                "fate": self._fate[rows],
                "veto": cycle.row_veto[rows],
                "pass": self._pass[rows],
            }
        )
        told = told.with_columns(pl.Series("files", world.row_files[rows]), pl.Series("bytes", world.row_bytes[rows]))
        blocks = BlockValues(cycle, rows, line)
        parts = (
            told.with_columns(blocks.columns())
            .group_by("replica", "line", "fate", "veto", "pass")
            .agg(
                pl.len().cast(pl.UInt32).alias("blocks"),
                pl.col("files").sum(),
                pl.col("bytes").sum(),
                *blocks.aggregates(),
            )
        )
        # Ranks of names sort a million parts in a fraction of the time that names take.
        replica = parts["replica"].to_numpy()
        ranks = [
            _ranks(world.inventory.sites["name"])[world.replica_site[replica]],
            _ranks(world.inventory.datasets["name"])[world.replica_dataset[replica]],
        ]
        ranked = parts.with_columns(pl.Series("site_rank", ranks[0]), pl.Series("dataset_rank", ranks[1]))
        parts = ranked.sort("site_rank", "dataset_rank", "line", "fate", "veto", "pass")
        replica = parts["replica"].to_numpy()
        numbers = np.array([*self._line_numbers(), 0])
        vetoed = (parts["fate"] == _VETO).to_numpy()
        reasons = pl.Series([REASONS[veto] for veto in Veto])
        named = {
            "site": world.inventory.sites["name"].gather(world.replica_site[replica]),
            "dataset": world.inventory.datasets["name"].gather(world.replica_dataset[replica]),
            "decision": DECISION.categories.gather(parts["fate"]).cast(DECISION),
            "reason": reasons.gather(np.where(vetoed, parts["veto"].to_numpy(), 0)),
            "line": pl.Series(numbers[parts["line"].to_numpy()]),
            "saw": self._saw(parts),
        }
        whole = parts.drop("line").with_columns(series.alias(name) for name, series in named.items())
        return whole.select(pl.col(name).cast(kind) for name, kind in DECISIONS.items())

    def _line_numbers(self) -> list[int]:
        policy = self._cycle.policy
        return [line.place.line if line.place else 0 for line in (*policy.lines, policy.default)]

    def _saw(self, parts: pl.DataFrame) -> pl.Series:
        """What the deciding line of each part saw, as `variable=value …`."""
        said = np.full(parts.height, "", dtype=object)
        for number, line in enumerate(self._cycle.policy.lines):
            mine = np.flatnonzero(parts["line"] == number)
            if len(mine) and line.condition is not None:
                said[mine] = self._seen(line, number, parts[mine])
        return pl.Series(said.tolist(), dtype=pl.String)

    def _seen(self, line: Line, number: int, parts: pl.DataFrame) -> Array:
        assert line.condition is not None
        replicas, fates = parts["replica"].to_numpy(), parts["fate"].to_numpy()
        told = ("dataset.name", "site.name", "blockreplica.name")
        asked = sorted((each for each in variables_of(line.condition) if each.name not in told), key=str)
        if not asked:
            return np.full(len(replicas), "", dtype=object)
        changing = self._cycle.seen_by(replicas, np.full(len(replicas), number))
        earlier = np.isin(fates, (_DELETE, _HAND_OVER))
        texts = []
        for variable in asked:
            if variable.level is Level.BLOCK:
                texts.append(BlockValues.shown(variable, parts))
            elif variable.volatile:
                text = shown_values(variable, changing[variable])
                if earlier.any():
                    text = text.scatter(np.flatnonzero(earlier), self._as_it_went(variable, number, replicas[earlier]))
                texts.append(text)
            else:
                batch = self._world.batch(replicas)
                texts.append(shown_values(variable, self._cycle.conditions.values(variable, batch)))
        labels = [pl.lit(f"{variable}=") + text for variable, text in zip(asked, texts, strict=True)]
        return pl.select(pl.concat_str(labels, separator=" ")).to_series().to_numpy()

    def _as_it_went(self, variable: Variable, number: int, replicas: Keys) -> pl.Series:
        """The value of a changing variable when something of each of these dataset replicas went by a line."""
        if variable not in self._went:
            seen = [part for departures in (self._cycle.gone, self._cycle.reowned) for part in departures.seen]
            shown = pl.concat([shown_values(variable, part.values[variable]) for part in seen])
            self._went[variable] = shown
            if self._went_by is None:
                parts = [self._part(part.replicas, part.lines) for part in seen]
                self._went_by = np.concatenate(parts)
        assert self._went_by is not None
        order = np.argsort(self._went_by, kind="stable")
        at = np.searchsorted(self._went_by[order], self._part(replicas, np.full(len(replicas), number)))
        return self._went[variable].gather(order[at])

    def _part(self, replicas: Keys, lines: Keys) -> Keys:
        """One number for a dataset replica and a line."""
        return np.asarray(replicas * (self._cycle.lines.default + 1) + lines)

    # ---- blocks ------------------------------------------------------------------------------------------------------

    def blocks(self) -> pl.DataFrame:
        """A row for each block replica that goes or changes its owner, in the order of site and block; see BLOCKS."""
        world = self._world
        rows = np.concatenate([self._gone, self._reowned])
        heirs = np.concatenate([np.zeros(len(self._gone), dtype=np.int64), *self._cycle.new_owner]).astype(np.int64)
        groups = world.inventory.groups["name"]
        handed = np.arange(len(rows)) >= len(self._gone)
        witness, left = self._witnesses(rows)
        replica = world.row_replica[rows]
        before = world.inventory.block_replicas["group"].gather(rows)
        frame = pl.DataFrame(
            {
                "site": world.inventory.sites["name"].gather(world.row_site[rows]),
                "dataset": world.inventory.datasets["name"].gather(world.replica_dataset[replica]),
                "block": world.inventory.block_names(world.row_block[rows]),
                "files": world.row_files[rows],
                "bytes": world.row_bytes[rows],
                "witness": pl.Series(np.where(handed, "", witness)).cast(pl.String),
                "last_copy": world.complete[rows] & ~left & ~handed,
                "owner": groups.gather(before),
                "heir": pl.Series(np.where(handed, groups.gather(heirs).to_numpy(), "")).cast(pl.String),
            }
        )
        return frame.sort("site", "block").select(pl.col(name).cast(kind) for name, kind in BLOCKS.items())

    def _witnesses(self, rows: Keys) -> tuple[Array, Bits]:
        """For each row the first site by name that keeps a survivor of its block, and whether there is one."""
        world = self._world
        datasets = np.unique(world.replica_dataset[world.row_replica[rows]])
        replicas, _ = world.siblings(datasets)
        near, _ = expanded(world.replica_first[replicas], world.replica_count[replicas])
        near = near[world.survivor[near]]
        names = world.inventory.sites["name"]
        rank = _ranks(names)
        order = np.lexsort((rank[world.row_site[near]], world.row_block[near]))
        blocks, first = np.unique(world.row_block[near][order], return_index=True)
        at = np.minimum(np.searchsorted(blocks, world.row_block[rows]), max(len(blocks) - 1, 0))
        found = blocks[at] == world.row_block[rows] if len(blocks) else np.zeros(len(rows), dtype=np.bool_)
        site = world.row_site[near[order][first]][at[found]]
        witness = np.full(len(rows), "", dtype=object)
        witness[found] = names.gather(site).to_numpy()
        return witness, found

    # ---- sites -------------------------------------------------------------------------------------------------------

    def sites(self, targets: Bits, triggered: Bits) -> tuple[SitePlan, ...]:
        """What the plan does at each target site, in the order of names."""
        world, cycle = self._world, self._cycle
        site = world.row_site
        held = len(targets)

        def summed(chosen: Bits) -> Keys:
            return np.bincount(site[chosen], weights=world.row_bytes[chosen], minlength=held).astype(np.int64)

        may_go = (self._fate == _KEEP) | (self._fate == _VETO)
        by_fate = [summed(self._fate == fate) for fate in (_PROTECT, _DELETE, _HAND_OVER, _VETO)]
        kept, candidates = summed(may_go & ~triggered[site]), summed(may_go & triggered[site])
        names, quota = world.inventory.sites["name"], world.inventory.quota(world.partition)
        return tuple(
            SitePlan(
                names[key],
                bool(triggered[key]),
                bool(cycle.triggered[key]),
                quota[key],
                int(cycle.site_bytes_before[key]),
                int(by_fate[0][key]),
                int(kept[key]),
                int(candidates[key]),
                int(by_fate[1][key]),
                int(by_fate[2][key]),
                int(by_fate[3][key]),
                int(world.site_bytes[key]),
            )
            for key in names.arg_sort().to_list()
            if targets[key]
        )


def _ranks(names: pl.Series) -> Keys:
    """The place of each name in the order of names."""
    return names.rank("ordinal").to_numpy().astype(np.int64)


def _joined(departures: Departures) -> Keys:
    return np.concatenate(departures.rows) if departures.rows else np.zeros(0, dtype=np.int64)
