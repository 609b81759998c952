"""Token buckets and offences: rules without a clock, against what they promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc.security.limits import KEYS_MAX, Buckets, Networks, Offences, network_of
from reploc.security.settings import LimitSettings


@given(st.floats(0.1, 50), st.floats(0.1, 20), st.lists(st.floats(0, 5), max_size=200))
def test_a_bucket_never_gives_more_than_its_rate_and_its_size(rate: float, burst_s: float, pauses: list[float]) -> None:
    buckets, now, taken = Buckets(rate, burst_s), 0.0, 0
    for pause in pauses:
        now += pause
        taken += buckets.take("a", now) == 0.0
        assert taken <= max(rate * burst_s, 1.0) + rate * now + 1e-6


def test_a_bucket_says_when_there_is_one_again_and_keeps_its_word() -> None:
    buckets = Buckets(2.0, 1.0)
    assert [buckets.take("a", 0.0) for _ in range(2)] == [0.0, 0.0]
    wait = buckets.wait("a", 0.0)
    assert wait == buckets.take("a", 0.0)
    assert wait == pytest.approx(0.5)
    assert buckets.take("a", wait) == 0.0
    assert buckets.take("b", 0.0) == 0.0


def test_a_rate_of_nothing_bounds_nothing() -> None:
    buckets = Buckets(0.0, 10.0)
    assert not buckets.bounding
    assert all(buckets.take("a", 0.0) == 0.0 for _ in range(10_000))


def test_offences_are_forgotten_in_time_and_refusals_end() -> None:
    offences = Offences(3, within_s=10.0, refused_s=60.0)
    assert [offences.note("a", moment) for moment in (0.0, 6.0, 11.0)] == [False, False, False]
    assert offences.note("a", 12.0)
    assert (offences.refused_s("a", 12.0), offences.refused_s("b", 12.0)) == (60.0, 0.0)
    assert offences.refused(13.0) == {"a": 59.0}
    assert (offences.refused_s("a", 72.0), offences.refused(72.0)) == (0.0, {})
    assert not offences.note("a", 73.0)


def test_who_is_refused_elsewhere_is_refused_here_for_as_long() -> None:
    offences = Offences(3, within_s=10.0, refused_s=60.0)
    offences.refuse("a", 5.0, 20.0)
    assert offences.refused(10.0) == {"a": 15.0}
    assert offences.refused_s("a", 25.0) == 0.0


def test_a_flood_of_addresses_takes_bounded_memory() -> None:
    buckets, offences = Buckets(1.0, 1.0), Offences(2, 10.0, 60.0)
    for number in range(KEYS_MAX + 1_000):
        buckets.take(str(number), 0.0)
        offences.note(str(number), 0.0)
    assert len(buckets._left) == len(offences._seen) == KEYS_MAX


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_whoever_has_one_address_of_a_network_has_all_of_it(address: str, network: str) -> None:
    assert network_of(address) == network


def test_networks_hold_their_addresses() -> None:
    networks = Networks(["127.0.0.0/8", "::1/128"])
    assert networks.hold("127.3.2.1")
    assert networks.hold("::1")
    assert not networks.hold("192.0.2.1")
    assert not networks.hold("nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        Networks(["nonsense"])


@pytest.mark.parametrize("processes", [1, 2, 7, 256])
def test_processes_that_share_a_port_together_keep_to_the_bounds(processes: int) -> None:
    whole = LimitSettings(
        connections_max=1_000, connections_per_address=300, rate_per_identity=50.0, rate_per_address=9.0
    )
    share = whole.of_one(processes)
    assert 0 < share.connections_max * processes <= whole.connections_max
    assert 0 < share.connections_per_address * processes <= whole.connections_per_address
    assert share.rate_per_identity * processes == pytest.approx(whole.rate_per_identity)
    assert share.rate_per_address * processes == pytest.approx(whole.rate_per_address)
    assert (share.offences, share.head_s, share.exempt) == (whole.offences, whole.head_s, whole.exempt)
