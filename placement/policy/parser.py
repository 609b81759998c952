"""From text to a policy, a partition's condition or a site's: all problems of a file at once.

A line that cannot be read on ends there with its problem, and the next one is read; a value or variable that does not
fit is noted and the rest of its line is read too. Nothing is ever guessed: a policy deletes data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from placement.policy import dates, source
from placement.policy.lexer import FILE_BYTES_MAX, STOP_WORDS, LogicalLine, Scanner, Token, Unexpected, logical_lines
from placement.policy.source import Place, Problem, nearest
from placement.policy.syntax import (
    ACTIONS,
    Action,
    Both,
    Comparison,
    Condition,
    Either,
    Flag,
    Line,
    OfBlocks,
    OrderKey,
    Policy,
    SiteLine,
    Validity,
    Value,
)
from placement.policy.values import OPERATORS, UNITS, ValueUnfit, value_of
from placement.policy.variables import FORMER_NAMES, VARIABLES, Kind, Level, Variable
from reploc.errors import PolicyInvalid

T = TypeVar("T")

#: Parentheses within each other: nobody reads more.
DEPTH_MAX = 50

#: Signs of other languages that people write, and what they are here.
_MEANT = {
    **{"=": "==", "===": "==", "<>": "!=", "!==": "!=", "=>": ">=", "=<": "<=", "~": "=~", "~=": "=~", "!~": "!=~"},
    **{"&": "and", "&&": "and", "|": "or", "||": "or", "!": "not"},
}
_SIGNS = ("==", "!=", "<", "<=", ">", ">=", "=~", "!=~")
_SITE_WORDS = ("On", "When", "Until")
_KEYWORDS = ("Partition", *_SITE_WORDS, *ACTIONS, "Order", "Algo")


@dataclass
class Parsed:
    """What a text held: the policy, absent where it has errors, and every problem in the order of lines."""

    policy: Policy | None
    problems: list[Problem]

    def checked(self) -> Policy:
        """The policy. Raises PolicyInvalid where there was an error."""
        source.refuse(self.problems)
        assert self.policy is not None
        return self.policy


def parse(text: str, file: str = "policy") -> Parsed:
    """Reads a policy; `file` is what messages call it."""
    draft = _Draft(file)
    for line in logical_lines(text, file):
        draft.read(line)
    return draft.finished()


def parse_file(path: Path) -> Parsed:
    """Reads a policy file. Raises PolicyInvalid: it cannot be read, is too large or not UTF-8."""
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a policy file. Raises PolicyInvalid: it cannot be read, is too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise PolicyInvalid(f"{path}: is larger than {FILE_BYTES_MAX:,} bytes")
        return content.decode("utf-8")
    except OSError as wrong:
        raise PolicyInvalid(f"{path}: {wrong.strerror or wrong}") from wrong
    except UnicodeDecodeError as wrong:
        raise PolicyInvalid(f"{path}: is not UTF-8 at byte {wrong.start}") from wrong


def parse_condition(text: str, where: str = "condition", levels: frozenset[Level] = frozenset(Level)) -> Condition:
    """One condition by itself, as partitions and rules have them. Raises PolicyInvalid.

    `levels`: what its variables may be about; `where` is what messages call it.
    """
    lines = list(logical_lines(text, where))
    if len(lines) != 1:
        raise PolicyInvalid(f"{where}: holds {len(lines)} lines; expected one condition")
    problems: list[Problem] = []
    reader = _LineReader(lines[0], problems, levels)
    condition = reader.guarded(reader.condition_alone)
    source.refuse(problems)
    assert condition is not None
    return condition


# ---- a whole policy --------------------------------------------------------------------------------------------------


@dataclass
class _Draft:
    """A policy while its lines come in."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    partition: str | None = None
    sites: dict[str, list[SiteLine]] = field(default_factory=lambda: {word: [] for word in _SITE_WORDS})
    lines: list[Line] = field(default_factory=list)
    default: Line | None = None
    order: tuple[OrderKey, ...] | None = None
    iterative: bool | None = None
    #: Kinds of lines that stand there, even with errors, so that they are not said to be missing too.
    seen: set[str] = field(default_factory=set)
    last: LogicalLine | None = None

    def read(self, line: LogicalLine) -> None:
        """Takes one logical line in."""
        self.last = line
        reader = _LineReader(line, self.problems)
        keyword = reader.scanner.name()
        word = keyword.text if keyword else ""
        self.seen.add(word)
        if keyword is None or word not in _KEYWORDS:
            token = keyword or reader.scanner.here()
            said = f"unknown word {token.text!r}{nearest(token.text, _KEYWORDS)}"
            self.problems.append(line.problem(token, said, f"one of {', '.join(_KEYWORDS)}"))
        elif word in ACTIONS:
            self._action(reader, ACTIONS[word], keyword)
        elif word in _SITE_WORDS:
            reader.levels = frozenset({Level.SITE})
            condition = reader.guarded(reader.condition_alone)
            if condition is not None:
                self.sites[word].append(SiteLine(condition, line.place(0, len(line.text))))
        else:
            self._setting(reader, keyword)

    def _action(self, reader: _LineReader, action: Action, keyword: Token) -> None:
        line = reader.line
        if reader.scanner.ended():
            self._warn_of_another(self.default, keyword, line, "default decision")
            self.default = Line(action, None, None, line.place(0, len(line.text)), line.text)
            return
        found = reader.guarded(reader.conditional)
        if found is not None:
            self.lines.append(Line(action, *found, line.place(0, len(line.text)), line.text))

    def _setting(self, reader: _LineReader, keyword: Token) -> None:
        if keyword.text == "Partition":
            self._warn_of_another(self.partition, keyword, reader.line, "Partition")
            self.partition = reader.guarded(reader.partition) or self.partition
        elif keyword.text == "Order":
            self._warn_of_another(self.order, keyword, reader.line, "Order")
            order = reader.guarded(reader.order)
            self.order = self.order if order is None else order
        else:
            self._warn_of_another(self.iterative, keyword, reader.line, "Algo")
            iterative = reader.guarded(reader.algorithm)
            self.iterative = self.iterative if iterative is None else iterative

    def _warn_of_another(self, before: object, keyword: Token, line: LogicalLine, what: str) -> None:
        if before is not None:
            self.problems.append(line.problem(keyword, f"a second {what}; the last one counts", warning=True))

    def finished(self) -> Parsed:
        """The policy, unless something was wrong or is missing."""
        end = Place(self.file, self.last.number if self.last else 1, 1, 1, self.last.parts[0][3] if self.last else "")
        for word in ("Partition", *_SITE_WORDS):
            if word not in self.seen:
                self.problems.append(Problem(end, f"the policy has no {word}", f"a line that begins with {word}"))
        if self.default is None:
            wanted = "an action without a condition, such as `Protect`"
            self.problems.append(Problem(end, "the policy has no default decision", wanted))
        if any(not problem.warning for problem in self.problems):
            return Parsed(None, self.problems)
        assert self.default is not None
        on, when, until = (tuple(self.sites[word]) for word in _SITE_WORDS)
        iterative = self.iterative is not False
        made = Policy(
            self.partition or "", on, when, until, tuple(self.lines), self.default, self.order or (), iterative
        )
        return Parsed(made, self.problems)


