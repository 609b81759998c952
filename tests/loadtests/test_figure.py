"""Figures and reports: what a reader of the results is told, and that results survive being written."""

import math
import random
from pathlib import Path

import pytest

from loadtests.curve import Curve, Line
from loadtests.figure import Figure, Result, bound, shown
from loadtests.machine import Machine
from loadtests.report import Found, OtherMachine, Part, Report, read_found, read_report, write_found
from loadtests.scenario import rows_of
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


MACHINE = Machine("a processor", 2, 8, "Linux 6", "CPython 3.11")
LINES = (Line("ours", ((10, 1.0), (100, 2.0))), Line("loop", ((10, 5.0),)))
GROWTH = Curve(
    "growth", "Cost by sites", "sites", "ms", (Line("ours", ((10, 1.0), (100, 2.0))), Line("loop", ((10, 5.0),)))
)


def part(program: str, *results: Result, broke: str = "") -> Part:
    return Part(program, "2026-01-31", "abc", 7, 12.3, Found(results, (GROWTH,)), broke)


def test_what_was_found_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = Found((Result(RATE, "here", (1.0, 2.0), peer=3.0, note="n"), Result(DELAY, "there", (4.0,))), (GROWTH,))
    write_found(tmp_path / "found.json", found)
    assert read_found(tmp_path / "found.json") == found


def test_a_report_has_a_table_for_each_program_and_a_plot_for_each_curve(tmp_path: Path) -> None:
    report = Report(MACHINE, ()).having(part("lookups", Result(RATE, "here", (20_000.0,))), ["lookups"])
    report.write(tmp_path, "figures")
    lines = (tmp_path / "figures.md").read_text().splitlines()
    assert "a processor, 2 cores, 8 GiB · Linux 6 · CPython 3.11" in lines
    assert "2026-01-31 · commit abc · seed 7 · took 12 s" in lines
    assert "| lookups | here | 20,000 requests/s | ≥ 15,000 (10,000,000 mappings) | reached |  |  |" in lines
    assert "![Cost by sites](figures-growth.svg)" in lines
    assert "| 100 | 2 |  |" in lines
    assert "Cost by sites" in (tmp_path / "figures-growth.svg").read_text()


def test_a_program_that_is_run_again_takes_the_place_of_its_last_run(tmp_path: Path) -> None:
    order = ["first", "second", "third"]
    for program, value in (("third", 1.0), ("first", 2.0), ("third", 3.0)):
        report = read_report(tmp_path / "figures.json", MACHINE)
        report.having(part(program, Result(DELAY, "here", (value,))), order).write(tmp_path, "figures")
    report = read_report(tmp_path / "figures.json", MACHINE)
    assert [(one.program, one.found.results[0].value) for one in report.parts] == [("first", 2.0), ("third", 3.0)]


def test_a_program_that_broke_says_so_and_keeps_what_it_had_found() -> None:
    said = "\n".join(part("lookups", Result(DELAY, "here", (1.0,)), broke="it ended with status 1").markdown(""))
    assert "**Not measured to its end: it ended with status 1.**" in said
    assert "| delay | here |" in said


def test_figures_of_two_machines_are_not_mixed(tmp_path: Path) -> None:
    Report(MACHINE, ()).having(part("lookups"), []).write(tmp_path, "figures")
    with pytest.raises(OtherMachine, match="run all"):
        read_report(tmp_path / "figures.json", Machine("another", 4, 16, "Linux 6", "CPython 3.11"))


def test_the_same_curve_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        Report(MACHINE, ()).having(part("lookups"), []).write(tmp_path / folder, "figures")
    assert (tmp_path / "one/figures-growth.svg").read_bytes() == (tmp_path / "other/figures-growth.svg").read_bytes()


def test_a_curve_says_its_points_on_a_line() -> None:
    assert GROWTH.line() == "Cost by sites: ms by sites: ours 1 at 10, 2 at 100; loop 5 at 10"


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
