"""What is believed of a registry's word: who joins, who leaves, and what becomes of it while the registry is away."""

from hypothesis import given
from hypothesis import strategies as st

from reploc.roster import Roster

A, B, C = {"a": "http://a:1"}, {"b": "http://b:1"}, {"c": "http://c:1"}
PATIENCE_S, SETTLE_S = 30.0, 2.0


def roster(known: dict[str, str] | None = None) -> Roster:
    """One that has been told of a and b long ago, and is at moment 100."""
    made = Roster(known or A | B, patience_s=PATIENCE_S, settle_s=SETTLE_S, now=0.0)
    made.listed(A | B, 50.0)
    assert not made.settle(100.0)
    return made


def test_a_node_that_comes_belongs_once_it_has_settled() -> None:
    members = roster()
    members.listed(A | B | C, 100.0)
    assert not members.settle(101.9)
    assert members.due_s(101.0) == 1.0
    assert members.settle(102.0)
    assert members.nodes == A | B | C
    assert not members.settle(103.0)


def test_nodes_that_come_at_once_change_the_ring_once() -> None:
    members = roster()
    members.listed(A | B | C, 100.0)
    members.listed(A | B | C | {"d": "http://d:1"}, 101.0)
    assert members.settle(102.0)
    assert len(members.nodes) == 4


def test_two_changes_are_at_least_so_far_apart() -> None:
    members = roster()
    members.listed(A | B | C, 100.0)
    assert members.settle(102.0)
    members.listed(A | B, 102.1)
    assert not members.settle(103.9)
    assert members.settle(104.2)


def test_a_node_whose_lease_ended_has_left() -> None:
    members = roster()
    members.listed(A, 100.0)
    assert members.settle(102.0)
    assert members.nodes == A


def test_a_node_that_comes_back_before_it_has_settled_never_left() -> None:
    members = roster()
    members.listed(A, 100.0)
    members.listed(A | B, 101.0)
    assert not members.settle(200.0)
    assert members.nodes == A | B


def test_a_node_may_move() -> None:
    members = roster()
    members.listed(A | {"b": "http://elsewhere:1"}, 100.0)
    assert members.settle(102.0)
    assert members.nodes["b"] == "http://elsewhere:1"


def test_while_the_registry_is_away_nothing_changes() -> None:
    members = roster()
    members.lost()
    assert not members.settle(10_000.0)
    assert members.nodes == A | B


def test_after_the_registry_was_away_every_node_has_time_to_come_back() -> None:
    members = roster()
    members.lost()
    members.listed(C, 200.0)
    assert members.settle(202.0)
    assert members.nodes == A | B | C, "who comes belongs at once, who is not back yet still does"
    members.listed(A | C, 200.0 + PATIENCE_S)
    assert members.settle(240.0)
    assert members.nodes == A | C


def test_when_more_than_half_are_gone_at_once_they_have_time_to_come_back() -> None:
    members = Roster(A | B | C, patience_s=PATIENCE_S, settle_s=SETTLE_S, now=0.0)
    members.listed(A | B | C, 50.0)
    members.listed(A, 100.0)
    assert not members.settle(110.0)
    members.listed(A | B, 112.0)
    assert not members.settle(114.0), "one that is gone may be, but the patience runs on"
    members.listed(A | B, 100.0 + PATIENCE_S)
    assert members.settle(140.0)
    assert members.nodes == A | B


def test_more_than_half_that_stay_away_have_left() -> None:
    members = Roster(A | B | C, patience_s=PATIENCE_S, settle_s=SETTLE_S, now=0.0)
    for moment in range(50, 140, 5):
        members.listed(A, float(moment))
        members.settle(float(moment))
    assert members.nodes == A


def test_a_list_without_any_node_changes_nothing() -> None:
    members = roster()
    members.listed({}, 100.0)
    assert not members.settle(1_000.0)
    assert members.nodes == A | B


def test_the_first_list_is_believed_at_once() -> None:
    members = Roster(A, patience_s=PATIENCE_S, settle_s=SETTLE_S, now=0.0)
    members.first(B | C, 0.0)
    assert members.nodes == A | B | C


lists = st.sets(st.sampled_from("abcd")).map(lambda names: {name: f"http://{name}:1" for name in names})


@given(st.lists(st.tuples(st.floats(0.01, 40), lists | st.none()), max_size=30))
def test_whatever_is_told_a_ring_never_empties_and_settles_on_the_last_word(
    told: list[tuple[float, dict[str, str] | None]],
) -> None:
    members = Roster(A, patience_s=PATIENCE_S, settle_s=SETTLE_S, now=0.0)
    now, changed_at, last = 0.0, -SETTLE_S, A
    for passed, nodes in told:
        now += passed
        if nodes is None:
            members.lost()
        else:
            members.listed(nodes, now)
            last = nodes or last
        if members.settle(now):
            assert now >= changed_at + SETTLE_S
            changed_at = now
        assert members.nodes
    for step in range(1, 20):
        members.listed(last, now + step * PATIENCE_S / 4)
        members.settle(now + step * PATIENCE_S / 4)
    assert members.nodes == last
