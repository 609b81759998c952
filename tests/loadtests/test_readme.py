"""The README shows what the committed results say, and every plot that they have."""

from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests import readme
from loadtests.curve import Curve, Line
from loadtests.figure import Figure, Result
from loadtests.machine import Machine
from loadtests.report import Found, Part, Report

MACHINE = Machine("a processor", 2, 8, "Linux 6", "CPython 3.11")


def test_the_section_has_the_figures_with_bars_and_the_plots() -> None:
    found = Found(
        (Result(Figure("delay", "s", "less", 1.5), "here", (2.0,)), Result(Figure("memory", "MB", "less"), "", (1.0,))),
        (Curve("growth", "Cost by sites", "sites", "ms", (Line("ours", ((10, 1.0),)),)),),
    )
    said = readme.section(Report(MACHINE, (Part("one", "2026-01-31", "abc", 7, 1.0, found),)), "figures")
    assert "a processor, 2 cores, 8 GiB, CPython 3.11; commit abc." in said
    assert "| delay | here | 2 s | ≤ 1.5 | missed |" in said
    assert "memory" not in said
    assert "![Cost by sites](loadtests/results/figures-growth.svg)" in said


def test_only_what_stands_between_the_marks_is_rewritten() -> None:
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    assert readme.rewritten(text, "new") == f"before\n{readme.BEGIN}\nnew\n{readme.END}\nafter\n"


def test_the_page_on_security_has_what_it_costs_and_nothing_else() -> None:
    cost = Found((Result(Figure("over TLS", "requests/s", "more"), "here", (5.0,), note="3 µs each"),), ())
    parts = (Part("tls_and_tokens", "2026-01-31", "abc", 7, 1.0, cost), Part("one", "2026-01-31", "abc", 7, 1.0, cost))
    said = readme.security(Report(MACHINE, parts), "quick")
    assert said.count("| over TLS | here | 5 requests/s | 3 µs each |") == 1
    assert said.startswith("Commit abc, 2026-01-31; a quick run.")


@pytest.mark.parametrize(("page", "made"), readme.PAGES)
def test_a_page_says_what_the_results_say(page: Path, made: Callable[[Report, str], str]) -> None:
    found = readme.newest()
    assert found is not None
    assert any(result.figure.bar is not None for result in found[0].results), "there is nothing to show"
    text = page.read_text(encoding="utf-8")
    assert readme.rewritten(text, made(*found)) == text, "python -m loadtests.readme"
