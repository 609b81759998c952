"""What a node may say of its share while the ring changes: by the ring that is meant, and by no other.

A new owner's answers say "not complete" until all has arrived (`docs/framework.md`), so that the old one is asked too.
"""

import numpy as np
import pytest
from sender_double import SenderDouble

from reploc import digest
from reploc.members import IndexSettings, Node
from reploc.partition import Rule
from rli.former import SHARES_MAX
from rli.index import Index

#: Sites whose names begin with a, b, or otherwise.
A, B, REST = Rule(nodes=("n",), prefix="a"), Rule(nodes=("n",), prefix="b"), Rule(nodes=("m",), prefix="")
LFN = "/run/1"


def index_of(*rules: Rule) -> IndexSettings:
    return IndexSettings(
        slots=4,
        lfn_partition="none",
        site_partition="pattern",
        site_rules=[*rules],
        error_rate=1e-4,
        renewal_interval_s=10,
        expiry_s=30,
        nodes=[Node(name="n", url="http://n:1"), Node(name="m", url="http://m:1")],
    )


def elsewhere(rule: Rule) -> Rule:
    """The same rule, of the other node."""
    return Rule(nodes=("m",), prefix=rule.prefix)


BEFORE, AFTER = index_of(A, elsewhere(B), REST), index_of(elsewhere(A), B, REST)


async def made() -> tuple[Index, dict[str, SenderDouble]]:
    """A node that holds site a, of its part, and knows that there is no other."""
    index = Index(BEFORE, "n", 1 << 30, now=0.0)
    pass_time(index, 0.0, 30.0)
    sites = {name: SenderDouble(BEFORE, name, f"http://{name}:1", f"sender-{name}", names=[LFN]) for name in ("a", "b")}
    await tell(index, sites["a"], 30.0)
    return index, sites


async def tell(index: Index, site: SenderDouble, now: float) -> None:
    answer = await index.receive(site.news([site.summary(slot) for slot in range(4)]), now)
    assert answer.current


def pass_time(index: Index, since: float, until: float) -> None:
    for moment in np.linspace(since, until, 31).tolist():
        index.expire(moment)


def complete(index: Index, by: IndexSettings, now: float = 31.0) -> bool:
    return not index.locations([LFN], digest.of([LFN]), now, ring=by.ring.version).incomplete


async def test_a_node_is_complete_by_the_ring_that_it_is_asked_by_and_by_none_that_it_does_not_know() -> None:
    index, _ = await made()
    assert complete(index, BEFORE)
    assert not complete(index, AFTER), "who has not heard of a change does not know what it is to hold"
    index.change_ring(AFTER, "n", 31.0)
    assert complete(index, BEFORE), "what it had it still holds"
    assert not complete(index, AFTER), "what it gained it was not told yet"


async def test_a_share_that_was_lost_is_lacking_when_its_sites_tell_no_more_and_the_gained_one_is_complete() -> None:
    """The site drops what moved; that must not make the node lack anything of what it owns now, for ever."""
    index, sites = await made()
    index.change_ring(AFTER, "n", 31.0)
    await tell(index, sites["b"], 32.0)
    index.learn(np.ones((4, 3), dtype=bool), [], 33.0)
    assert (complete(index, BEFORE), complete(index, AFTER)) == (True, True)
    await index.receive(sites["a"].news([], drop=list(range(4))), 34.0)
    assert (complete(index, BEFORE), complete(index, AFTER)) == (False, True)
    assert index.location(LFN, 35.0).complete


async def test_a_part_that_was_gained_is_not_known_by_the_word_of_a_node_of_another_part() -> None:
    index, _ = await made()
    index.change_ring(AFTER, "n", 31.0)
    theirs = np.zeros((4, 3), dtype=bool)
    theirs[:, 2] = True
    index.learn(theirs, [], 32.0)
    assert not complete(index, AFTER)
    theirs[:, 1] = True
    index.learn(theirs, [], 32.0)
    assert complete(index, AFTER), "nor is any site of the part known"


async def test_sites_that_are_of_other_parts_now_are_known_when_all_that_speak_have_been_heard() -> None:
    index, sites = await made()
    both = index_of(Rule(nodes=("n",), glob="[ab]"), REST)
    index.change_ring(both, "n", 31.0)
    assert (complete(index, BEFORE), complete(index, both)) == (True, False)
    await tell(index, sites["b"], 32.0)
    assert not complete(index, both), "there may be a third one"
    pass_time(index, 31.0, 59.0)
    await tell(index, sites["a"], 59.5)
    pass_time(index, 59.0, 61.0)
    assert complete(index, both, 61.0)


@pytest.mark.parametrize("changes", [SHARES_MAX, SHARES_MAX + 1])
async def test_of_more_changes_than_are_kept_the_first_is_asked_in_vain(changes: int) -> None:
    index, _ = await made()
    for number in range(changes):
        index.change_ring(index_of(A, Rule(nodes=("m",), prefix=f"x{number}"), REST), "n", 31.0)
    assert complete(index, BEFORE) == (changes <= SHARES_MAX)
