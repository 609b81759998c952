"""Texts are matched as Python's fnmatch and re match them, whichever engine does it."""

import fnmatch
import re
from random import Random

import polars as pl
import pytest

from placement.policy import texts
from placement.policy.parser import parse_condition
from placement.policy.syntax import Comparison

ALPHABET = "ab/-._é[]"


def drawn(rng: Random, alphabet: str, most: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(most)))


@pytest.mark.parametrize("seed", range(30))
def test_a_glob_matches_what_fnmatch_matches(seed: int) -> None:
    rng = Random(seed)
    names = pl.Series([drawn(rng, ALPHABET, 9) for _ in range(300)], dtype=pl.String)
    for _ in range(40):
        glob = drawn(rng, "ab/.é[]!-**??", 7)
        if set(glob) & set("*?"):
            expected = [fnmatch.fnmatchcase(name, glob) for name in names]
            assert texts.glob_matching(glob, names).tolist() == expected, glob


EXPRESSIONS = [
    r"a", r"a$", r"(a|b)+/", r"(?:a|b)*$", r"[^/]+/", r"[ab/-]+$", r"a+?b", r".*\.", r"a++b", r"\w+$", r"\d", r"|b",
    r"(?!a)b", r"[a-b]{2}", r"é", r"a*", r"^a", r"\bab",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("operator", ["=~", "!=~"])
def test_an_expression_matches_what_re_matches_from_the_start(expression: str, operator: str) -> None:
    rng = Random(1)
    names = pl.Series([drawn(rng, ALPHABET, 9) for _ in range(500)], dtype=pl.String)
    test = parse_condition(f'dataset.name {operator} "{expression.replace(chr(92), chr(92) * 2)}"')
    assert isinstance(test, Comparison)
    expected = [(re.match(expression, name) is not None) == (operator == "=~") for name in names]
    assert texts.satisfying(test, names).tolist() == expected