# ---- one line --------------------------------------------------------------------------------------------------------


class _LineReader:
    """Reads one logical line; what is wrong goes to `problems`."""

    def __init__(self, line: LogicalLine, problems: list[Problem], levels: frozenset[Level] = frozenset(Level)) -> None:
        self.line, self.scanner, self.problems, self.levels = line, Scanner(line), problems, levels
        self._depth = 0

    def guarded(self, read: Callable[[], T]) -> T | None:
        """What `read` gives, or None where something was wrong with the line."""
        before = len(self.problems)
        try:
            found = read()
        except Unexpected as wrong:
            self.problems.append(self.line.problem(wrong.token, wrong.said, wrong.expected))
            return None
        return found if len(self.problems) == before else None

    def condition_alone(self) -> Condition:
        """A condition up to the line's end, without a validity."""
        condition = self._either()
        self._require_end("`and`, `or` or the end of the line")
        return condition

    def _require_end(self, wanted: str) -> None:
        if not self.scanner.ended():
            here = self.scanner.here()
            said = "a parenthesis ends that has not begun" if here.text.startswith(")") else "text behind the condition"
            raise Unexpected(here, said, wanted)

    def conditional(self) -> tuple[Condition, Validity | None]:
        """A condition and its validity up to the line's end."""
        condition = self._either()
        validity = None
        if self.scanner.peek() in ("until", "from"):
            word = self.scanner.name()
            day = self.scanner.rest()
            assert word is not None
            if not day.text:
                raise Unexpected(day, f"the day behind `{word.text}` is missing", dates.FORMS)
            try:
                validity = Validity(word.text, dates.moment(day.text))
            except dates.DateInvalid as wrong:
                self.problems.append(self.line.problem(day, str(wrong), dates.FORMS))
        self._require_end("`and`, `or`, `until`, `from` or the end of the line")
        return condition, validity

    def partition(self) -> str:
        """The name of a partition."""
        token = self.scanner.rest()
        if not token.text:
            raise Unexpected(token, "Partition has no name", "the name of a partition")
        return token.text

    def order(self) -> tuple[OrderKey, ...]:
        """The keys of an Order line."""
        keys: list[OrderKey] = []
        if self.scanner.peek() == "none":
            self.scanner.name()
            if not self.scanner.ended():
                raise Unexpected(self.scanner.here(), "text behind `none`", "the end of the line")
        elif self.scanner.ended():
            raise Unexpected(self.scanner.here(), "Order has no keys", "`none`, or `increasing` or `decreasing`")
        while not self.scanner.ended():
            way = self.scanner.name()
            if way is None or way.text not in ("increasing", "decreasing"):
                at = way or self.scanner.here()
                raise Unexpected(at, "this is no way to order", "`increasing` or `decreasing`")
            keys += self._order_key(decreasing=way.text == "decreasing")
        return tuple(keys)

    def _order_key(self, *, decreasing: bool) -> list[OrderKey]:
        wanted = "a number or time of a dataset, replica or site"
        token = self.scanner.name()
        if token is None:
            raise Unexpected(self.scanner.here(), "there is no variable here", wanted)
        variable = self._known(token)
        if variable is None:
            return []
        if not (variable.kind.is_number or variable.kind is Kind.TIME) or variable.level is Level.BLOCK:
            said = f"{variable} is a {variable.kind.value} of a {variable.level.value}"
            self.problems.append(self.line.problem(token, said, wanted))
        return [OrderKey(variable, decreasing)]

    def algorithm(self) -> bool:
        """Whether an Algo line asks for iterations."""
        token = self.scanner.rest()
        if token.text not in ("Iterative", "Static"):
            said = f"unknown algorithm {token.text!r}" if token.text else "Algo names no algorithm"
            raise Unexpected(token, said, "`Iterative` or `Static`")
        return token.text == "Iterative"

    # ---- conditions --------------------------------------------------------------------------------------------------

    def _either(self) -> Condition:
        return self._joined("or", self._both, Either)

    def _both(self) -> Condition:
        return self._joined("and", self._part, Both)

    def _joined(
        self, word: str, read: Callable[[], Condition], made: Callable[[tuple[Condition, ...]], Condition]
    ) -> Condition:
        parts = [read()]
        while self.scanner.peek() == word:
            self.scanner.name()
            parts.append(read())
        return parts[0] if len(parts) == 1 else made(tuple(parts))

    def _part(self) -> Condition:
        if self.scanner.sign("("):
            return self._inside(self._either)
        word = self.scanner.peek()
        if word in ("any", "all"):
            token = self.scanner.name()
            assert token is not None
            if not self.scanner.sign("("):
                raise Unexpected(token, f"`{word}` needs parentheses", f"`{word}(…)`")
            if Level.REPLICA not in self.levels and Level.BLOCK not in self.levels:
                self.problems.append(self.line.problem(token, "a site has no blocks", "a condition on `site.*`"))
            return OfBlocks(word == "all", self._inside(self._either))
        return self._predicate()

    def _inside(self, read: Callable[[], Condition]) -> Condition:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Unexpected(self.scanner.here(), f"more than {DEPTH_MAX} parentheses within each other")
        found = read()
        self._depth -= 1
        if not self.scanner.sign(")"):
            raise Unexpected(self.scanner.here(), "a parenthesis has no end", "`and`, `or` or `)`")
        return found

    def _predicate(self) -> Condition:
        negated = self.scanner.peek() == "not" and self.scanner.name()
        token = None if self.scanner.peek() in STOP_WORDS else self.scanner.name()
        if token is None:
            wanted = "a boolean variable behind `not`" if negated else "a variable, `not` or `(`"
            raise Unexpected(self.scanner.here(), "there is no variable here", wanted)
        variable = self._known(token)
        operator = self._sign_operator() or self._word_operator()
        if operator is None:
            behind = self.scanner.peek() == "not" and self.scanner.name()
            return self._flag(token, variable, bool(negated), bool(behind))
        if negated:
            said = "`not` stands before a comparison"
            self.problems.append(self.line.problem(token, said, "a boolean variable, or the contrary comparison"))
        if variable is not None and operator.text not in OPERATORS[variable.kind]:
            self.problems.append(self.line.problem(operator, *_misfit(variable, operator.text)))
            variable = None
        values = self._values(variable, operator)
        return Flag(VARIABLES["never"]) if variable is None else Comparison(variable, operator.text, values)

    def _flag(self, token: Token, variable: Variable | None, negated: bool, behind: bool) -> Condition:
        if negated and behind:
            self.problems.append(self.line.problem(token, "`not` stands before and behind", "one `not`"))
        if variable is not None and variable.kind is not Kind.BOOLEAN:
            wanted = f"one of {' '.join(OPERATORS[variable.kind])}"
            here = self.scanner.here()
            said = f"{variable} is a {variable.kind.value}, not a boolean"
            if here.text and not here.text.startswith(")") and here.text not in STOP_WORDS:
                raise Unexpected(here, said, wanted)
            self.problems.append(self.line.problem(token, said, wanted))
        return Flag(variable or VARIABLES["never"], wanted=not (negated or behind))

    def _sign_operator(self) -> Token | None:
        signs = self.scanner.operator()
        if signs is None or signs.text in _SIGNS:
            return signs
        near = f" (did you mean {_MEANT[signs.text]!r}?)" if signs.text in _MEANT else ""
        raise Unexpected(signs, f"unknown sign {signs.text!r}{near}", f"one of {' '.join(_SIGNS)}, `and` or `or`")

    def _word_operator(self) -> Token | None:
        return self.scanner.name() if self.scanner.peek() in ("in", "notin", "older_than", "newer_than") else None

    def _values(self, variable: Variable | None, operator: Token) -> tuple[Value, ...]:
        if operator.text not in ("in", "notin"):
            return tuple(self._value(variable, operator, self.scanner.value()))
        if not self.scanner.sign("["):
            raise Unexpected(self.scanner.here(), f"`{operator.text}` needs a list", "`[`")
        values: list[Value] = []
        elements = 0
        while (token := self.scanner.element()) is not None:
            elements += 1
            if token.text.endswith(",") and not token.quoted:
                said = "a list's values are separated by blanks"
                self.problems.append(self.line.problem(token, said, "no comma, or the text in quotes"))
            if token.text in UNITS and variable is not None and variable.kind.is_number:
                said = "a list's values are separated by blanks"
                raise Unexpected(token, said, f"the unit at its number, such as `1{token.text}`")
            values += self._value(variable, operator, token)
        if not elements:
            self.problems.append(self.line.problem(operator, "the list is empty", "at least one value"))
        return tuple(values)

    def _value(self, variable: Variable | None, operator: Token, token: Token) -> list[Value]:
        if variable is None:
            return []
        if variable.kind is Kind.TEXT and not token.quoted and token.text.startswith("'") and token.text.endswith("'"):
            said = "the single quotes are part of the text; double quotes are not"
            self.problems.append(self.line.problem(token, said, warning=True))
        try:
            return [value_of(variable, operator.text, token.text)]
        except ValueUnfit as wrong:
            self.problems.append(self.line.problem(token, wrong.said, wrong.expected))
            return []

    def _known(self, token: Token) -> Variable | None:
        """The variable of a name; one that is unknown, or of a level that this line may not ask, is a problem."""
        variable = VARIABLES.get(token.text)
        if variable is None:
            said = f"unknown variable {token.text!r}"
            now = FORMER_NAMES.get(token.text)
            said += f" (now: {now!r})" if now else nearest(token.text, VARIABLES) or _of_that_name(token.text)
            self.problems.append(self.line.problem(token, said, "a variable"))
        elif variable.level not in self.levels:
            allowed = ", ".join(sorted(f"{level.value}.*" for level in self.levels))
            said = f"{variable} is about a {variable.level.value}"
            self.problems.append(self.line.problem(token, said, f"a condition on {allowed}"))
            return None
        return variable


def _of_that_name(text: str) -> str:
    """Variables that bear a name behind their dot: ` (did you mean …?)`, or nothing."""
    found = [repr(name) for name in VARIABLES if name.endswith(f".{text}")]
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _misfit(variable: Variable, operator: str) -> tuple[str, str]:
    said = f"`{operator}` does not fit {variable}, a {variable.kind.value}"
    if variable.kind is Kind.BOOLEAN:
        return said, f"`{variable}` or `not {variable}`"
    return said, f"one of {' '.join(OPERATORS[variable.kind])}"
