"""Plans of detox: what goes and what stays, every way in which old news could kill a last copy, and the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from worlds import BYTES, FILES, inventory

from placement import cycle, schemas
from placement.detox import application, planning
from placement.detox import plan as plans
from placement.detox.explanation import explain
from placement.detox.plan import Plan
from placement.detox.planning import Run
from placement.detox.settings import DetoxSettings
from placement.detox.vetoes import REASONS, Veto
from placement.inventory import Inventory
from placement.policy.parser import parse
from reploc.errors import (
    DefinitionUnknown,
    InputInvalid,
    NewsMissing,
    PlanExcessive,
    PlanOutdated,
)

NOW = 1_520_000_000.0
NEWS_AGE_S = 7_200.0
FRAME = "Partition P\nOn always\nWhen always\nUntil never\n"
PARTITION = pl.DataFrame(
    {"name": ["P"], "condition": ["always"], "parts": [None]}, schema_overrides={"parts": pl.List(schemas.PARTITION)}
)


def held(sites: list[Any], datasets: list[Any], replicas: list[dict[str, Any]], *, quota: int = 10_000, **more: Any):
    rows = [{"news_at": NOW} | ({"name": site} if isinstance(site, str) else site) for site in sites]
    quotas = pl.DataFrame({"site": range(len(rows)), "partition": [0] * len(rows), "quota": [quota] * len(rows)})
    return inventory(rows, datasets, replicas, partitions=PARTITION, quotas=quotas, **more)


def run(text: str, attributes: dict[str, Any] | None = None, **more: Any) -> Run:
    settings = {"max_fraction_of_site": 1.0} | {k: v for k, v in more.items() if k in DetoxSettings.__struct_fields__}
    flags = {key: value for key, value in more.items() if key in ("left_out", "yes_really")}
    policy = parse(FRAME + text).checked()
    return Run(policy, text, "policy", DetoxSettings(**settings), NOW, attributes or {}, **flags)


def planned(world: Inventory, text: str, **more: Any) -> Plan:
    """A plan of a cycle that leaves out what it has no fresh news of."""
    absent = cycle.left_out(world, NOW, NEWS_AGE_S, partial=True)
    return planning.make(world, run(text, left_out=absent, **more))


def gone(plan: Plan) -> set[tuple[str, str]]:
    return {(row["block"], row["site"]) for row in plan.deletions().iter_rows(named=True)}


def vetoes(plan: Plan) -> set[tuple[str, str]]:
    rows = plan.decisions.filter(pl.col("decision") == "veto").iter_rows(named=True)
    return {(row["site"], row["reason"]) for row in rows}


def two(*special: dict[str, Any], site: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The dataset /a at the sites A and B, each with what is special about it."""
    del site
    return [{"block": "/a", "site": name} | each for name, each in zip("AB", special, strict=True)]


# ---- last copies ----------------------------------------------------------------------------------------------------


def test_the_last_copy_stays_and_the_other_has_it_for_its_witness() -> None:
    plan = planned(held(["A", "B"], ["/a"], two({}, {})), "Delete")
    assert gone(plan) == {("/a", "A")}
    assert plan.blocks["witness"].to_list() == ["B"]
    assert vetoes(plan) == {("B", REASONS[Veto.LAST_COPY])}


LAST = [
    ("a copy at a site that is not READY is no survivor", {"site": {"status": "waitroom"}}),
    ("nor one at a site in the MORGUE", {"site": {"status": "morgue"}}),
    ("nor one that is not whole", {"replica": {"files": FILES - 1, "bytes": BYTES - 1}}),
    ("nor one that an order deletes, or deleted unseen", {"replica": {"deleting": True}}),
    ("nor one that is only ordered", {"replica": {"files": 0, "bytes": 0, "copying": True}}),
    ("nor one at a site whose news is old", {"site": {"news_at": NOW - 10_000}}),
    ("nor one at a site that was never heard", {"site": {"news_at": None}}),
    ("nor one at a site whose news is incomplete", {"site": {"news_complete": False}}),
]


