"""From an inventory, settings and a seed to a plan; nothing is changed (Dynamo paper, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from placement import requests
from placement.dealer import turns
from placement.dealer.deciding import Dealing, Decision
from placement.dealer.plan import BLOCKS, DECISIONS, Plan, PlanHeader, PluginPlan, SitePlan
from placement.dealer.plugin import Plugin, Ruling, Scene, proposed
from placement.dealer.proposal import Answer, Proposal
from placement.dealer.room import Reason
from placement.inventory import UNKNOWN, Inventory
from reploc.errors import DefinitionUnknown


def make(scene: Scene, plugins: Mapping[str, tuple[int, Plugin]], seed: int) -> Plan:
    """The plan of a run. Raises DefinitionUnknown (partition or group), PolicyInvalid (the partition's condition) and
    ProducerFailed (a plugin)."""
    require_known(scene)
    dealing = Dealing(scene)
    before, pending = dealing.room.projected.copy(), dealing.room.pending.copy()
    found = proposed(plugins, scene)
    order = turns.drawn({name: (plugins[name][0], found[name]) for name in found}, seed)
    decisions = dealing.decide(order)
    header = PlanHeader(
        scene.settings,
        seed,
        scene.inventory.version,
        scene.now_s,
        tuple(sorted(scene.left_out)),
        tuple(_sites(dealing, decisions, before.tolist(), pending.tolist(), scene.inventory)),
        tuple(_plugins(plugins, found, decisions)),
        tuple(_rulings(scene, plugins, decisions)),
    )
    return Plan(header, _decisions(scene.inventory, decisions), _blocks(scene.inventory, decisions))


def require_known(scene: Scene) -> None:
    """Raises DefinitionUnknown: the settings' group is not defined."""
    group = scene.settings.group
    if group and scene.inventory.group_keys([group])[0] == UNKNOWN:
        raise DefinitionUnknown(f"dealer.group: group {group!r} is not defined")


def _rulings(
    scene: Scene, plugins: Mapping[str, tuple[int, Plugin]], decisions: Sequence[Decision]
) -> list[requests.Ruling]:
    found: list[requests.Ruling] = []
    for name, (_, plugin) in plugins.items():
        if isinstance(plugin, Ruling):
            mine = sorted((each for each in decisions if each.turn.plugin == name), key=lambda each: each.turn.number)
            found += plugin.ruled(scene, [each.verdict for each in mine])
    return found


def _decisions(inventory: Inventory, decisions: Sequence[Decision]) -> pl.DataFrame:
    groups, sites = inventory.groups["name"], inventory.sites["name"]
    verdicts = [each.verdict for each in decisions]
    columns = {
        "turn": range(1, len(decisions) + 1),
        "plugin": [each.turn.plugin for each in decisions],
        "item": items(inventory, [each.turn.proposal for each in decisions]),
        "why": [each.turn.proposal.why for each in decisions],
        "decision": [each.answer.value for each in verdicts],
        "reason": [each.reason for each in verdicts],
        "site": ["" if each.site == UNKNOWN else sites[each.site] for each in verdicts],
        "group": [groups[each.group] if each.blocks else each.turn.proposal.group for each in decisions],
        "blocks": [len(each.blocks) for each in decisions],
        "bytes": [each.size for each in decisions],
    }
    return pl.DataFrame(columns, schema=DECISIONS)


def items(inventory: Inventory, proposals: Sequence[Proposal]) -> list[str]:
    """What is proposed, by name: the dataset, or the block where it is just one."""
    found = inventory.datasets["name"].gather([each.dataset for each in proposals]).to_list()
    single = [n for n, each in enumerate(proposals) if each.blocks is not None and len(each.blocks) == 1]
    keys = np.array([key for n in single for key in proposals[n].blocks or ()], dtype=np.int64)
    for n, name in zip(single, inventory.block_names(keys), strict=True):
        found[n] = name
    return found


def _blocks(inventory: Inventory, decisions: Sequence[Decision]) -> pl.DataFrame:
    done = [(one, one.verdict.answer, one.blocks) for one in decisions]
    done += [(one, Answer.HAND_OVER, one.beside) for one in decisions]
    made = [one for one, _, keys in done if keys]
    each = np.repeat(np.arange(len(made)), [len(keys) for _, _, keys in done if keys])
    keys = np.array([key for _, _, keys in done for key in keys], dtype=np.int64)
    blocks = inventory.blocks[keys]
    per = pl.DataFrame(
        {
            "site": [inventory.sites["name"][one.verdict.site] for one in made],
            "item": items(inventory, [one.turn.proposal for one in made]),
            "decision": [answer.value for _, answer, keys in done if keys],
            "group": [inventory.groups["name"][one.group] for one in made],
            "rescue": [one.turn.proposal.rescue for one in made],
            "request": [one.turn.proposal.request for one in made],
        },
        schema={name: BLOCKS[name] for name in ("site", "item", "decision", "group", "rescue", "request")},
    )[each]
    whole = per.with_columns(
        inventory.datasets["name"].gather(blocks["dataset"]).alias("dataset"),
        inventory.block_names(keys).alias("block"),
        blocks["files"].cast(pl.Int64),
        blocks["size"],
    )
    return whole.select(list(BLOCKS)).sort("site", "dataset", "block", "decision", maintain_order=True)


def _sites(
    dealing: Dealing, decisions: Sequence[Decision], before: list[int], pending: list[int], inventory: Inventory
) -> list[SitePlan]:
    room = dealing.room
    copies, handed = ([each for each in decisions if each.verdict.answer is kind] for kind in _DONE)
    quota = inventory.quota(dealing.partition)
    return [
        SitePlan(
            inventory.sites["name"][site],
            Reason(int(room.standing[site])).words,
            quota[site],
            before[site],
            pending[site],
            sum(each.verdict.site == site for each in copies),
            sum(each.size for each in copies if each.verdict.site == site),
            sum(len(each.beside) for each in copies if each.verdict.site == site)
            + sum(len(each.blocks) for each in handed if each.verdict.site == site),
            int(room.projected[site]),
        )
        for site in inventory.sites["name"].arg_sort().to_list()
    ]


_DONE = (Answer.COPY, Answer.HAND_OVER)


def _plugins(
    plugins: Mapping[str, tuple[int, Plugin]],
    found: Mapping[str, Sequence[Proposal]],
    decisions: Sequence[Decision],
) -> list[PluginPlan]:
    told = []
    for name, (priority, _) in plugins.items():
        mine = [each for each in decisions if each.turn.plugin == name]
        copies, handed = ([each for each in mine if each.verdict.answer is kind] for kind in _DONE)
        reasons = [each.verdict.reason for each in mine if each.verdict.answer is Answer.REJECT]
        rejected = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
        volume = sum(each.size for each in copies)
        told.append(PluginPlan(name, priority, len(found[name]), len(copies), volume, len(handed), rejected))
    return told
