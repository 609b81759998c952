"""The policy language: what parses and prints, what is refused and where, and that nothing is guessed."""

import random

import pytest
from lines import bad_lines, good_conditions
from policies import EXAMPLE, drawn_policy

from placement.policy import parser, review
from placement.policy.dates import DateInvalid, moment
from placement.policy.parser import parse, parse_condition
from placement.policy.partitions import parse_partitions, partition_condition
from placement.policy.syntax import Decision
from reploc.errors import PolicyInvalid

FRAME = "Partition P\nOn always\nWhen never\nUntil never\nProtect\n"


@pytest.mark.parametrize(("text", "printed"), good_conditions())
def test_a_good_condition_parses_and_what_is_printed_parses_to_the_same(text: str, printed: str) -> None:
    found = parse(f"{FRAME}Delete {text}")
    assert found.problems == []
    assert found.policy is not None
    condition = found.policy.lines[0].condition
    assert printed in ("", str(condition))
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(("line", "said", "marked"), bad_lines())
def test_a_bad_line_is_refused_in_words_with_a_caret(line: str, said: str, marked: str) -> None:
    found = parse(f"{FRAME}{line}")
    assert found.policy is None
    problem = next(each for each in found.problems if not each.warning)
    assert said in problem.line()
    place = problem.place
    assert (place.file, place.line) == ("policy", 6)
    assert place.text[place.column - 1 : place.column - 1 + place.width].startswith(marked)
    text, caret = problem.shown().splitlines()[1:]
    assert text[caret.index("^") :].startswith(marked)


def test_the_policy_of_the_paper_parses() -> None:
    """Dynamo paper, section 4.1: the example of a detox policy, with the partition that its text implies."""
    policy = parse(EXAMPLE).checked()
    assert [str(line.action) for line in policy.lines] == ["Delete", "Protect", "Dismiss"]
    assert policy.default.action.decision is Decision.PROTECT
    assert [str(key) for key in policy.order] == ["decreasing dataset.usage_rank", "increasing replica.size"]


@pytest.mark.parametrize("seed", range(200))
def test_a_drawn_policy_prints_and_parses_to_itself(seed: int) -> None:
    policy = drawn_policy(random.Random(seed))
    found = parse(str(policy))
    assert found.problems == []
    assert found.policy == policy
    assert str(found.policy) == str(policy)


@pytest.mark.parametrize("seed", range(200))
def test_a_text_of_scraps_is_refused_in_words_or_parsed(seed: int) -> None:
    rng = random.Random(seed)
    scraps = [
        *EXAMPLE.split(),
        "(",
        ")",
        "[",
        "]",
        '"',
        "\\",
        "#",
        "or",
        "not",
        "any(",
        "until",
        "\n",
        "=~",
        "é",
        "\x00",
    ]
    found = parse(" ".join(rng.choice(scraps) for _ in range(rng.randrange(60))))
    assert found.policy is not None or any(not each.warning for each in found.problems)
    assert all(each.shown().count("^") for each in found.problems)


def test_all_problems_of_a_file_come_at_once() -> None:
    found = parse(
        "On dataset.name == X\nProtekt\nProtect dataset.stauts == 1 and site.nme == 2\nOrder up dataset.size\n"
    )
    lines = [(each.place.line, each.said.split(" (")[0]) for each in found.problems]
    assert lines == [
        (1, "dataset.name is about a dataset"),
        (2, "unknown word 'Protekt'"),
        (3, "unknown variable 'dataset.stauts'"),
        (3, "unknown variable 'site.nme'"),
        (4, "this is no way to order"),
        (4, "the policy has no Partition"),
        (4, "the policy has no When"),
        (4, "the policy has no Until"),
        (4, "the policy has no default decision"),
    ]
    with pytest.raises(PolicyInvalid, match="and 6 more"):
        found.checked()


@pytest.mark.parametrize("missing", ["Partition", "On", "When", "Until", "Protect"])
def test_a_policy_that_lacks_a_part_is_refused(missing: str) -> None:
    found = parse("".join(line for line in FRAME.splitlines(keepends=True) if not line.startswith(missing)))
    assert found.policy is None
    assert len(found.problems) == 1