@pytest.mark.parametrize(("why", "special"), LAST)
@pytest.mark.parametrize("text", ["Delete", "Dismiss", "DeleteBlock blockreplica.complete\nProtect"])
def test_what_is_no_survivor_saves_no_deletion(why: str, special: dict[str, Any], text: str) -> None:
    other = {"name": "B"} | special.get("site", {})
    world = held(["A", other], ["/a"], two({}, special.get("replica", {})))
    plan = planned(world, text)
    assert ("/a", "A") not in gone(plan), why
    assert vetoes(plan) >= {("A", REASONS[Veto.LAST_COPY])}


def test_a_whole_copy_at_a_site_that_is_not_ready_is_no_rubbish_when_it_is_all_there_is() -> None:
    plan = planned(held([{"name": "A", "status": "morgue"}, "B"], ["/a"], [{"block": "/a", "site": "A"}]), "Delete")
    assert gone(plan) == set()
    assert vetoes(plan) == {("A", REASONS[Veto.LAST_COPY])}


def test_a_block_whose_definition_is_ahead_of_the_news_does_not_vanish_everywhere() -> None:
    """The block grew by a file that no site has yet: nobody is whole, and everybody has nearly all there is."""
    fewer = {"files": FILES - 1, "bytes": BYTES - 100}
    plan = planned(held(["A", "B"], ["/a"], two(fewer, fewer)), "Delete")
    assert gone(plan) == {("/a", "A")}
    assert vetoes(plan) == {("B", REASONS[Veto.MOST_COMPLETE])}


def test_leavings_of_a_copy_that_failed_may_go_when_another_has_as_much() -> None:
    plan = planned(held(["A", "B"], ["/a"], two({"files": 1, "bytes": 100}, {"files": 2, "bytes": 200})), "Delete")
    assert gone(plan) == {("/a", "A")}


def test_two_sites_never_both_drop_the_last_copy_in_one_cycle() -> None:
    replicas = [{"block": "/a", "site": site} for site in "ABCD"]
    for text in ("Delete", "Dismiss", "Dismiss\nAlgo Static", "DismissBlock blockreplica.complete\nProtect"):
        assert len(gone(planned(held([*"ABCD"], ["/a"], replicas), text))) == 3


def test_a_second_plan_before_the_news_has_come_deletes_nothing_more() -> None:
    """What the first ordered counts as gone: neither does occupancy ask for more, nor do its copies survive."""
    replicas = [{"block": f"/{n}", "site": site} for n in range(9) for site in "AB"]
    datasets = [f"/{n}" for n in range(9)]
    text = "Dismiss\n"
    policy = "Partition P\nOn site.name == A\nWhen site.occupancy > 90 %\nUntil site.occupancy < 85 %\n"
    first = held(["A", "B"], datasets, replicas, quota=9_900)
    made = planning.make(first, _with(run(text), policy + text))
    assert made.deletions().height == 1
    ordered = [each | {"deleting": (each["block"], each["site"]) in gone(made)} for each in replicas]
    again = planning.make(held(["A", "B"], datasets, ordered, quota=9_900), _with(run(text), policy + text))
    assert again.deletions().height == 0
    assert again.header.sites[0].before == 8 * BYTES


def _with(told: Run, text: str) -> Run:
    return Run(parse(text).checked(), text, "policy", told.settings, NOW, {})


def test_the_status_of_a_dataset_may_allow_its_last_copy_to_go_and_the_plan_lists_it() -> None:
    world = held(["A"], [{"name": "/a", "status": "invalid"}], [{"block": "/a", "site": "A"}])
    plan = planned(world, "Delete")
    assert plan.blocks.select("witness", "last_copy").rows() == [("", True)]
    assert "1 last copies of blocks go, by the status of their datasets" in plan.header.notes
    assert gone(planned(world, "Delete", allow_last_copy=())) == set()


@pytest.mark.parametrize(("special", "veto"), [({"locked": True}, Veto.LOCKED), ({"source": True}, Veto.SOURCE)])
def test_what_is_locked_or_read_from_stays(special: dict[str, Any], veto: Veto) -> None:
    plan = planned(held(["A", "B"], ["/a"], two(special, {})), "Delete")
    assert gone(plan) == {("/a", "B")}
    assert vetoes(plan) == {("A", REASONS[veto])}


