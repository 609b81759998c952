"""Pictures of a plan of detox and of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from placement.detox.plan import Plan
from placement.detox.simulation import Step
from placement.pictures import PERCENT, Picture

#: Parts of a site's bar from the bottom.
_PARTS = ("protected", "kept", "candidates", "deleted")


def of_plan(plan: Plan) -> Picture:
    """Per target site what is protected, kept, candidate and deleted, in percent of its quota, with the watermarks."""
    sites = [site for site in plan.header.sites if site.quota is not None and site.quota > 0]
    bars = {part: [PERCENT * getattr(site, part) / (site.quota or 1) for site in sites] for part in _PARTS}
    when = datetime.fromtimestamp(plan.header.at, UTC)
    title = f"Detox of {plan.header.partition}, {when:%Y-%m-%d %H:%M} UTC"
    marks = [PERCENT * mark for mark in plan.header.watermarks]
    return Picture(title, "% of quota", [site.site for site in sites], bars, {}, marks)


def of_simulation(steps: Sequence[Step], watermarks: Sequence[float]) -> Picture:
    """Over time: the occupancy of all sites that have a quota, before and after each cycle, and what was protected."""
    lines: dict[str, list[float]] = {"before": [], "after": [], "protected": []}
    for step in steps:
        sites = [site for site in step.sites if site.quota is not None and site.quota > 0]
        quota = sum(site.quota or 0 for site in sites) or 1
        for name, values in lines.items():
            values.append(PERCENT * sum(getattr(site, name) for site in sites) / quota)
    times = [datetime.fromtimestamp(step.at, UTC) for step in steps]
    marks = [PERCENT * mark for mark in watermarks]
    return Picture("Occupancy in a simulation of detox", "% of all quotas", times, {}, lines, marks)