def test_single_quotes_are_part_of_a_text_and_warned_of() -> None:
    found = parse(FRAME + "Protect replica.owner == 'IB RelVal'")
    (problem,) = found.problems
    assert (problem.warning, problem.said) == (True, "the single quotes are part of the text; double quotes are not")
    assert "\n" + " " * 29 + "^" * 11 in problem.shown()
    assert parse(FRAME + "Protect replica.owner == \"'IB'\"").problems == []


@pytest.mark.parametrize("line", ["Partition Q", "Dismiss", "Order none\nOrder none", "Algo Static\nAlgo Iterative"])
def test_what_stands_twice_is_a_warning_and_the_last_counts(line: str) -> None:
    found = parse(FRAME + line)
    assert [each.warning for each in found.problems] == [True]
    assert found.policy is not None
    assert (found.policy.partition == "Q") == (line == "Partition Q")
    assert (found.policy.default.action.decision is Decision.DISMISS) == (line == "Dismiss")
    assert found.policy.iterative


def test_an_error_behind_a_continuation_points_into_its_own_line() -> None:
    found = parse(f"{FRAME}Protect dataset.is_open and \\  \n    \\\n   dataset.opn # x\n")
    place = found.problems[0].place
    assert (place.line, place.column, place.width) == (8, 4, 11)


def test_text_that_is_no_utf8_is_refused_with_its_byte(tmp_path) -> None:
    path = tmp_path / "policy"
    path.write_bytes(b"Protect\n\xff")
    with pytest.raises(PolicyInvalid, match="not UTF-8 at byte 8"):
        parser.parse_file(path)
    with pytest.raises(PolicyInvalid, match="No such file"):
        parser.parse_file(tmp_path / "none")


DEAD = [
    ("Protect dataset.name == /A/*", "Delete dataset.name == /A/B/C", True),
    ("Protect dataset.name == /A/*", "Delete dataset.name == /B/C", False),
    ("Protect dataset.name == *", "Delete dataset.name == /B/*", True),
    ("Dismiss dataset.usage_rank > 100", "Dismiss dataset.usage_rank > 200 and dataset.is_open", True),
    ("Dismiss dataset.usage_rank > 200", "Dismiss dataset.usage_rank > 100", False),
    ("Dismiss dataset.usage_rank >= 100", "Dismiss dataset.usage_rank > 100", True),
    ("Dismiss dataset.usage_rank > 100", "Dismiss dataset.usage_rank >= 100", False),
    ("Dismiss dataset.last_update older_than 90 days ago", "Delete dataset.last_update older_than 9 days ago", False),
    ("Dismiss dataset.last_update older_than 1 week ago", "Delete dataset.last_update older_than 90 days ago", True),
    ("Dismiss dataset.last_update older_than 1 week ago", "Delete dataset.last_update older_than 3 months ago", False),
    ("Protect dataset.status in [VALID INVALID]", "Delete dataset.status == VALID", True),
    ("Protect dataset.status in [VALID INVALID]", "Delete dataset.status in [VALID DELETED]", False),
    ("Protect dataset.status != VALID", "Delete dataset.status notin [VALID INVALID]", True),
    ("Protect dataset.status notin [VALID INVALID]", "Delete dataset.status != VALID", False),
    ("Protect always", "Delete dataset.is_open", True),
    ("Protect dataset.is_open", "Delete never", True),
    ("Protect dataset.is_open", "Delete not dataset.is_open", False),
    ("Protect dataset.is_open or replica.full", "Delete replica.full and site.name == X", True),
    ("Protect dataset.is_open and replica.full", "Delete replica.full", False),
    ("ProtectBlock blockreplica.is_locked", "Delete blockreplica.is_locked", False),
    ("ProtectBlock dataset.is_open", "Delete dataset.is_open", True),
    ("Protect dataset.is_open until 2018-01-01", "Delete dataset.is_open", False),
    ("Protect dataset.name == /A/B", "Delete dataset.name in [/A/B]", True),
    ("Protect dataset.name == /A/B", "Delete dataset.name in [/A/B /A/C]", False),
]  # fmt: skip