# ---- news -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ({"news_at": None}, r"B \(nothing was heard\)"),
        ({"news_at": NOW - 9_999}, r"B \(its news is 3 h old\)"),
        ({"news_complete": False}, r"B \(its news is incomplete\)"),
    ],
)
def test_a_ready_site_without_fresh_news_stops_the_cycle_and_is_named(site: dict[str, Any], said: str) -> None:
    world = held(["A", {"name": "B"} | site, "C"], ["/a"], [{"block": "/a", "site": each} for each in "ABC"])
    with pytest.raises(NewsMissing, match=said):
        cycle.left_out(world, NOW, NEWS_AGE_S, partial=False)
    plan = planned(world, "Delete")
    assert gone(plan) == {("/a", "A")}
    assert plan.header.left_out == ("B",)


def test_a_site_that_is_not_ready_may_be_silent() -> None:
    world = held(["A", {"name": "B", "status": "morgue", "news_at": None}], ["/a"], two({}, {}))
    assert gone(planned(world, "Delete")) == {("/a", "B")}


def test_a_site_without_quota_is_told_once_and_never_triggered_by_occupancy() -> None:
    world = held(["A", "B"], ["/a"], two({}, {}), quota=0)
    text = "Partition P\nOn always\nWhen site.occupancy >= 0\nUntil site.occupancy < 0\nDismiss"
    plan = planning.make(world, _with(run("Dismiss"), text))
    assert gone(plan) == set()
    assert [note for note in plan.header.notes if "quota" in note] == [
        "no quota, so that no predicate on occupancy holds: A, B"
    ]


def test_a_partition_that_is_not_defined_is_an_error() -> None:
    world = held(["A"], ["/a"], [{"block": "/a", "site": "A"}])
    with pytest.raises(DefinitionUnknown, match="'Q' is not defined; known: P"):
        planning.make(world, _with(run("Delete"), FRAME + "Partition Q\nDelete"))


# ---- watermarks, order, bounds --------------------------------------------------------------------------------------


def many(count: int = 20, **more: Any) -> Inventory:
    datasets = [{"name": f"/{number:02d}", "last_update": number} for number in range(count)]
    replicas = [{"block": f"/{number:02d}", "site": site} for number in range(count) for site in "AB"]
    return held(["A", "B"], datasets, replicas, **more)


WATERMARKS = "Partition P\nOn site.name == A\nWhen site.occupancy > 90 %\nUntil site.occupancy <= 80 %\nDismiss\n"


@pytest.mark.parametrize("algorithm", ["Iterative", "Static"])
def test_the_last_replica_that_brings_a_site_to_its_watermark_is_the_last_that_goes(algorithm: str) -> None:
    text = f"{WATERMARKS}Order decreasing dataset.last_update\nAlgo {algorithm}"
    plan = planning.make(many(quota=20 * BYTES), _with(run("Dismiss"), text))
    assert sorted(gone(plan)) == [(f"/{number}", "A") for number in (16, 17, 18, 19)]
    assert (plan.header.sites[0].before, plan.header.sites[0].after) == (20 * BYTES, 16 * BYTES)
    assert plan.header.watermarks == (0.9, 0.8)


def test_ties_in_the_order_go_by_name() -> None:
    plan = planning.make(many(quota=20 * BYTES), _with(run("Dismiss"), WATERMARKS))
    assert sorted(gone(plan)) == [(f"/0{number}", "A") for number in range(4)]


@pytest.mark.parametrize(
    ("bound", "left", "why"),
    [
        ({"max_volume": 3 * BYTES + 1}, 3, Veto.VOLUME_CAP),
        ({"max_files": 2 * FILES}, 2, Veto.FILES_CAP),
        ({"max_fraction_of_site": 0.25}, 5, Veto.SITE_CAP),
    ],
)
def test_a_cycle_ends_at_its_bounds_and_says_so(bound: dict[str, Any], left: int, why: Veto) -> None:
    plan = planned(many(), "Delete site.name == A\nProtect", **bound)
    assert len(gone(plan)) == left
    assert vetoes(plan) == {("A", REASONS[why])}


