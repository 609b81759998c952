"""Limits: what makes a run failed, and what makes it held."""

from consistency.limits import Breach, KindLimits, Limits, breaches, unbelievable
from consistency.tally import Count, Tally

FULL = Tally(expected=Count(1_000), scanned=Count(1_000))


def crossed(found: dict[str, int], done: dict[str, int] | None = None, limits: Limits | None = None) -> list[tuple]:
    told = breaches(found, FULL, 100, done or {}, limits or Limits())  # type: ignore[arg-type]
    return [(each.of, each.bound) for each in told]


def test_nothing_found_crosses_no_bound():
    assert crossed({}) == []
    assert breaches({}, Tally(), 0, {"missing": 10_000}, Limits()) == []


def test_bounds_are_reached_without_being_crossed():
    assert crossed({"missing": 10, "orphan": 10, "damaged": 10, "empty-directories": 10}) == []
    assert crossed({"missing": 11}) == [("missing", "fraction")]
    assert crossed({"empty-directories": 11}) == [("empty-directories", "fraction")]


def test_numbers_shares_and_weeks_are_bounded_each():
    tight = Limits(orphan=KindLimits(files=3, fraction=0.002, files_per_week=4))
    assert crossed({"orphan": 4}, {"orphan": 1}, tight) == [
        ("orphan", "files"), ("orphan", "fraction"), ("orphan", "files_per_week"),
    ]  # fmt: skip
    assert crossed({"orphan": 2}, {"orphan": 3}, tight) == [("orphan", "files_per_week")]


def test_a_share_of_nothing_is_all_of_it():
    assert breaches({"orphan": 1}, Tally(), 0, {}, Limits()) == [Breach("orphan", "fraction", 0.01, 1.0)]


def test_an_empty_scan_and_too_much_unseen_are_not_believed():
    assert unbelievable(Tally(), 0, Limits()) == []
    assert "found no file" in unbelievable(Tally(expected=Count(5)), 0, Limits())[0]
    others = Tally(expected=Count(5), scanned=Count(5))
    assert "in common" in unbelievable(others, 0, Limits())[0]
    unseen = Tally(expected=Count(100), scanned=Count(90), unchecked=Count(6), common=Count(90))
    assert "6.0000%" in unbelievable(unseen, 2, Limits())[0]
    fewer = Tally(expected=Count(100), scanned=Count(90), unchecked=Count(5), common=Count(90))
    assert unbelievable(fewer, 2, Limits()) == []
