"""The docs of the language are true: their table has every variable, their policies are right."""

import re
from pathlib import Path

import pytest

from placement.policy import parser, review
from placement.policy.partitions import parse_partitions
from placement.policy.variables import VARIABLES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
POLICIES = sorted((ROOT / "configs" / "policies").glob("*.txt"))


def test_the_table_of_variables_is_that_of_the_language() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.*?) \| (\w+) \| (.*?) \|$", PAGE, re.MULTILINE)
    told = {name: (kind.replace("`", ""), producer, sentence) for name, kind, producer, sentence in rows}
    expected = {
        name: (" ".join(each.words) or each.kind.value, each.producer, each.sentence)
        for name, each in VARIABLES.items()
    }
    assert told == expected


def test_the_policy_on_the_page_is_the_file_that_it_names() -> None:
    (shown,) = re.findall(r"```\n(Partition .*?)```", PAGE, re.DOTALL)
    held = (ROOT / "configs" / "policies" / "watermarks.txt").read_text(encoding="utf-8")
    assert parser.parse(shown).checked() == parser.parse(held).checked()


def test_the_partitions_that_ship_are_right() -> None:
    found = parse_partitions((ROOT / "configs" / "partitions.txt").read_text(encoding="utf-8"))
    assert [str(each) for each in found] == ["Default: blockreplica.owner != None"]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_a_policy_that_ships_is_right_and_every_line_of_it_can_match(path: Path) -> None:
    found = parser.parse_file(path)
    assert found.problems == []
    assert review.dead_lines(found.checked()) == []