def test_a_policy_that_would_empty_a_site_asks_whether_it_is_meant() -> None:
    text = "Delete site.name == A\nProtect"
    plan = planned(many(), text, max_fraction_of_site=0.25)
    assert plan.header.over == ("A",)
    with pytest.raises(PlanExcessive, match="more than 25% from A"):
        application.require_meant(plan, yes_really=False)
    application.require_meant(plan, yes_really=True)
    meant = planned(many(), text, max_fraction_of_site=0.25, yes_really=True)
    assert len(gone(meant)) == 20
    application.require_meant(meant, yes_really=False)


def test_a_copy_that_goes_in_one_iteration_is_missed_in_the_next() -> None:
    """Dynamo paper, section 4.1: decisions follow the number of copies, which falls while sites are cleaned."""
    replicas = [{"block": "/a", "site": site} for site in "ABC"]
    plan = planned(held([*"ABC"], ["/a"], replicas), "Protect dataset.num_full_disk_copy <= 2\nDismiss")
    assert gone(plan) == {("/a", "A")}
    saw = plan.decisions.select("site", "decision", "saw").rows()
    assert saw == [
        ("A", "delete", ""),
        ("B", "protect", "dataset.num_full_disk_copy=2"),
        ("C", "protect", "dataset.num_full_disk_copy=2"),
    ]


def test_a_plan_has_what_lines_saw_of_single_blocks() -> None:
    """Of each part the least and the greatest value, or how many blocks hold; of what goes, as it was then."""
    sizes = {"/a#1": 100, "/a#2": 300, "/a#3": 200}
    blocks = {name: {"size": size} for name, size in sizes.items()}
    replicas = [
        {"block": name, "site": site, "custodial": name == "/a#1" and site == "A"} for name in sizes for site in "AB"
    ]
    world = held(["A", "B"], [{"name": "/a", "blocks": ["1", "2", "3"]}], replicas, blocks=blocks)
    text = (
        "ProtectBlock blockreplica.size == 300 and blockreplica.owner == None\n"
        "Delete site.name == A and blockreplica.is_custodial and blockreplica.num_full_disk_copy == 2"
        " and blockreplica.size > 10\n"
        "Protect blockreplica.num_full_disk_copy >= 1 and blockreplica.name == /a#*"
    )
    plan = planned(world, f"{text}\nDismiss")
    assert gone(plan) == {("/a#1", "A"), ("/a#3", "A")}
    assert plan.decisions.select("site", "decision", "blocks", "saw").rows() == [
        ("A", "protect", 1, "blockreplica.owner=None blockreplica.size=300"),
        (
            "A",
            "delete",
            2,
            "blockreplica.is_custodial=1/2 true blockreplica.num_full_disk_copy=2 blockreplica.size=100..200",
        ),
        ("B", "protect", 1, "blockreplica.owner=None blockreplica.size=300"),
        ("B", "protect", 2, "blockreplica.num_full_disk_copy=1"),
    ]


def test_blocks_of_groups_that_own_by_block_are_handed_over_when_only_some_go() -> None:
    groups = [{"name": "D", "level": "dataset"}, {"name": "B", "level": "block"}]
    replicas = [
        {"block": f"/a#{number}", "site": site, "group": group}
        for number, group in ((1, "B"), (2, "D"), (3, "B"))
        for site in "XY"
    ]
    world = held(["X", "Y"], [{"name": "/a", "blocks": ["1", "2", "3"]}], replicas, groups=groups)
    text = "ProtectBlock blockreplica.name == *#3\nDelete site.name == X\nProtect"
    plan = planned(world, text)
    assert gone(plan) == {("/a#2", "X")}
    assert plan.handovers().select("site", "block", "owner", "heir").rows() == [("X", "/a#1", "B", "D")]
    assert next(iter(application.handovers(plan.blocks))).group == "D"


