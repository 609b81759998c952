"""Detox once more, slowly: plain loops over plain objects, written from the specification alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from twin_world import Bounds, Row, TwinWorld

from placement.policy.syntax import Decision
from placement.policy.variables import Level

__all__ = ["Bounds", "Twin"]


@dataclass
class Twin(TwinWorld):
    """What is decided, looked at anew before anything goes."""

    gone: list[tuple[int, int]] = field(default_factory=list)
    reowned: dict[int, str] = field(default_factory=dict)
    vetoed: dict[int, str] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)

    # ---- decisions ---------------------------------------------------------------------------------------------------

    def pool(self, dataset: str, site: str) -> list[Row]:
        """The part of a dataset replica that lines decide on."""
        if not self.known(site) or site not in self.targets:
            return []
        rows = self.replica_rows(dataset, site)
        return [row for row in rows if row.member and row.files > 0 and not row.settled]

    def decide(self, dataset: str, site: str) -> dict[int, int]:
        """The line (the default's is the last) of each row."""
        view, found = self.pool(dataset, site), {}
        for number, line in enumerate(self.policy.lines):
            if not view:
                break
            if line.validity is not None:
                day = line.validity.moment.at(self.now)
                if (self.now < day) != (line.validity.word == "until"):
                    continue
            assert line.condition is not None
            if not self.of_replica(line.condition, dataset, site, view):
                continue
            taken = view
            if line.action.by_block:
                taken = [row for row in view if self.of_row(line.condition, row, view)]
            found |= {row.number: number for row in taken}
            view = [row for row in view if row not in taken]
        return found | {row.number: len(self.policy.lines) for row in view}

    def action(self, number: int):
        lines = self.policy.lines
        return (lines[number] if number < len(lines) else self.policy.default).action

    def chosen(self, dataset: str, site: str, decision: Decision, lines: dict[int, int] | None = None) -> list[Row]:
        found = self.decide(dataset, site) if lines is None else lines
        return [
            self.rows[number]
            for number, line in found.items()
            if self.action(line).decision is decision and number not in self.vetoed
        ]

    # ---- vetoes ------------------------------------------------------------------------------------------------------

    def other_survivors(self, row: Row) -> list[Row]:
        return [each for each in self.copies(row.block, row.dataset) if each is not row and self.survives(each)]

    def veto(self, row: Row) -> str:
        if row.locked:
            return "LOCKED"
        if row.source:
            return "SOURCE"
        if self.datasets[row.dataset]["status"] in self.bounds.allow_last_copy or self.other_survivors(row):
            return ""
        if row.complete:
            return "LAST_COPY"
        for other in self.copies(row.block, row.dataset):
            if other is not row and self.known(other.site) and other.files >= row.files and other.bytes >= row.bytes:
                return ""
        return "MOST_COMPLETE"

    ORDER = ("LOCKED", "SOURCE", "LAST_COPY", "MOST_COMPLETE")

    def let_go(self, dataset: str, site: str, decision: Decision, lines: dict[int, int]) -> bool:
        """One dataset replica goes, as far as it may; False where there was no room for it in the cycle."""
        rows = self.chosen(dataset, site, decision, lines)
        vetoes = {row.number: self.veto(row) for row in rows}
        whole = [row for row in rows if not self.action(lines[row.number]).by_block]
        reasons = [vetoes[row.number] for row in whole if vetoes[row.number]]
        if reasons:
            vetoes |= {row.number: min(reasons, key=self.ORDER.index) for row in whole}
        free = [row for row in rows if not vetoes[row.number]]
        handed = self.heirs(dataset, site, free)
        goes = [row for row in free if row.number not in handed]
        size, files = sum(row.bytes for row in goes), sum(row.files for row in goes)
        for cap, over in (
            ("SITE_CAP", size > self.left[site]),
            ("VOLUME_CAP", size > self.volume),
            ("FILES_CAP", files > self.files),
        ):
            if over:
                if cap == "SITE_CAP":
                    self.over.add(site)
                self.closed = cap
                return False
        self.vetoed |= {number: veto for number, veto in vetoes.items() if veto}
        for row in free:
            if row.number in handed:
                row.group, row.settled = handed[row.number], True
                row.member = row.member and self.is_member(row.group)
                self.reowned[row.number] = row.group
            else:
                self.gone.append((row.number, lines[row.number]))
        for row in goes:
            row.gone = True
        self.left[site] -= size
        self.volume -= size
        self.files -= files
        return True

    def heirs(self, dataset: str, site: str, free: list[Row]) -> dict[int, str]:
        there = [row for row in self.replica_rows(dataset, site) if row.files > 0]
        owning = sorted({row.group for row in there if self.groups[row.group] == "dataset"})
        if not free or len(free) == len(there) or not owning:
            return {}
        return {row.number: owning[0] for row in free if row.group != "None" and self.groups[row.group] == "block"}

    # ---- the cycle ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        targets = [site for site in sorted(self.sites) if any(self.pool(name, site) for name in self.datasets)]
        self.triggered = {s for s in targets if any(self.of_site(line.condition, s) for line in self.policy.when)}
        while True:
            deleted = self.delete_lines(targets)
            if not self.policy.iterative:
                self.static(targets)
                return
            waiting = [site for site in targets if site in self.triggered and self.candidates(site)]
            if not waiting and not deleted:
                return
            if waiting:
                self.slice(min(waiting, key=lambda site: (-self.protected_fraction(site), site)))

    def delete_lines(self, targets: list[str]) -> bool:
        found = False
        for site in targets:
            while names := [name for name in sorted(self.datasets) if self.chosen(name, site, Decision.DELETE)]:
                found = True
                if not self.let_go(names[0], site, Decision.DELETE, self.decide(names[0], site)):
                    for name in names:
                        self.close(name, site, Decision.DELETE, self.decide(name, site))
        return found

    def close(self, dataset: str, site: str, decision: Decision, lines: dict[int, int]) -> None:
        self.vetoed |= {row.number: self.closed for row in self.chosen(dataset, site, decision, lines)}

    def candidates(self, site: str) -> list[str]:
        return [name for name in self.datasets if self.chosen(name, site, Decision.DISMISS)]

    def protected_fraction(self, site: str) -> float:
        quota = self.quota[site]
        protected = 0
        for name in self.datasets:
            for number, line in self.decide(name, site).items():
                protected += self.rows[number].bytes * (self.action(line).decision is Decision.PROTECT)
        return protected / (quota if quota is not None and quota > 0 else 1)

    def released(self, site: str) -> bool:
        if any(self.of_site(line.condition, site) for line in self.policy.until):
            self.triggered.discard(site)
        return site not in self.triggered

    def key(self, dataset: str, site: str):
        view = self.pool(dataset, site)
        keys = []
        for each in self.policy.order:
            name, level = each.variable.name, each.variable.level
            if level is Level.SITE:
                value = self.site_value(name, site)
            elif level is Level.DATASET:
                value = self.dataset_value(name, dataset)
            else:
                value = self.replica_value(name, dataset, site, view)
            missing = value is None
            keys.append((missing, 0 if missing else -value if each.decreasing else value))
        return (*keys, dataset, site)

    def slice(self, site: str) -> None:
        if self.released(site):
            return
        quota = self.quota[site]
        enough = self.bounds.per_iteration * quota if quota is not None and quota > 0 else float("inf")
        order = sorted(self.candidates(site), key=lambda name: self.key(name, site))
        # Within a slice nothing is decided anew.
        lines = {name: self.decide(name, site) for name in order}
        before = self.volume
        for place, name in enumerate(order):
            if not self.let_go(name, site, Decision.DISMISS, lines[name]):
                for other in order[place:]:
                    self.close(other, site, Decision.DISMISS, lines[other])
                return
            if self.released(site) or before - self.volume >= enough:
                return

    def static(self, targets: list[str]) -> None:
        pairs = [(name, site) for site in targets if site in self.triggered for name in self.candidates(site)]
        lines = {pair: self.decide(*pair) for pair in pairs}
        closed: dict[str, str] = {}
        for name, site in sorted(pairs, key=lambda pair: self.key(*pair)):
            if site in closed:
                self.closed = closed[site]
                self.close(name, site, Decision.DISMISS, lines[name, site])
            elif not self.released(site):
                if not self.let_go(name, site, Decision.DISMISS, lines[name, site]):
                    self.close(name, site, Decision.DISMISS, lines[name, site])
                    closed[site] = self.closed
                self.released(site)
