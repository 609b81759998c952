"""Logical lines of a policy, and the scanner that takes names, operators and values from one.

`#` at the start of a line or after a blank begins a comment, unless it stands in quotes; `\\` at a line's end continues
it on the next. A logical line remembers where each of its parts stood, so that every error points into the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from placement.policy.source import Place, Problem

#: Bytes of a policy: the largest campaign files known have 4,000 lines and half a megabyte.
FILE_BYTES_MAX = 16 << 20

#: A comment begins here, and a quoted text is passed over. An apostrophe in a word is no quote.
_COMMENT = re.compile(r'(?:(?<!\S)"(?:\\.|[^"\\])*"|(?<!\S)#.*|.)', re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_OPERATOR = re.compile(r"[=!<>~&|]+")
_BLANKS = re.compile(r"[ \t]*")
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"')
#: Words that end a value; a text that has them stands in quotes.
STOP_WORDS = ("and", "or", "until", "from")


@dataclass(frozen=True)
class Token:
    """A piece of a logical line, from offset `start` up to `end`."""

    text: str
    start: int
    end: int
    quoted: bool = False


class Unexpected(Exception):
    """The line cannot be read on from here."""

    def __init__(self, token: Token, said: str, expected: str = "") -> None:
        super().__init__(said)
        self.token, self.said, self.expected = token, said, expected


@dataclass(frozen=True)
class LogicalLine:
    """A line without its comment, continuations joined by a blank; `parts` are (offset, line, column, whole line)."""

    file: str
    text: str
    parts: tuple[tuple[int, int, int, str], ...]

    @property
    def number(self) -> int:
        return self.parts[0][1]

    def place(self, start: int, end: int) -> Place:
        """Where a run of its characters stands, as far as it stands in one line of the file."""
        at = max(index for index, part in enumerate(self.parts) if part[0] <= max(start, 0))
        offset, line, column, whole = self.parts[at]
        limit = self.parts[at + 1][0] - 1 if at + 1 < len(self.parts) else len(self.text)
        return Place(self.file, line, column + start - offset, max(1, min(end, limit) - start), whole)

    def problem(self, token: Token, said: str, expected: str = "", *, warning: bool = False) -> Problem:
        """A problem with one of its tokens."""
        return Problem(self.place(token.start, token.end), said, expected, warning)


def logical_lines(text: str, file: str) -> Iterator[LogicalLine]:
    """The lines of a policy that say something."""
    said: list[str] = []
    parts: list[tuple[int, int, int, str]] = []
    for number, whole in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        bare = _without_comment(whole).rstrip()
        continued = bare.endswith("\\") and bare == whole.rstrip()
        bare = bare[:-1].rstrip() if continued else bare
        stripped = bare.lstrip()
        if stripped:
            parts.append((sum(map(len, said)) + len(said), number, len(bare) - len(stripped) + 1, whole))
            said.append(stripped)
        if not continued and said:
            yield LogicalLine(file, " ".join(said), tuple(parts))
            said, parts = [], []
    if said:
        yield LogicalLine(file, " ".join(said), tuple(parts))


def _without_comment(line: str) -> str:
    if "#" not in line:
        return line
    kept = []
    for piece in _COMMENT.finditer(line):
        if piece[0][0] == "#" and (piece.start() == 0 or line[piece.start() - 1].isspace()):
            break
        kept.append(piece[0])
    return "".join(kept)


class Scanner:
    """Takes one piece after another from a logical line."""

    def __init__(self, line: LogicalLine) -> None:
        self.line, self._text, self.at = line, line.text, 0

    def skip(self) -> None:
        """Passes over blanks."""
        found = _BLANKS.match(self._text, self.at)
        self.at = found.end() if found else self.at

    def ended(self) -> bool:
        """Whether nothing but blanks is left."""
        self.skip()
        return self.at >= len(self._text)

    def here(self) -> Token:
        """What stands here, for messages: up to the next blank, nothing at the line's end."""
        self.skip()
        end = self.at
        while end < len(self._text) and self._text[end] not in " \t":
            end += 1
        return Token(self._text[self.at : end], self.at, end)

    def name(self) -> Token | None:
        """A keyword or variable, if one stands here."""
        return self._take(_NAME)

    def operator(self) -> Token | None:
        """Signs such as a comparison is made of, if there are some here."""
        return self._take(_OPERATOR)

    def sign(self, wanted: str) -> bool:
        """Takes one character, if it stands here."""
        self.skip()
        found = self._text.startswith(wanted, self.at)
        self.at += found
        return found

    def peek(self) -> str:
        """The name that stands here, not taken; empty where none does."""
        self.skip()
        found = _NAME.match(self._text, self.at)
        return found[0] if found else ""

    def _take(self, kind: re.Pattern[str]) -> Token | None:
        self.skip()
        found = kind.match(self._text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return Token(found[0], found.start(), found.end())

    def value(self) -> Token:
        """A value: in quotes, or up to a word that ends it or a closing parenthesis that is not its own."""
        if quoted := self._quoted():
            return quoted
        start = end = self.at
        words: list[str] = []
        while not self.ended():
            word = self._word("(", ")")
            if not word.text or (words and word.text in STOP_WORDS):
                break
            words.append(word.text)
            self.at = end = word.end
            if self._text.startswith(")", self.at):
                break
        if not words or words[0] in STOP_WORDS:
            self.at = start
            raise Unexpected(self.here(), "the value is missing", "a value behind the operator")
        return Token(" ".join(words), start, end)

    def element(self) -> Token | None:
        """An element of a list, or None at the bracket that ends it."""
        if self.ended():
            raise Unexpected(self.here(), "the list has no end", "`]`")
        if self.sign("]"):
            return None
        if quoted := self._quoted():
            return quoted
        word = self._word("[", "]")
        self.at = word.end
        return word

    def rest(self) -> Token:
        """All that is left of the line."""
        self.skip()
        token = Token(self._text[self.at :].rstrip(), self.at, len(self._text))
        self.at = len(self._text)
        return token

    def _quoted(self) -> Token | None:
        self.skip()
        if not self._text.startswith('"', self.at):
            return None
        found = _QUOTED.match(self._text, self.at)
        if found is None:
            raise Unexpected(self.here(), "the quoted text has no end", 'a second `"`')
        self.at = found.end()
        return Token(re.sub(r'\\(["\\])', r"\1", found[1]), found.start(), found.end(), quoted=True)

    def _word(self, opening: str, closing: str) -> Token:
        """Up to a blank, or to a closing sign whose opening one is not in the word; not taken."""
        self.skip()
        depth, end = 0, self.at
        while end < len(self._text) and self._text[end] not in " \t":
            depth += (self._text[end] == opening) - (self._text[end] == closing)
            if depth < 0:
                break
            end += 1
        return Token(self._text[self.at : end], self.at, end)