def test_counts_may_look_at_target_sites_alone_as_the_ancestor_did() -> None:
    text = "Partition P\nOn site.name == A\nWhen always\nUntil never\nProtect dataset.num_full_disk_copy < 2\nDismiss"
    world = held(["A", "B"], ["/a"], two({}, {}))
    assert gone(planning.make(world, _with(run("Dismiss"), text))) == {("/a", "A")}
    assert gone(planning.make(world, _with(run("Dismiss", count_scope="targets"), text))) == set()


# ---- files ----------------------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    first = planned(many(), "Dismiss").encoded()
    assert planned(many(), "Dismiss").encoded() == first
    (tmp_path / "plan").write_bytes(first)
    again = plans.read(tmp_path / "plan")
    assert again.encoded() == first
    for broken in (first[:100], b"no plan", b""):
        with pytest.raises(InputInvalid, match="is no plan"):
            plans.decoded(broken, "x")
    with pytest.raises(InputInvalid, match="No such file"):
        plans.read(tmp_path / "none")


def test_two_plans_are_compared_by_dataset_replica() -> None:
    world = many(3)
    old, new = planned(world, "Dismiss site.name == A\nProtect"), planned(world, "Ignore site.name == B\nProtect")
    rows = plans.differing(old, new).rows()
    assert rows == [
        *[("A", f"/{number:02d}", "delete", "protect", BYTES) for number in range(3)],
        *[("B", f"/{number:02d}", "protect", "ignore", BYTES) for number in range(3)],
    ]
    assert plans.differing(old, old).is_empty()


# ---- application ----------------------------------------------------------------------------------------------------


def moved(*special: dict[str, Any], **site: Any) -> Inventory:
    return held(["A", {"name": "B"} | site], ["/a", "/b"], [*two(*special), *_of_b()])


def _of_b() -> list[dict[str, Any]]:
    return [{"block": "/b", "site": site} for site in "AB"]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (moved({"deleting": True}, {}), "not there any more"),
        (moved({"files": FILES - 1, "bytes": 1}, {}), "have changed"),
        (moved({"locked": True}, {}), "locked now"),
        (moved({"source": True}, {}), "reads it now"),
        (moved({}, {"deleting": True}), "witness"),
        (moved({}, {"files": FILES - 1}), "witness"),
        (held(["A", "B"], ["/b"], _of_b()), "not defined any more"),
    ],
)
def test_what_does_not_hold_any_more_is_listed_and_the_rest_still_holds(now: Inventory, said: str) -> None:
    plan = planned(moved({}, {}), "Delete site.name == A\nProtect")
    checked = application.checked(plan, now, NOW + 60, NEWS_AGE_S)
    assert checked.failed()["block"].to_list() == ["/a"]
    assert said in checked.failed().item(0, "reason")
    assert checked.held()["block"].to_list() == ["/b"]
    (wish,) = application.wishes(checked.held())
    assert (wish.kind, wish.item, wish.site, wish.blocks[0].witness) == ("delete", "/b", "A", "B")


@pytest.mark.parametrize("site", [{"status": "waitroom"}, {"news_at": NOW - 9_999}, {"news_complete": False}])
def test_a_witness_must_be_at_a_ready_site_with_fresh_news_when_the_plan_is_applied(site: dict[str, Any]) -> None:
    plan = planned(moved({}, {}), "Delete site.name == A\nProtect")
    assert application.checked(plan, moved({}, {}, **site), NOW, NEWS_AGE_S).failed().height == 2


def test_a_last_copy_that_went_by_its_datasets_status_must_still_have_it() -> None:
    replicas = [{"block": "/a", "site": "A"}]
    plan = planned(held(["A"], [{"name": "/a", "status": "invalid"}], replicas), "Delete")
    now = held(["A"], [{"name": "/a", "status": "valid"}], replicas)
    assert "last copy" in application.checked(plan, now, NOW, NEWS_AGE_S).failed().item(0, "reason")


