"""Which of two claimants of one site is kept, as every node decides it alike."""

import pytest
from sender_double import SenderDouble

from reploc.errors import SiteClaimed
from reploc.members import IndexSettings
from reploc.wire import Member
from rli.claims import MARGIN_S, Claims, mark, precedes
from rli.index import Index

INDEX = IndexSettings(slots=4, renewal_interval_s=30.0, expiry_s=90.0)


def claim(sender: str, bound_s: float) -> Member:
    return Member("lrc", "A", f"http://{sender}:1", "live", 1.0, mark(sender), bound_s)


ONE, OTHER = sorted(["x", "y"], key=mark)


@pytest.mark.parametrize("older_s", [-100.0, -5.0, -3.0, -1.0, 0.0, 1.0, 3.0, 5.0, 100.0])
def test_of_two_claims_at_least_one_gives_way_and_the_much_older_one_never(older_s: float) -> None:
    one, other = claim(ONE, 500.0 + older_s), claim(OTHER, 500.0)
    assert precedes(one, other) or precedes(other, one)
    if abs(older_s) > 2 * MARGIN_S:
        assert precedes(one, other) == (older_s > 0)
    if abs(older_s) < MARGIN_S:
        assert (precedes(one, other), precedes(other, one)) == (True, False)


def test_the_same_claim_never_gives_way_to_itself() -> None:
    assert not precedes(claim("x", 500.0), claim("x", 1.0))


async def test_a_site_is_kept_for_the_claim_of_another_node_until_it_would_expire_there() -> None:
    claims = Claims()
    claims.keep(claim("x", 10.0), until=50.0)
    mine = SenderDouble(INDEX, "A", "http://y:1", "y", names=["/a"]).news()
    with pytest.raises(SiteClaimed, match="at http://x:1, as another node knows"):
        claims.require(mine, 49.0)
    claims.require(SenderDouble(INDEX, "A", "http://x:1", "x", names=["/a"]).news(), 49.0)
    claims.require(SenderDouble(INDEX, "B", "http://y:1", "y", names=["/a"]).news(), 49.0)
    claims.require(mine, 50.0)


async def test_a_younger_claim_is_dropped_with_all_that_it_told_and_the_older_one_is_taken() -> None:
    index = Index(INDEX, "rli-1", 1 << 30, now=0.0)
    index.expire(90.0)
    younger = SenderDouble(INDEX, "A", "http://y:1", "y", names=["/theirs"])
    await index.receive(younger.news(), 100.0)
    assert [site.lrc for site in index.location("/theirs", 101.0).sites] == ["http://y:1"]
    index.learn(index.registry.listed(), [claim("x", 60.0)], 101.0)
    assert index.expire(101.5) == ["A"]
    assert not index.location("/theirs", 102.0).sites
    with pytest.raises(SiteClaimed, match="as another node knows"):
        await index.receive(younger.news(), 102.0)
    older = SenderDouble(INDEX, "A", "http://x:1", "x", names=["/a"])
    await index.receive(older.news(), 103.0)
    assert [site.lrc for site in index.location("/a", 104.0).sites] == ["http://x:1"]


async def test_a_node_that_restarted_is_told_who_speaks_for_a_site_before_it_hears_anybody() -> None:
    index = Index(INDEX, "rli-1", 1 << 30, now=0.0)
    index.learn(index.registry.listed(), [claim("x", 60.0)], 1.0)
    with pytest.raises(SiteClaimed):
        await index.receive(SenderDouble(INDEX, "A", "http://y:1", "y", names=["/a"]).news(), 2.0)
    await index.receive(SenderDouble(INDEX, "A", "http://x:1", "x", names=["/a"]).news(), 3.0)


def test_lists_of_members_do_not_tell_what_senders_are_called() -> None:
    assert "store-1" not in mark("store-1")
