"""Why an item is copied or not: who proposes it, and what each site is to it, before anything is given away."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from placement.dealer.deciding import DEAD_SAID, EMPTY_SAID, SOURCE_SAID, Dealing
from placement.dealer.planning import items, require_known
from placement.dealer.plugin import Plugin, Scene, proposed
from placement.dealer.proposal import Proposal
from placement.dealer.room import Reason
from placement.inventory import UNKNOWN
from reploc import names
from reploc.errors import DefinitionUnknown


class ProposalSeen(Struct, frozen=True):
    """Proposals of a plugin that are alike: so many copies, at any of these sites."""

    plugin: str
    priority: int
    copies: int
    sites: tuple[str, ...] | None
    group: str
    why: str


class SiteSeen(Struct, frozen=True):
    """Why a site may get a copy or not, and the bytes that it lacks."""

    site: str
    reason: str
    lacking: int


class Explanation(Struct, frozen=True):
    """What is said of an item; `said` is what is against copying it at all, or that nothing is."""

    item: str
    blocks: int
    bytes: int
    said: str
    proposals: tuple[ProposalSeen, ...]
    sites: tuple[SiteSeen, ...]


def explain(scene: Scene, plugins: Mapping[str, tuple[int, Plugin]], name: str) -> Explanation:
    """The explanation of a dataset or block. Raises DefinitionUnknown: there is none of that name; and what planning
    does."""
    require_known(scene)
    asked = _asked(scene, name)
    dealing = Dealing(scene)
    item = dealing.item(asked)
    reasons, lacking = dealing.reasons(asked, item)
    sites = scene.inventory.sites["name"]
    seen = [
        SiteSeen(sites[site], Reason(int(reasons[site])).words, int(lacking[site]))
        for site in sites.arg_sort().to_list()
    ]
    if dealing.is_dead(asked):
        said = DEAD_SAID
    elif not len(item.blocks):
        said = EMPTY_SAID
    else:
        said = "every block has a source" if item.sourced.all() else SOURCE_SAID
    wishes = tuple(_proposals(scene, plugins, asked.dataset))
    return Explanation(name, len(item.blocks), int(item.size.sum()), said, wishes, tuple(seen))


def _asked(scene: Scene, name: str) -> Proposal:
    dataset, block = names.split_block(name)
    key = int(scene.inventory.dataset_keys([dataset])[0])
    if block is None:
        blocks = None
    else:
        found = int(scene.inventory.block_keys([name])[0])
        key = key if found != UNKNOWN else UNKNOWN
        blocks = (found,)
    if key == UNKNOWN:
        raise DefinitionUnknown(f"{name!r} is not defined")
    return Proposal(key, blocks)


def _proposals(scene: Scene, plugins: Mapping[str, tuple[int, Plugin]], dataset: int) -> list[ProposalSeen]:
    sites = scene.inventory.sites["name"]
    seen: dict[tuple[str, Proposal], int] = {}
    for plugin, proposals in proposed(plugins, scene).items():
        for proposal in proposals:
            if proposal.dataset == dataset:
                seen[plugin, proposal] = seen.get((plugin, proposal), 0) + 1
    found = []
    for (plugin, proposal), copies in seen.items():
        named = None if proposal.sites is None else tuple(sorted(sites[site] for site in proposal.sites))
        why = proposal.why if proposal.blocks is None else f"{items(scene.inventory, [proposal])[0]}: {proposal.why}"
        found.append(ProposalSeen(plugin, plugins[plugin][0], copies, named, proposal.group, why))
    return found
