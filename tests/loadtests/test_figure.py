"""Figures and reports: what a reader of the results is told, and that results survive being written."""

import math
import random
from pathlib import Path

import pytest

from loadtests.figure import Figure, Result, bound, shown
from loadtests.machine import Machine
from loadtests.mixed import rows_of
from loadtests.report import Report, read_results, write_results
from loadtests.wrk import Walk

RATE = Figure("lookups", "requests/s", "more", 15_000, "10,000,000 mappings", "a plain loop")
DELAY = Figure("delay", "s", "less", 1.5)


@pytest.mark.parametrize(
    ("figure", "value", "verdict"),
    [
        (RATE, 15_000, "reached"),
        (RATE, 14_999, "missed"),
        (DELAY, 1.5, "reached"),
        (DELAY, 1.51, "missed"),
        (Figure("memory", "MB", "less"), 5, ""),
    ],
)
def test_a_bar_is_reached_from_its_own_side(figure: Figure, value: float, verdict: str) -> None:
    assert Result(figure, "here", (value,)).verdict == verdict


def test_the_median_of_the_runs_counts() -> None:
    result = Result(RATE, "here", (1.0, 100.0, 3.0))
    assert result.value == 3.0
    assert result.spread == "3 runs from 1 to 100"


def test_a_line_says_value_bar_scale_and_peer() -> None:
    line = Result(RATE, "1,000,000 mappings", (20_000.0,), peer=160.0, note="quiet").line()
    assert line == (
        "lookups, 1,000,000 mappings: 20,000 requests/s · bar ≥ 15,000 for 10,000,000 mappings: reached · "
        "a plain loop: 160 requests/s (125×) · quiet"
    )


def test_a_peer_that_took_longer_is_beaten_by_as_many_times() -> None:
    slow = Figure("delay", "s", "less", peer="others")
    assert Result(slow, "here", (2.0,), peer=5.0).against_peer == "others: 5 s (2.5×)"


def test_nothing_is_divided_by_zero() -> None:
    assert Result(RATE, "here", (0.0,), peer=1.0).against_peer == "a plain loop: 1 requests/s"
    assert Result(RATE, "here", (1.0,), peer=0.0).against_peer == "a plain loop: 0 requests/s"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (123_456.7, "123,457"), (1.2345, "1.23"), (0.00001234, "1.2e-05"), (99.96, "100")]
)
def test_numbers_have_the_digits_that_they_deserve(number: float, text: str) -> None:
    assert shown(number) == text


def test_a_bound_shows_its_direction() -> None:
    assert [bound(RATE), bound(DELAY), bound(Figure("memory", "MB", "less"))] == ["≥ 15,000", "≤ 1.5", ""]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = (Result(RATE, "here", (1.0, 2.0), peer=3.0, note="n"), Result(DELAY, "there", (4.0,)))
    write_results(tmp_path / "results.json", results)
    assert read_results(tmp_path / "results.json") == results


def test_a_report_is_a_table_with_a_row_for_each_result(tmp_path: Path) -> None:
    machine = Machine("a processor", 2, 8, "Linux 6", "CPython 3.11")
    report = Report(
        "2026-01-31", "abc", 7, machine, (Result(RATE, "here", (20_000.0,)), Result(DELAY, "there", (2.0,)))
    )
    json, markdown = report.write(tmp_path / "results", "figures")
    assert '"seed": 7' in json.read_text()
    lines = markdown.read_text().splitlines()
    assert "2026-01-31 · commit abc · seed 7 · a processor, 2 cores, 8 GiB · Linux 6 · CPython 3.11" in lines
    assert lines[-2:] == [
        "| lookups | here | 20,000 requests/s | ≥ 15,000 (10,000,000 mappings) | reached |  |  |",
        "| delay | there | 2 s | ≤ 1.5 | missed |  |  |",
    ]


@pytest.mark.parametrize("names", [10, 1_000, 99_991])
def test_a_walk_visits_every_name_once(names: int) -> None:
    count, step, first = Walk(1, "/", names)._order(random.Random(1))
    assert count == names
    assert math.gcd(step, count) == 1
    assert 0 <= first < count


def test_the_rows_of_locust_leave_out_its_sum(tmp_path: Path) -> None:
    stats = tmp_path / "stats.csv"
    stats.write_text(
        "Type,Name,Request Count,Failure Count,Average Response Time,Max Response Time,Requests/s\n"
        "GET,query: locate,10,0,1.5,20,5.0\n,Aggregated,10,0,1.5,20,5.0\n"
    )
    (row,) = rows_of(stats)
    assert (row.name, row.requests, row.failures, row.mean_ms, row.worst_ms, row.rate) == (
        "query: locate", 10, 0, 1.5, 20.0, 5.0,
    )  # fmt: skip
