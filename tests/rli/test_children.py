"""Whom a node believes to be a node below it, and which trees are refused at the start."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from reploc.errors import Forbidden, HierarchyLoop, NameInvalid
from reploc.hierarchy import LEVELS_MAX, Beneath, Child
from reploc.members import IndexSettings, Node, ParentsSettings
from reploc.wire import SOFT_STATE_VERSION, SoftState
from rli.children import Children
from rli.registry import Registry
from rli.settings import RliSettings


def message(site: str, url: str = "http://eu:1", *, nodes: Sequence[str] = ("eu",), levels: int = 1) -> SoftState:
    """What an index node sends, or with no `nodes` a catalog."""
    beneath = Beneath("ring", True, [], list(nodes), levels) if nodes else None
    return SoftState(SOFT_STATE_VERSION, site, "s", url, 4, 1e-3, 1, 1, 1, 0, 0.0, 0, beneath=beneath)


CHILDREN = Children("root", [Child(name="eu"), Child(name="us", url="http://us:1")])


def test_a_child_is_believed_and_a_catalog_under_another_name() -> None:
    CHILDREN.require(message("eu"))
    CHILDREN.require(message("us", "http://us:1/"))
    CHILDREN.require(message("cern", nodes=()))
    CHILDREN.require(message("eu/cern"))
    CHILDREN.require(message("us/low/fnal", "http://us:1", nodes=("us", "low")))


@pytest.mark.parametrize(
    ("sent", "wrong", "words"),
    [
        (message("asia"), Forbidden, "'asia' is no child of node 'root'"),
        (message("asia/kek", nodes=("asia",)), Forbidden, "'asia/kek' is no child of node 'root'"),
        (message("us/fnal", "http://thief:1"), Forbidden, "is a child at http://us:1"),
        (message("eu/cern", nodes=()), Forbidden, "no catalog speaks in its name"),
        (message("eu/cern", nodes=("eu", "root")), HierarchyLoop, "'root' would hear its own news"),
        (message("eu", nodes=()), Forbidden, "no catalog speaks in its name"),
        (message("us", "http://thief:1"), Forbidden, "is a child at http://us:1, but announces 'http://thief:1'"),
        (message("eu", nodes=("eu", "root")), HierarchyLoop, "'root' would hear its own news.* through no other"),
        (message("eu", nodes=("eu", "b", "root", "a")), HierarchyLoop, "through a, b"),
        (message("eu", levels=LEVELS_MAX), HierarchyLoop, f"below node 'root' there may be {LEVELS_MAX - 1}"),
    ],
)
def test_who_is_no_child_or_tells_what_came_through_the_node_is_refused(
    sent: SoftState, wrong: type[Exception], words: str
) -> None:
    with pytest.raises(wrong, match=words):
        CHILDREN.require(sent)


def settings(index: dict[str, Any] | None = None, parents: dict[str, Any] | None = None, **more: Any) -> RliSettings:
    """Node `a` at http://a:1, alone in its index of whole names, below node `p` unless told otherwise."""
    here = {"compression": "none", "collections": False, "nodes": [Node(name="a", url="http://a:1")]}
    up = {"nodes": [Node(name="p", url="http://p:1")]}
    return RliSettings(node="a", index=IndexSettings(**here | (index or {})), parents=_parents(up, parents), **more)


def _parents(up: dict[str, Any], told: dict[str, Any] | None) -> ParentsSettings:
    return ParentsSettings(**up | (told or {}))


def test_a_node_between_two_levels_is_accepted() -> None:
    told = settings(children=[Child(name="c")])
    assert list(told.parents.urls) == ["p"]
    settings({"compression": "fingerprint"}, {"compression": "auto"})
    settings({"compression": "bloom", "lfn_partition": "hash"}, {"lfn_partition": "none"})


@pytest.mark.parametrize(
    ("index", "parents", "children", "words"),
    [
        ({}, {"nodes": [Node(name="a", url="http://p:1")]}, [], "'a' is its own parent"),
        ({}, {"nodes": [Node(name="p", url="http://a:1/")]}, [], "'a' is its own parent"),
        ({}, {}, ["a"], "'a' is its own child"),
        ({}, {}, ["p"], "'p' is a child and a parent of node 'a'"),
        ({}, {}, ["c", "c"], "child 'c' stands twice"),
        (
            {"redundancy": 2, "nodes": [Node(name="a", url="http://a:1"), Node(name="p", url="http://p:1")]},
            {},
            [],
            "parent 'p' is one of index.nodes",
        ),
        (
            {"redundancy": 2, "nodes": [Node(name="a", url="http://a:1"), Node(name="b", url="http://b:1")]},
            {},
            ["b"],
            "child 'b' is one of index.nodes",
        ),
        ({"compression": "auto"}, {}, [], "from which nothing can be told to parents"),
        ({"compression": "bloom"}, {"compression": "none"}, [], "whose filters are relayed as they are"),
        ({"compression": "bloom"}, {"slots": 64}, [], "index.slots is 256 and parents.slots is 64"),
        ({"compression": "bloom"}, {"error_rate": 1e-3}, [], "index.error_rate is 1e-05"),
        ({"compression": "bloom"}, {"mode": "full"}, [], 'parents.mode is "full"'),
        ({"compression": "bloom"}, {"site_partition": "domain"}, [], 'parents.site_partition "none"'),
        ({"compression": "bloom", "lfn_partition": "collection"}, {}, [], "lfn_partition none or hash"),
        ({"compression": "fingerprint"}, {"compression": "bloom"}, [], "needs names"),
        ({}, {"collections": True}, [], "no totals of collections"),
        ({}, {"lfn_partition": "collection"}, [], "is not told the collections"),
        ({"collections": True}, {}, ["c"], "index.collections false"),
    ],
)
def test_what_makes_no_tree_is_refused_at_the_start(
    index: dict[str, Any], parents: dict[str, Any], children: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        settings(index, parents, children=[Child(name=name) for name in children])


def test_a_child_is_missing_for_as_long_as_the_settings_name_it() -> None:
    index = IndexSettings(slots=4, expiry_s=3.0, renewal_interval_s=1.0, forget_after_s=100.0)
    registry = Registry(index, np.ones((4, 1), dtype=bool), 0.0)
    registry.expect({"eu": "http://eu:1"}, 0.0)
    everywhere = np.arange(4)
    for now in (3.0, 200.0, 1e6):
        registry.expire(now)
        assert registry.missing_sites(everywhere) == ["eu"]
        assert not registry.complete(everywhere).any()
    registry.expect({}, 1e6)
    registry.expire(1e6 + 99.0)
    assert registry.missing_sites(everywhere) == ["eu"]
    registry.expire(1e6 + 100.0)
    assert registry.members(1e6 + 100.0) == []
    assert registry.complete(everywhere).all()


@pytest.mark.parametrize(
    "name", ["eu/", "/cern", "eu//cern", "eu/a b", "eu/" + "/".join("s" * (LEVELS_MAX + 1)), "eu/" + "s" * 300]
)
def test_what_is_no_name_of_a_sender_is_refused(name: str) -> None:
    registry = Registry(IndexSettings(slots=4, error_rate=1e-3), np.ones((4, 1), dtype=bool), 0.0)
    with pytest.raises(NameInvalid):
        registry.receive(message(name), 0.0)
    with pytest.raises(NameInvalid):
        registry.receive(message("eu/cern", nodes=()), 0.0)
    assert registry.members(0.0) == []
