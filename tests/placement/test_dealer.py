"""The dealer decides: where copies may go, why proposals are rejected, in which turn, by which chance."""

from __future__ import annotations

import re
import threading
import tomllib
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from dealing import NOW, Said, dealt, outcomes, planned, scene, world
from worlds import BYTES

from placement.dealer import application, deciding, planning, turns
from placement.dealer import plan as plans
from placement.dealer.explanation import explain
from placement.dealer.plugin import ENTRY_POINTS, Scene, configured
from placement.dealer.proposal import Proposal
from placement.dealer.room import Reason, targets
from placement.inventory import Inventory
from placement.settings import PlacementSettings
from reploc import config
from reploc.errors import ConfigInvalid, DefinitionUnknown, InputInvalid, PlanOutdated, ProducerFailed

HERE = {"block": "/a", "site": "A"}
ANY = Proposal(0)
AT_B = Proposal(0, None, (1,))


def two(**b: Any) -> Inventory:
    """The dataset /a at A, and the site B with what is special about it."""
    return world(["A", {"name": "B"} | b], ["/a"], [HERE])


# ---- where copies may go ---------------------------------------------------------------------------------------------


def test_a_copy_goes_to_the_one_site_that_lacks_it() -> None:
    plan = planned(two(), ANY)
    assert outcomes(plan) == [("/a", "B")]
    assert plan.blocks.row(0, named=True) | {"files": 0} == {
        "site": "B", "dataset": "/a", "block": "/a", "item": "/a", "decision": "copy", "group": "None",
        "rescue": False, "request": None, "files": 0, "size": BYTES,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("site", "more", "reason"),
    [
        ({"status": "waitroom"}, {}, "the site is not ready"),
        ({"status": "morgue"}, {}, "the site is not ready"),
        ({}, {"target_sites": ("*", "!B")}, "no target site"),
        ({}, {"left_out": frozenset({"B"})}, "no fresh news of the site"),
        ({"quota": None}, {}, "no quota for the partition"),
        ({"quota": 0}, {}, "no quota for the partition"),
        ({"quota": 1_075}, {}, "beyond target_site_occupancy"),
        ({}, {"max_site_pending_fraction": 0.0099}, "beyond max_site_pending_fraction"),
        ({}, {"max_cycle_volume": BYTES - 1}, "beyond max_cycle_volume"),
        ({}, {"left_out": frozenset({"A"})}, "no source for a block"),
    ],
)
def test_a_proposal_is_rejected_for_a_reason_that_is_named_and_counted(
    site: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    plan = planned(two(**site), AT_B, **more)
    assert outcomes(plan) == [("/a", reason)]
    assert plan.header.plugins[0].rejected == {reason: 1}
    assert plan.blocks.is_empty()


def test_where_any_site_would_do_the_reason_is_that_of_the_one_nearest_to_getting_it() -> None:
    assert outcomes(planned(two(quota=1_075), ANY)) == [("/a", "beyond target_site_occupancy")]
    assert outcomes(planned(two(status="morgue"), ANY)) == [("/a", "all of it is there or on its way")]


@pytest.mark.parametrize(
    ("quota", "more"),
    [(1_076, {}), (100_000, {"max_site_pending_fraction": 0.01}), (100_000, {"max_cycle_volume": BYTES}), (-1, {})],
)
def test_a_copy_that_just_fits_is_ordered(quota: int, more: dict[str, Any]) -> None:
    assert outcomes(planned(two(quota=quota), AT_B, **more)) == [("/a", "B")]


@pytest.mark.parametrize("status", ["deleted", "deprecated", "invalid", "ignored"])
def test_nothing_is_copied_of_a_dataset_that_nobody_should_use(status: str) -> None:
    held = world(["A", "B"], [{"name": "/a", "status": status}], [HERE])
    assert outcomes(planned(held, ANY)) == [("/a", "the dataset's status")]


def test_a_dataset_without_files_is_nothing_to_copy() -> None:
    held = world(["A", "B"], ["/a"], [], blocks={"/a": {"files": 0, "size": 0}})
    assert outcomes(planned(held, ANY)) == [("/a", "no block with files")]


def test_a_group_that_is_not_defined_is_a_reason_or_where_it_is_a_setting_an_error() -> None:
    assert outcomes(planned(two(), Proposal(0, group="nobody"))) == [("/a", "the group is not defined")]
    with pytest.raises(DefinitionUnknown, match=r"dealer.group: group 'nobody' is not defined"):
        planned(two(), ANY, group="nobody")


def test_an_unknown_partition_is_an_error() -> None:
    with pytest.raises(DefinitionUnknown, match="partition 'Q' is not defined; known: P"):
        planned(two(), ANY, partition="Q")


def test_of_target_sites_the_last_pattern_that_fits_decides() -> None:
    names = pl.Series(["T1_A", "T2_A", "T2_B", "T3"])
    assert targets(names, ("T2_*", "!*_B", "T3")).tolist() == [False, True, False, True]
    assert targets(names, ()).tolist() == [False] * 4


def test_every_block_needs_a_source_that_survives() -> None:
    datasets = [{"name": "/a", "blocks": ["1", "2"]}]
    parts = [{"block": "/a#1", "site": "A"}, {"block": "/a#2", "site": "B"}]
    assert outcomes(planned(world(["A", "B", "C"], datasets, parts), Proposal(0, None, (2,)))) == [("/a", "C")]
    for special in ({"deleting": True}, {"files": 9, "bytes": 900}):
        held = world(["A", "B", "C"], datasets, [parts[0], parts[1] | special])
        assert outcomes(planned(held, Proposal(0, None, (2,)))) == [("/a", "no source for a block")]
        assert outcomes(planned(held, Proposal(0, (0,), (2,)))) == [("/a#1", "C")]


def test_only_a_rescue_reads_from_a_site_that_is_not_ready() -> None:
    held = world([{"name": "A", "status": "morgue"}, "B"], ["/a"], [HERE])
    assert outcomes(planned(held, AT_B)) == [("/a", "no source for a block")]
    plan = planned(held, Proposal(0, None, (1,), rescue=True))
    assert outcomes(plan) == [("/a", "B")]
    checked = application.compared(plan, held, scene(held).stock, frozenset())
    assert next(application.wishes(checked.held())).blocks[0].sources == ("A",)


def test_what_is_on_its_way_counts_as_there_and_takes_room() -> None:
    coming = {"block": "/a", "site": "B", "files": 0, "bytes": 0, "copying": True}
    held = world(["A", "B"], ["/a", "/b"], [HERE, coming, {"block": "/b", "site": "A"}])
    assert outcomes(planned(held, AT_B)) == [("/a", "all of it is there or on its way")]
    plan = planned(held, Proposal(1, None, (1,)), max_site_pending_fraction=0.019)
    assert outcomes(plan) == [("/b", "beyond max_site_pending_fraction")]
    assert [(site.pending, site.before) for site in plan.header.sites] == [(0, 2 * BYTES), (BYTES, BYTES)]


def test_what_is_under_deletion_is_no_copy_and_gets_none_unless_that_site_is_wanted() -> None:
    going = {"block": "/a", "site": "B", "deleting": True}
    held = world(["A", "B"], ["/a"], [HERE, going])
    assert outcomes(planned(held, ANY)) == [("/a", "some of it is being deleted there")]
    assert outcomes(planned(held, AT_B)) == [("/a", "B")]


def test_a_deletion_that_a_copy_of_this_cycle_cancels_keeps_no_other_copy_away() -> None:
    rows = [{"block": f"/a#{n}", "site": "A"} for n in "12"] + [{"block": "/a#1", "site": "B", "deleting": True}]
    held = world(["A", "B"], [{"name": "/a", "blocks": ["1", "2"]}], rows)
    plan = planned(held, Proposal(0, (0,), (1,)), Proposal(0))
    assert outcomes(plan) == [("/a#1", "B"), ("/a", "B")]
    assert plan.blocks["block"].to_list() == ["/a#1", "/a#2"]


def test_only_what_a_site_lacks_is_copied_and_counted() -> None:
    datasets = [{"name": "/a", "blocks": ["1", "2", "3"]}]
    whole = [{"block": f"/a#{n}", "site": "A"} for n in (1, 2, 3)]
    some = [{"block": "/a#1", "site": "B"}, {"block": "/a#2", "site": "B", "files": 5, "bytes": 400}]
    plan = planned(world(["A", "B"], datasets, whole + some), AT_B)
    assert plan.blocks["block"].to_list() == ["/a#2", "/a#3"]
    assert plan.decisions["bytes"].to_list() == [BYTES - 400 + BYTES]
    assert plan.header.sites[1].after == 3 * BYTES


def test_each_further_copy_goes_to_another_site() -> None:
    held = world([*"ABCD"], ["/a"], [HERE])
    found = outcomes(planned(held, ANY, ANY, ANY, ANY))
    assert sorted(site for _, site in found[:3]) == ["B", "C", "D"]
    assert found[3] == ("/a", "all of it is there or on its way")


def test_the_volume_of_a_cycle_ends_it_but_not_for_what_is_too_large_for_any() -> None:
    held = world(
        ["A", "B"],
        ["/a", "/b", "/c", "/large"],
        [{"block": name, "site": "A"} for name in ("/a", "/b", "/c", "/large")],
        blocks={"/large": {"size": 5_000}, "/b": {"size": 1_500}, "/c": {"size": 10}},
    )
    order = [Proposal(key) for key in (3, 0, 1, 2)]
    assert outcomes(planned(held, *order, max_cycle_volume=2_000)) == [
        ("/large", "beyond max_cycle_volume"),
        ("/a", "B"),
        ("/b", "beyond max_cycle_volume"),
        ("/c", "beyond max_cycle_volume"),
    ]


# ---- owners ----------------------------------------------------------------------------------------------------------


def owned(*replicas: dict[str, Any]) -> Inventory:
    return world(["A", "B", "C"], ["/a"], list(replicas), groups=["physics", "ops"])


def test_a_full_copy_of_another_group_is_handed_over_not_copied() -> None:
    held = owned(HERE, {"block": "/a", "site": "B", "group": "ops"})
    plan = planned(held, Proposal(0, None, (1,), "physics"))
    assert plan.decisions.row(0, named=True)["decision"] == "hand over"
    assert plan.header.plugins[0].handed_over == 1
    checked = application.compared(plan, held, scene(held).stock, frozenset()).held()
    assert list(application.wishes(checked)) == []
    (given,) = application.handovers(checked)
    assert (given.item, given.site, given.group, given.blocks) == ("/a", "B", "physics", ("/a",))
    assert outcomes(planned(held, Proposal(0, None, (1,), "ops"))) == [("/a", "all of it is there or on its way")]


def test_what_is_there_of_another_group_is_handed_over_with_the_copy_of_the_rest() -> None:
    whole = [{"block": f"/a#{n}", "site": "A"} for n in (1, 2, 3)]
    some = [{"block": "/a#1", "site": "B", "group": "ops"}, {"block": "/a#2", "site": "B", "group": "physics"}]
    held = world(["A", "B"], [{"name": "/a", "blocks": ["1", "2", "3"]}], whole + some, groups=["physics", "ops"])
    plan = planned(held, *[Proposal(0, None, (1,), "physics")] * 2)
    assert plan.blocks.select("block", "decision", "group").rows() == [
        ("/a#1", "hand over", "physics"),
        ("/a#3", "copy", "physics"),
    ]
    assert plan.decisions.select("decision", "blocks", "bytes").row(0) == ("copy", 1, BYTES)
    assert plan.decisions["decision"].to_list() == ["copy", "reject"]
    assert (plan.header.sites[1].copies, plan.header.sites[1].handed_over) == (1, 1)
    checked = application.compared(plan, held, scene(held).stock, frozenset()).held()
    (given,), (wish,) = application.handovers(checked), application.wishes(checked)
    assert given.blocks == ("/a#1",) and [block.name for block in wish.blocks] == ["/a#3"]
    # Where just the bounds of a cycle name the group and the site was drawn, everybody keeps what they have.
    drawn = planned(held, Proposal(0), group="physics")
    assert drawn.blocks.select("block", "decision").rows() == [("/a#3", "copy")]


def test_what_was_handed_over_is_not_handed_over_again() -> None:
    held = owned(HERE, {"block": "/a", "site": "B", "group": "ops"})
    twice = [Proposal(0, None, (1,), "physics")] * 2
    assert planned(held, *twice).decisions["decision"].to_list() == ["hand over", "reject"]


def test_a_copy_has_the_owner_that_its_proposal_names_or_the_settings_or_who_owns_most() -> None:
    held = owned(HERE | {"group": "ops"}, {"block": "/a", "site": "B", "group": "physics"})
    assert planned(held, Proposal(0, None, (2,), "physics"))  .decisions["group"].to_list() == ["physics"]  # fmt: skip
    assert planned(held, Proposal(0, None, (2,)), group="physics").decisions["group"].to_list() == ["physics"]
    # As much belongs to either: the first by name.
    assert planned(held, Proposal(0, None, (2,))).decisions["group"].to_list() == ["ops"]


# ---- chance ----------------------------------------------------------------------------------------------------------


def test_turns_come_by_weight_and_those_of_priority_0_before_all() -> None:
    first = Counter()
    for seed in range(3_000):
        proposed = {"one": (1, [ANY] * 3), "three": (3, [ANY] * 3), "zero": (0, [ANY] * 2), "none": (0, [ANY] * 2)}
        order = turns.drawn(proposed, seed)
        assert {turn.plugin for turn in order[:4]} == {"zero", "none"}
        assert [turn.number for turn in order if turn.plugin == "one"] == [0, 1, 2]
        first[order[0].plugin] += 1
        first[order[4].plugin] += 1
    # Chi-square of one degree of freedom, beyond which one in a million lies.
    assert chi_square([first["zero"], first["none"]], [0.5, 0.5]) < 24
    assert chi_square([first["one"], first["three"]], [0.75, 0.25]) < 24


def test_turns_are_as_if_each_were_drawn_among_the_plugins_that_have_proposals_left() -> None:
    """Three orders of one proposal of weight 1 among two of weight 1/2, with chances reckoned by hand."""
    seen = Counter()
    for seed in range(3_000):
        order = turns.drawn({"one": (1, [ANY]), "two": (2, [ANY, ANY])}, seed)
        seen[[turn.plugin for turn in order].index("one")] += 1
    # 1/(1+1/2) at first; then again 2/3 of what is left.
    assert chi_square([seen[0], seen[1], seen[2]], [2 / 3, 2 / 9, 1 / 9]) < 28


def test_an_open_destination_is_drawn_with_weight_by_free_fraction() -> None:
    fill = {"block": "/fill", "site": "B", "files": 10, "bytes": 60_000}
    held = world(
        ["A", "B", "C", {"name": "D", "quota": -1}],
        ["/a", "/fill"],
        [HERE, fill, fill | {"site": "C", "files": 4, "bytes": 20_000}],
        blocks={"/fill": {"size": 60_000}},
    )
    drawn = Counter(outcomes(planned(held, ANY, seed=seed))[0][1] for seed in range(800))
    free = np.array([0.4, 0.8, 1.0])
    assert chi_square([drawn[site] for site in "BCD"], list(free / free.sum())) < 28


def chi_square(seen: Sequence[int], chances: Sequence[float]) -> float:
    total = sum(seen)
    return sum((count - total * chance) ** 2 / (total * chance) for count, chance in zip(seen, chances, strict=True))


def test_the_same_inventory_settings_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    held = world([*"ABCDE"], [f"/{n}" for n in range(30)], [{"block": f"/{n}", "site": "A"} for n in range(30)])
    plugins = {
        "said": (1, Said(*(Proposal(n) for n in range(30)))),
        "more": (2, Said(*(Proposal(n) for n in range(9)))),
    }
    one, same, other = (dealt(held, plugins, seed=seed) for seed in (7, 7, 8))
    assert one.encoded() == same.encoded() != other.encoded()
    assert plans.decoded(one.encoded(), "here").blocks.equals(one.blocks)
    assert len(plans.differing(one, other)) > 0 == len(plans.differing(one, same))
    (tmp_path / "plan").write_bytes(b"no plan")
    with pytest.raises(InputInvalid, match="is no plan of the dealer"):
        plans.read(tmp_path / "plan")


def test_the_order_of_sites_in_an_inventory_is_of_no_meaning() -> None:
    replicas = [{"block": f"/{n}", "site": "A"} for n in range(20)]
    found = [
        outcomes(planned(world(sites, [f"/{n}" for n in range(20)], replicas), *(Proposal(n) for n in range(20))))
        for sites in ([*"ABCD"], [*"DCBA"])
    ]
    assert found[0] == found[1]


def test_another_plugins_proposals_do_not_change_the_chances_of_ones_own() -> None:
    alone = turns.drawn({"one": (1, [ANY] * 5)}, 3)
    beside = [turn for turn in turns.drawn({"one": (1, [ANY] * 5), "two": (1, [ANY] * 9)}, 3) if turn.plugin == "one"]
    assert [turn.chance for turn in alone] == [turn.chance for turn in beside]


# ---- plugins that are wrong ------------------------------------------------------------------------------------------


class Broken(Said):
    def propose(self, scene: Scene) -> Sequence[Proposal]:
        raise RuntimeError("no answer")


def test_a_plugin_that_fails_stops_the_cycle() -> None:
    with pytest.raises(ProducerFailed, match="plugin 'broken' failed: RuntimeError: no answer"):
        dealt(two(), {"broken": (1, Broken()), "said": (1, Said(ANY))})


class Hanging(Said):
    """Answers when it is told to, which is after nobody waits any more."""

    told = threading.Event()

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        self.told.wait()
        return super().propose(scene)


def test_a_plugin_that_hangs_stops_the_cycle() -> None:
    try:
        with pytest.raises(ProducerFailed, match=r"plugin 'hanging' gave nothing within 0.05 s"):
            dealt(two(), {"hanging": (1, Hanging(ANY))}, plugin_deadline_s=0.05)
    finally:
        Hanging.told.set()


def test_a_plugin_that_is_not_there_or_told_nonsense_is_an_error() -> None:
    with pytest.raises(ConfigInvalid, match=r"no plugin 'populrity'.*popularity"):
        configured({"populrity": {}}, "here")
    with pytest.raises(ConfigInvalid, match=r"here: dealer.plugins.popularity"):
        configured({"popularity": {"treshold": 2}}, "here")
    with pytest.raises(ConfigInvalid, match="priority"):
        configured({"popularity": {"priority": -1}}, "here")


# ---- plans that are old ----------------------------------------------------------------------------------------------


def test_a_plan_holds_only_while_it_is_young_and_everything_is_as_it_says() -> None:
    held = two()
    plan = planned(held, ANY)
    assert application.checked(plan, held, frozenset(), NOW + 3_600, {}).failed().is_empty()
    for when, said in ((NOW + 3_601, "3601 s old; at most 3600 s"), (NOW - 61, "from 61 s in the future")):
        with pytest.raises(PlanOutdated, match=said):
            application.checked(plan, held, frozenset(), when, {})


@pytest.mark.parametrize(
    ("now", "left_out", "reason"),
    [
        (world(["A"], ["/a"], [HERE]), set(), "site, block or group is not defined any more"),
        (world(["A", "B"], ["/b"], []), set(), "site, block or group is not defined any more"),
        (
            world(["A", "B"], ["/a"], [HERE], blocks={"/a": {"size": 7}}),
            set(),
            "the block has other files or bytes now",
        ),
        (two(status="waitroom"), set(), "the site takes no copies now"),
        (two(quota=None), set(), "the site takes no copies now"),
        (two(), {"B"}, "the site takes no copies now"),
        (two(), {"A"}, "no READY site with fresh news has all of it to copy from"),
        (world(["A", "B"], ["/a"], []), set(), "no READY site with fresh news has all of it to copy from"),
        (world(["A", "B"], ["/a"], [HERE, HERE | {"site": "B"}]), set(), "it is there now, or on its way"),
        (two(quota=1_000), set(), "the site has no room for what the plan brings there"),
        (
            world(["A", "B"], [{"name": "/a", "status": "invalid"}], [HERE]),
            set(),
            "the dataset has a status now of which nothing is copied",
        ),
        (world(["A", "B"], [], []), set(), "site, block or group is not defined any more"),
    ],
)
def test_what_does_not_hold_any_more_is_named(now: Inventory, left_out: set[str], reason: str) -> None:
    checked = application.checked(planned(two(), ANY), now, frozenset(left_out), NOW, {})
    assert checked.failed()["reason"].to_list() == [reason]
    assert checked.held().is_empty()


def test_a_handover_of_what_is_gone_does_not_hold() -> None:
    held = owned(HERE, {"block": "/a", "site": "B", "group": "ops"})
    plan = planned(held, Proposal(0, None, (1,), "physics"))
    assert application.checked(plan, owned(HERE), frozenset(), NOW, {}).failed()["reason"].to_list() == [
        "it is not there any more"
    ]


# ---- explanations ----------------------------------------------------------------------------------------------------


def test_an_explanation_tells_who_proposes_and_what_each_site_is_to_it() -> None:
    held = world(["A", "B", {"name": "C", "status": "morgue"}], ["/a"], [HERE])
    told = explain(scene(held), {"said": (2, Said(ANY, ANY))}, "/a")
    assert [(each.plugin, each.copies) for each in told.proposals] == [("said", 2)]
    assert [(each.site, each.reason, each.lacking) for each in told.sites] == [
        ("A", "all of it is there or on its way", 0),
        ("B", "open", BYTES),
        ("C", "the site is not ready", BYTES),
    ]
    for unknown in ("/b", "/a#7"):
        with pytest.raises(DefinitionUnknown):
            explain(scene(held), {}, unknown)


def test_a_plan_counts_what_its_plugins_and_sites_get() -> None:
    held = world(["A", "B"], ["/a", "/b"], [HERE, {"block": "/b", "site": "A"}])
    made = planning.make(scene(held), {"said": (1, Said(Proposal(0), Proposal(1), Proposal(1)))}, 1)
    (plugin,) = made.header.plugins
    assert (plugin.proposals, plugin.copies, plugin.copied) == (3, 2, 2 * BYTES)
    assert plugin.rejected == {"all of it is there or on its way": 1}
    assert [(site.site, site.copies, site.after) for site in made.header.sites] == [("A", 0, 2_000), ("B", 2, 2_000)]


# ---- the page for people ---------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "dealer.md").read_text(encoding="utf-8")


def test_the_page_names_every_reason_and_no_other() -> None:
    named = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    ours = [each.words for each in Reason if each is not Reason.OPEN]
    ours += [deciding.DEAD_SAID, deciding.EMPTY_SAID, deciding.SOURCE_SAID, deciding.SPENT_SAID, deciding.GROUP_SAID]
    assert sorted(named) == sorted(ours)


def test_the_pages_example_of_settings_is_taken_and_every_plugin_is_named() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = config.parse(PlacementSettings, tomllib.loads(example), "the page")
    assert set(configured(settings.dealer.plugins, "the page")) == {"enforcer", "popularity"}
    plugins = {point.name for point in entry_points(group=ENTRY_POINTS)}
    assert set(re.findall(r"^\*\*`(\w+)`\*\*", PAGE, re.MULTILINE)) == plugins
