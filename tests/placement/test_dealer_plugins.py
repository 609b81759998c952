"""Each of the dealer's plugins proposes what its reason is, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dealing import NOW, Shelf, dealt, outcomes, scene, world
from test_detox import FRAME
from worlds import BYTES

from placement.dealer.balancer import Balancer, BalancerSettings
from placement.dealer.enforcer import Enforcer, EnforcerSettings
from placement.dealer.group_reassign import GroupReassign, GroupReassignSettings
from placement.dealer.popularity import Popularity, PopularitySettings
from placement.dealer.proposal import Proposal
from placement.dealer.undertaker import Undertaker, UndertakerSettings
from placement.detox import planning
from placement.detox.plan import Plan as DetoxPlan
from placement.detox.planning import Run
from placement.detox.settings import DetoxSettings
from placement.inventory import Inventory
from placement.policy.parser import parse
from reploc.errors import ConfigInvalid, PolicyInvalid


def at(site: str, *items: str, **special: Any) -> list[dict[str, Any]]:
    return [{"block": item, "site": site} | special for item in items]


def sites_of(held: Inventory, proposal: Proposal) -> list[str]:
    return [held.sites["name"][site] for site in proposal.sites or ()]


# ---- popularity ------------------------------------------------------------------------------------------------------


def popular(held: Inventory, weights: list[float], **settings: Any) -> list[tuple[str, str]]:
    """(dataset, why) of what is proposed."""
    shown = scene(held, attributes={"dataset.demand_rank": np.array(weights)})
    proposals = Popularity(PopularitySettings(**settings)).propose(shown)
    return [(held.datasets["name"][each.dataset], each.why) for each in proposals]


def test_popularity_wants_a_copy_for_every_threshold_of_weight_less_those_that_are() -> None:
    held = world([*"ABC"], ["/a", "/b", "/c", "/d"], at("A", "/a", "/b", "/c", "/d") + at("B", "/b"))
    found = popular(held, [3.6, 3.6, 1.75, 0.0])
    # Of /a three are wanted and one is there: second copies come after all first ones.
    assert [name for name, _ in found] == ["/a", "/b", "/a"]
    assert found[0] == ("/a", "weight 3.60")
    assert [name for name, _ in popular(held, [1e9, 0, 0, 0], max_replication=3)] == ["/a", "/a"]


def test_popularity_takes_the_heaviest_first_and_equals_by_name() -> None:
    held = world(["A", "B"], ["/b", "/c", "/a"], at("A", "/a", "/b", "/c"))
    assert [name for name, _ in popular(held, [3.0, 3.5, 3.0])] == ["/c", "/a", "/b"]


def test_popularity_counts_copies_on_their_way_and_at_sites_left_out_but_not_on_tape_or_at_sites_not_ready() -> None:
    sites = ["A", "B", {"name": "Tape", "storage_type": "mss"}, {"name": "Off", "status": "waitroom"}]
    coming = at("B", "/a", files=0, bytes=0, copying=True)
    held = world(sites, ["/a", "/b"], at("A", "/a", "/b") + coming + at("Tape", "/b") + at("Off", "/b"))
    found = popular(held, [2.0, 2.0])
    assert [name for name, _ in found] == ["/b"]
    shown = scene(held, attributes={"dataset.demand_rank": np.array([2.0, 2.0])}, left_out=frozenset({"A"}))
    (proposal,) = Popularity(PopularitySettings()).propose(shown)
    assert sites_of(held, proposal) == ["A", "B"]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"max_dataset_size": BYTES - 1}, []),
        ({"source_groups": ("phys*",)}, ["/a"]),
        ({"source_groups": ("nobody",)}, []),
        ({"condition": "dataset.name == /b"}, ["/b"]),
        ({"condition": "dataset.name == /a or dataset.size < 10"}, ["/a"]),
    ],
)
def test_popularity_leaves_out_what_its_settings_do(settings: dict[str, Any], names: list[str]) -> None:
    held = world(["A"], ["/a", "/b"], at("A", "/a", group="physics") + at("A", "/b"), groups=["physics"])
    assert [name for name, _ in popular(held, [2.0, 2.0], **settings)] == names


def test_popularity_refuses_a_condition_that_is_none_or_asks_what_it_decides() -> None:
    with pytest.raises(PolicyInvalid, match="unknown"):
        Popularity(PopularitySettings(condition="dataset.nme == /a"))
    with pytest.raises(PolicyInvalid):
        Popularity(PopularitySettings(condition="site.name == A"))
    with pytest.raises(ConfigInvalid, match="num_full_disk_copy is of what copies there are"):
        Popularity(PopularitySettings(condition="dataset.num_full_disk_copy < 2"))


def test_popularity_says_which_producers_it_needs() -> None:
    plain, asking = PopularitySettings(), PopularitySettings(condition="dataset.on_protected_site")
    assert Popularity(plain).variables() == {"dataset.demand_rank"}
    assert Popularity(asking).variables() == {"dataset.demand_rank", "dataset.on_protected_site"}


# ---- enforcer --------------------------------------------------------------------------------------------------------


def enforced(held: Inventory, path: Path, rule: str, **more: Any) -> list[tuple[int, list[str], str]]:
    """(dataset, sites, group) of what is proposed."""
    (path / "rules.toml").write_text(f'partition = "P"\n[rules.two]\n{rule}')
    proposals = Enforcer(EnforcerSettings(rules=str(path / "rules.toml"))).propose(scene(held, **more))
    return [(each.dataset, sites_of(held, each), each.group) for each in proposals]


RULE = 'num_copies = 2\ndestinations = ["site.name == E*"]\nreplicas = ["dataset.data_type == raw"]\n'


def test_the_enforcer_proposes_what_a_rule_lacks_at_its_destinations(tmp_path: Path) -> None:
    datasets = [{"name": f"/{n}", "data_type": "raw"} for n in "abc"] + [{"name": "/d", "data_type": "mc"}]
    coming = at("E1", "/c", files=0, bytes=0, copying=True)
    held = world(["E1", "E2", "X"], datasets, at("X", "/a", "/b", "/d") + at("E1", "/b") + coming)
    both = ["E1", "E2"]
    # /c is nowhere yet: nothing of it matches.
    assert enforced(held, tmp_path, RULE) == [(0, both, ""), (0, both, ""), (1, both, "")]
    assert enforced(held, tmp_path, RULE + 'sources = ["site.name == E1"]') == [(1, both, "")]
    # No more copies than there are destinations.
    assert len(enforced(held, tmp_path, RULE.replace("2", "5", 1))) == 3


def test_the_enforcer_is_about_what_is_in_the_partition_of_its_rules(tmp_path: Path) -> None:
    datasets = [{"name": f"/{n}", "data_type": "raw"} for n in "abc"]
    replicas = at("X", "/a", group="physics") + at("X", "/b", group="ops") + at("X", "/c", deleting=True)
    held = world(["E1", "E2", "X"], datasets, replicas, "blockreplica.owner != ops", groups=["physics", "ops"])
    # Nobody's copy of /b is looked at, and what goes at X is none to go by.
    assert [dataset for dataset, _, _ in enforced(held, tmp_path, RULE)] == [0, 0]


def test_the_enforcer_hands_over_before_it_copies(tmp_path: Path) -> None:
    held = world(
        ["E1", "E2", "E3"],
        [{"name": "/a", "data_type": "raw"}],
        at("E2", "/a", group="ops") + at("E3", "/a", group="physics"),
        groups=["physics", "ops"],
    )
    rule = RULE.replace("2", "3", 1) + 'destination_group = "physics"'
    everywhere = ["E1", "E2", "E3"]
    assert enforced(held, tmp_path, rule) == [(0, ["E2"], "physics"), (0, everywhere, "physics")]
    plan = dealt(held, {"enforcer": (1, Enforcer(EnforcerSettings(rules=str(tmp_path / "rules.toml"))))})
    assert [(row["decision"], row["site"]) for row in plan.decisions.iter_rows(named=True)] == [
        ("hand over", "E2"),
        ("copy", "E1"),
    ]
    with pytest.raises(ConfigInvalid, match=r"rules.two: group 'nobody' is not defined"):
        enforced(held, tmp_path, RULE + 'destination_group = "nobody"')


# ---- undertaker ------------------------------------------------------------------------------------------------------


def buried(held: Inventory, *additional: str, **more: Any) -> list[tuple[str, tuple[str, ...] | None, list[str]]]:
    """(dataset, blocks, sites) of what is proposed."""
    proposals = Undertaker(UndertakerSettings(additional_sites=additional)).propose(scene(held, **more))
    assert all(each.rescue for each in proposals)
    return [
        (
            held.datasets["name"][each.dataset],
            None if each.blocks is None else tuple(held.block_names(np.array(each.blocks))),
            sites_of(held, each),
        )
        for each in proposals
    ]


SITES = [*"AB", {"name": "Off", "status": "morgue"}, {"name": "Tape", "storage_type": "mss"}]


def test_the_undertaker_proposes_elsewhere_what_only_sites_in_trouble_have() -> None:
    datasets = [{"name": "/a", "blocks": ["1", "2"]}, {"name": "/b", "blocks": ["1", "2"]}, "/c"]
    replicas = at("Off", "/a#1", "/a#2", "/b#1", "/b#2", "/c") + at("A", "/b#1") + at("Tape", "/c")
    held = world(SITES, datasets, replicas)
    assert buried(held) == [("/a", None, ["A", "B"]), ("/b", ("/b#2",), ["A", "B"])]
    # A ready site that is to be cleared is no destination, and what it has is in trouble too.
    assert buried(held, "A") == [("/a", None, ["B"]), ("/b", None, ["B"])]
    plan = dealt(held, {"undertaker": (1, Undertaker(UndertakerSettings()))})
    assert {site for _, site in outcomes(plan)} <= {"A", "B"}


@pytest.mark.parametrize(
    ("elsewhere", "more"),
    [
        (at("A", "/a", files=0, bytes=0, copying=True), {}),
        (at("A", "/a"), {"left_out": frozenset({"A"})}),
    ],
)
def test_the_undertaker_leaves_what_is_on_its_way_or_was_last_heard_of_elsewhere(
    elsewhere: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    assert buried(world(SITES, ["/a"], at("Off", "/a") + elsewhere), **more) == []


@pytest.mark.parametrize("special", [{"files": 3, "bytes": 300}, {"deleting": True}])
def test_the_undertaker_counts_on_nothing_that_is_broken_or_going(special: dict[str, Any]) -> None:
    assert len(buried(world(SITES, ["/a"], at("Off", "/a") + at("A", "/a", **special)))) == 1
    assert buried(world(SITES, ["/a"], at("Off", "/a", **special))) == []


# ---- balancer --------------------------------------------------------------------------------------------------------

LAST = FRAME + "Protect replica.is_last_copy\nDismiss"


def after_detox(held: Inventory) -> DetoxPlan:
    """What a cycle of detox decides that keeps last copies."""
    settings = DetoxSettings(max_fraction_of_site=1.0)
    return planning.make(held, Run(parse(LAST).checked(), LAST, "policy", settings, NOW, {}))


def balanced(held: Inventory, told: DetoxPlan | None, **settings: Any) -> list[tuple[str, list[str]]]:
    """(dataset, sites) of what is proposed."""
    balancer = Balancer(BalancerSettings(**{"last_copies": {"replica.is_last_copy": 1}} | settings))
    proposals = balancer.propose(scene(held, archive=Shelf(told)))
    return [(held.datasets["name"][each.dataset], sites_of(held, each)) for each in proposals]


def lopsided() -> Inventory:
    """A protects 8 of 10 thousand bytes, B 2, in last copies of one to three thousand; both have /both."""
    names = {"/a": 3_000, "/b": 1_000, "/c": 2_000, "/d": 2_000, "/e": 2_000, "/both": 500}
    sites = [{"name": name, "quota": 10_000} for name in "AB"]
    replicas = at("A", "/a", "/b", "/c", "/d", "/both") + at("B", "/e", "/both")
    return world(sites, list(names), replicas, blocks={name: {"size": size} for name, size in names.items()})


def test_the_balancer_moves_the_smallest_last_copies_from_where_most_is_protected() -> None:
    held = lopsided()
    told = after_detox(held)
    # 80 % and 25 %, for one of the two copies of /both is the last then; once A is at nothing, B is the next.
    assert [name for name, _ in balanced(held, told, tolerance=0.04)] == ["/b", "/c", "/d", "/a", "/e"]
    assert [name for name, _ in balanced(held, told, tolerance=0.35)] == ["/b", "/c"]
    assert [name for name, _ in balanced(held, told, max_cycle_volume=3_500)] == ["/b", "/c"]
    assert [name for name, _ in balanced(held, told, max_dataset_size=2_500)] == ["/b", "/c", "/d"]
    assert all(sites == ["A", "B"] for _, sites in balanced(held, told))


def test_the_balancer_goes_by_lines_of_the_policy_and_by_what_is_there_now() -> None:
    held = lopsided()
    told = after_detox(held)
    assert balanced(held, told, last_copies={"replica.full": 1}) == []
    assert balanced(held, None) == []
    replicas = at("A", "/a", "/c", "/d", "/both") + at("B", "/e", "/both", "/a")
    sizes = {name: {"size": size} for name, size in zip(held.blocks["dataset"], held.blocks["size"], strict=True)}
    now = world(
        [{"name": name, "quota": 10_000} for name in "AB"],
        held.datasets["name"].to_list(),
        replicas,
        blocks={held.datasets["name"][key]: size for key, size in sizes.items()},
    )
    # /b is not there any more, and of /a there are two copies.
    assert [name for name, _ in balanced(now, told, tolerance=0.1)] == ["/c", "/d"]
    assert "/a" in [name for name, _ in balanced(now, told, last_copies={"replica.is_last_copy": 2})]


def test_the_balancer_refuses_conditions_that_are_none() -> None:
    with pytest.raises(PolicyInvalid):
        Balancer(BalancerSettings(last_copies={"replica.last": 1}))
    with pytest.raises(ValueError, match="expected 1 or more"):
        BalancerSettings(last_copies={"replica.is_last_copy": 0})
    with pytest.raises(ValueError, match="last_copies is empty"):
        BalancerSettings()
    with pytest.raises(ConfigInvalid, match="a condition stands twice"):
        Balancer(BalancerSettings(last_copies={"replica.full": 1, " replica.full": 2}))


# ---- group reassign --------------------------------------------------------------------------------------------------


def test_group_reassign_hands_over_where_it_is_and_moves_nothing() -> None:
    datasets = [{"name": "/a", "blocks": ["1", "2"]}, "/b"]
    replicas = at("A", "/a#1", "/a#2", group="old") + at("B", "/a#1", group="old") + at("B", "/a#2", group="new")
    replicas += at("A", "/b", group="new") + at("B", "/b", group="old", files=3, bytes=300)
    held = world(["A", "B"], datasets, replicas, groups=["old", "new"])
    plugin = GroupReassign(GroupReassignSettings(from_groups=("old",), to_group="new"))
    plan = dealt(held, {"group_reassign": (1, plugin)})
    rows = plan.blocks.select("site", "block", "decision", "group").rows()
    assert rows == [
        ("A", "/a#1", "hand over", "new"),
        ("A", "/a#2", "hand over", "new"),
        ("B", "/a#1", "hand over", "new"),
    ]
    few = GroupReassign(GroupReassignSettings(from_groups=("old",), to_group="new", max_replicas=1))
    assert [each.sites for each in few.propose(scene(held))] == [(0,)]


def test_group_reassign_needs_groups_that_are_defined() -> None:
    held = world(["A"], ["/a"], at("A", "/a"), groups=["old"])
    plugin = GroupReassign(GroupReassignSettings(from_groups=("old",), to_group="new"))
    with pytest.raises(ConfigInvalid, match="group 'new' is not defined"):
        plugin.propose(scene(held))
    with pytest.raises(ConfigInvalid, match="group '' is not defined"):
        GroupReassign(GroupReassignSettings(from_groups=("old",))).propose(scene(held))
    with pytest.raises(ValueError, match="is one of from_groups"):
        GroupReassignSettings(from_groups=("old",), to_group="old")