def test_what_had_less_than_another_must_not_have_become_the_most_that_there_is() -> None:
    def some(a: int, b: int, **of_b: Any) -> Inventory:
        rows = two({"files": a, "bytes": a}, {"files": b, "bytes": b} | of_b)
        return held(["A", {"name": "B"}], ["/a"], rows)

    def told(now: Inventory, news_age_s: float = NEWS_AGE_S, at: float = NOW) -> list[str]:
        return application.checked(plan, now, at, news_age_s).failed()["reason"].to_list()

    plan = planned(some(4, 6), "Delete")
    assert gone(plan) == {("/a", "A")}
    assert told(some(4, 6)) == []
    said = ["its block has no survivor, and no other copy has as much of it any more"]
    assert told(some(4, 3)) == said
    assert told(some(4, 6, deleting=True)) == said
    assert told(some(4, 6), news_age_s=1.0, at=NOW + 2) == said
    assert told(held(["A", "B"], ["/a"], [{"block": "/a", "site": "A", "files": 4, "bytes": 4}])) == said


def test_what_goes_with_a_plan_is_no_reason_why_something_smaller_may_go() -> None:
    def three(*files: int) -> Inventory:
        rows = [{"block": "/a", "site": site, "files": n, "bytes": n} for site, n in zip("ABC", files, strict=True)]
        return held(["A", "B", "C"], ["/a"], [row for row in rows if row["files"]])

    plan = planned(three(4, 6, 8), "Delete")
    assert gone(plan) == {("/a", "A"), ("/a", "B")}
    assert application.checked(plan, three(4, 6, 8), NOW, NEWS_AGE_S).failed().is_empty()
    assert application.checked(plan, three(4, 6, 0), NOW, NEWS_AGE_S).failed()["site"].to_list() == ["A", "B"]


def test_a_plan_does_not_hold_in_an_inventory_that_was_emptied() -> None:
    plan = planned(moved({}, {}), "Delete site.name == A\nProtect")
    failed = application.checked(plan, held(["A", "B"], [], []), NOW, NEWS_AGE_S).failed()
    assert set(failed["reason"]) == {"site or block is not defined any more"}


def test_a_plan_that_is_old_or_from_the_future_is_refused() -> None:
    plan = planned(moved({}, {}), "Delete", max_plan_age_s=10.0)
    with pytest.raises(PlanOutdated, match="11 s old; at most 10 s"):
        application.checked(plan, moved({}, {}), NOW + 11, NEWS_AGE_S)
    with pytest.raises(PlanOutdated, match="3600 s in the future"):
        application.checked(plan, moved({}, {}), NOW - 3_600, NEWS_AGE_S)


# ---- explanations ---------------------------------------------------------------------------------------------------


def test_an_explanation_goes_through_the_lines_with_what_each_saw() -> None:
    text = "Protect dataset.num_full_copy > 2\nProtect site.name == B\nDelete dataset.is_open\nDismiss"
    begun, _ = planning.begun(held(["A", "B"], ["/a"], two({}, {})), run(text))
    told = explain(begun, "A", "/a", NOW)
    assert [(line.line, line.outcome) for line in told.lines] == [
        (5, "no match"),
        (6, "no match"),
        (7, "no match"),
        (8, "decides, as the default"),
    ]
    assert (told.lines[0].predicates[0].saw, told.lines[0].predicates[0].holds) == ("2", False)
    assert told.outcome == ["1 of 1 blocks: deleted by line 8 (Dismiss)"]


def test_an_explanation_of_what_is_not_there_says_what_is_not() -> None:
    world = held(["A", "B"], ["/a", "/b"], two({}, {}))
    for site, dataset, said in (("C", "/a", "site 'C'"), ("A", "/c", "dataset '/c'"), ("A", "/b", "nothing of '/b'")):
        begun, _ = planning.begun(world, run("Delete"))
        with pytest.raises(DefinitionUnknown, match=said):
            explain(begun, site, dataset, NOW)


def test_an_inventory_with_nothing_in_it_gives_an_empty_plan() -> None:
    plan = planned(held(["A"], ["/a"], []), "Delete")
    assert plan.blocks.is_empty()
    assert plan.decisions.is_empty()
    assert np.all(np.array([site.before for site in plan.header.sites]) == 0)
