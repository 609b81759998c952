"""What bounds a cycle of the dealer, whatever its plugins propose, and which plugins there are."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from reploc.config import Settings


class PluginSettings(Settings, frozen=True):
    """What every plugin is told; its own settings stand beside."""

    priority: Annotated[
        int, Meta(description="Proposals take turns by chance, of weight 1/priority; those of 0 before all.", ge=0)
    ] = 1


class DealerSettings(Settings, frozen=True):
    """Bounds of a cycle of the dealer (Dynamo paper, section 4.2)."""

    partition: Annotated[str, Meta(description="The partition whose quotas and contents count.")] = "Default"
    group: Annotated[
        str, Meta(description="Who owns copies whose proposal says nothing. Empty: who owns most of what is copied.")
    ] = ""
    target_sites: Annotated[
        tuple[str, ...],
        Meta(description="Globs of sites; one with ! before it excludes; the last that fits decides."),
    ] = ("*",)
    target_site_occupancy: Annotated[
        float, Meta(description="Of a site's quota at most so much is taken, ordered copies counted.", gt=0)
    ] = 0.93
    max_site_pending_fraction: Annotated[
        float, Meta(description="Of a site's quota at most so much is ordered and not there yet.", gt=0)
    ] = 0.03
    max_cycle_volume: Annotated[int, Meta(description="Bytes that one cycle orders at most.", ge=0)] = (
        200_000_000_000_000
    )
    max_plan_age_s: Annotated[float, Meta(description="An older plan is not applied.", gt=0)] = 3_600.0
    plugin_deadline_s: Annotated[
        float, Meta(description="A plugin that takes longer stops the cycle before anything is ordered.", gt=0)
    ] = 300.0
    plugins: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="[dealer.plugins.NAME]: a plugin with its priority and settings; docs/dealer.md has them."),
    ] = {}
