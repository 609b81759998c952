"""The picture of a plan of the dealer: how full sites are, what copies bring, and how full they may become."""

from __future__ import annotations

from datetime import UTC, datetime

from placement.dealer.plan import Plan
from placement.pictures import PERCENT, Picture


def of_plan(plan: Plan) -> Picture:
    """Per site with a quota what is there, what is on its way and what the plan brings, in percent of the quota."""
    sites = [site for site in plan.header.sites if site.quota is not None and site.quota > 0]
    parts = {
        "there": [site.before - site.pending for site in sites],
        "on its way": [site.pending for site in sites],
        "copied": [site.copied for site in sites],
    }
    bars = {
        name: [PERCENT * size / (site.quota or 1) for size, site in zip(sizes, sites, strict=True)]
        for name, sizes in parts.items()
    }
    when = datetime.fromtimestamp(plan.header.at, UTC)
    title = f"Dealer in {plan.header.settings.partition}, {when:%Y-%m-%d %H:%M} UTC"
    mark = PERCENT * plan.header.settings.target_site_occupancy
    return Picture(title, "% of quota", [site.site for site in sites], bars, {}, [mark])