@pytest.mark.parametrize(("earlier", "later", "dead"), DEAD)
def test_a_line_that_an_earlier_one_leaves_nothing_is_told(earlier: str, later: str, dead: bool) -> None:
    policy = parse(f"{FRAME}{earlier}\n{later}").checked()
    assert [problem.place.line for problem in review.dead_lines(policy)] == ([7] if dead else [])


def test_a_file_of_thousands_of_names_is_read_and_reviewed() -> None:
    names = "".join(f"Protect dataset.name == /A{number}/B/C\n" for number in range(4_000))
    policy = parse(FRAME + names + "Delete dataset.name == /A77/B/C").checked()
    assert len(policy.lines) == 4_001
    assert [problem.place.line for problem in review.dead_lines(policy)] == [4_006]


NOW = 1_520_000_000.0  # 2018-03-02 14:13:20 UTC
MOMENTS = [
    ("now", NOW),
    ("yesterday", NOW - 86_400),
    ("90 days ago", NOW - 90 * 86_400),
    ("a week ago", NOW - 7 * 86_400),
    ("2 hours ago", NOW - 7_200),
    ("1 month ago", 1_517_580_800.0),
    ("1 year ago", 1_488_464_000.0),
    ("2018-03-01", 1_519_862_400.0),
    ("2018/03/01 00:01", 1_519_862_460.0),
    ("January 1", 1_514_764_800.0),
    ("1 Jan 2018", 1_514_764_800.0),
    ("Jan. 1, 2018", 1_514_764_800.0),
]


@pytest.mark.parametrize(("text", "second"), MOMENTS)
def test_a_time_is_the_second_that_date_d_gives(text: str, second: float) -> None:
    assert moment(text).at(NOW) == second


def test_a_month_before_its_31st_counts_on_as_date_d_does() -> None:
    assert moment("1 month ago").at(1_522_454_400.0) == 1_520_035_200.0  # March 31 → March 3


def test_a_time_before_all_dates_is_refused() -> None:
    with pytest.raises(DateInvalid, match="before all dates"):
        moment("9999 years ago").at(NOW)


@pytest.mark.parametrize(("word", "day", "holds"), [("until", "2018-03-03", True), ("until", "2018-03-02", False)])
def test_a_line_holds_until_or_from_its_day(word: str, day: str, holds: bool) -> None:
    for each, expected in ((word, holds), ("from", not holds)):
        line = parse(f"{FRAME}Protect site.name == X {each} {day}").checked().lines[0]
        assert line.validity is not None
        assert line.validity.holds(NOW) == expected


def test_partitions_are_conditions_or_parts() -> None:
    text = "# all\nA: blockreplica.owner == IB RelVal and site.storage_type == DISK\nIB B: always\nAll: [A, IB B]\n"
    found = parse_partitions(text)
    assert [each.name for each in found] == ["A", "IB B", "All"]
    assert found[2].parts == ("A", "IB B")
    assert parse_partitions("\n".join(map(str, found))) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A blockreplica.owner == X", "defines no partition"),
        ("A: [B]", "unknown partition 'B'"),
        ("A: always\nB: [A]\nC: [B]", "made of parts itself"),
        ("A: always\nA: never", "defined twice"),
        ("A: [", "are no list"),
        ("A: dataset.nme == X", "did you mean"),
        ("A: replica.size > 5", "about a replica"),
        ("A: blockreplica.on_tape", "changes with other replicas"),
        ("A: site.name == X and any(blockreplica.complete)", "look at other blocks"),
        ("A: dataset.last_access older_than 1 week ago", "comes from a producer"),
    ],
)
def test_a_wrong_definition_of_partitions_is_refused(text: str, said: str) -> None:
    with pytest.raises(PolicyInvalid, match=said):
        parse_partitions(text)


def test_a_condition_of_two_lines_is_none() -> None:
    with pytest.raises(PolicyInvalid, match="holds 2 lines"):
        partition_condition("always\nalways", "A")
