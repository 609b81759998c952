"""Which of many texts satisfy a predicate, as bits: each text is looked at once, whatever the number of its uses.

Equality and globs go through Polars; a glob's fixed beginning and end sort most texts out before its pattern is tried.
Regular expressions are Python's, since policies were written for them; those built of what means the same in Polars'
engine, which is many times faster, go through that.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from placement.policy.syntax import Comparison, Value
from placement.policy.values import is_glob

Bits: TypeAlias = NDArray[np.bool_]
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_WILD = re.compile(r"[*?\[]")
#: Expressions of these parts alone: plain signs, simple classes, groups, repetition; possessive forms it refuses.
_COMMON = re.compile(r"(?:[A-Za-z0-9_/,:|.*+?^$-]|\((?:\?:)?|\)|\[\^?[A-Za-z0-9_/-]+\]|\\[.dw])*")


def satisfying(test: Comparison, texts: pl.Series) -> Bits:
    """Whether each text satisfies a comparison, shape (len(texts),)."""
    if test.operator in ("=~", "!=~"):
        found = _expression_matching(str(test.values[0]), texts)
    else:
        found = _any_of(test.values, texts)
    return ~found if test.operator in ("!=", "notin", "!=~") else found


def _any_of(values: tuple[Value, ...], texts: pl.Series) -> Bits:
    plain = [value for value in values if isinstance(value, str) and not is_glob(value)]
    found = np.zeros(len(texts), dtype=np.bool_)
    if len(plain) == 1:
        found |= (texts == plain[0]).to_numpy()
    elif plain:
        found |= texts.is_in(plain).to_numpy()
    for value in values:
        if isinstance(value, str) and is_glob(value):
            found |= glob_matching(value, texts)
    return found


def glob_matching(glob: str, texts: pl.Series) -> Bits:
    """Whether the whole of each text matches a glob, which may be plain."""
    if "[" in glob:
        return _matching(re.compile(fnmatch.translate(glob)), texts)
    wild = [found.start() for found in _WILD.finditer(glob)]
    if not wild:
        return (texts == glob).to_numpy()
    begin, end = glob[: wild[0]], glob[wild[-1] + 1 :]
    may = texts.str.starts_with(begin) if begin else pl.repeat(value=True, n=len(texts), eager=True)
    if end:
        may = may & texts.str.ends_with(end)
    found = may.to_numpy().copy()
    middle = glob[wild[0] : wild[-1] + 1]
    if middle == "*":
        # Beginning and end must not share characters.
        found &= (texts.str.len_chars() >= len(begin) + len(end)).to_numpy()
        return found
    left = np.flatnonzero(found)
    pattern = "".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in glob)
    found[left] = texts.gather(left).str.contains(f"(?s)^{pattern}$").to_numpy()
    return found


def _expression_matching(expression: str, texts: pl.Series) -> Bits:
    if _COMMON.fullmatch(expression):
        try:
            return texts.str.contains(f"^(?:{expression})").to_numpy()
        except pl.exceptions.ComputeError:
            pass
    return _matching(re.compile(expression), texts)


def _matching(pattern: re.Pattern[str], texts: pl.Series) -> Bits:
    match = pattern.match
    return np.fromiter((match(text) is not None for text in texts), dtype=np.bool_, count=len(texts))
