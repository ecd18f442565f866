"""
Takes files of SQL apart: into statements, and each into words, of which some are parameters.

The cut only decides which text is judged together. No character is left out of it, so that a wrong cut ends in a text
that the database's grammar rejects, and not in one that nobody has looked at.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from partywall.errors import SetupError

__all__ = ["Numbered", "Parameter", "Statement", "excerpt", "parameters_of", "split", "without_values"]

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_POSTGRESQL = re.compile(
    rf"""
    (?P<space>[ \t\r\n\f\v]+)
    |(?P<comment>--[^\r\n]*|/\*)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)
        |(?:[uU]&|[bBxXnN])?'(?:[^']|'')*(?:'|\Z)
        |\$(?P<tag>(?:[{_LETTER}][0-9{_LETTER}]*)?)\$.*?(?:\$(?P=tag)\$|\Z))
    |(?P<quoted>(?:[uU]&)?"(?:[^"]|"")*(?:"|\Z))
    |(?P<parameter>(?<![:\w]):(?P<name>\w+)|%\((?P<percent>\w+)\)s|\$(?P<number_of>[0-9]+)|%s(?![\w$]))
    |(?P<word>[{_LETTER}][0-9${_LETTER}]*)
    |(?P<number>\.?[0-9][\w.]*(?:(?<=[eE])[+-][0-9]+)?)
    |(?P<other>::|:=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SQLITE = re.compile(
    rf"""
    (?P<space>[ \t\r\n\f]+)
    |(?P<comment>--[^\n]*|/\*)
    |(?P<string>[xX]?'(?:[^']|'')*(?:'|\Z))
    |(?P<quoted>"(?:[^"]|"")*(?:"|\Z)|`(?:[^`]|``)*(?:`|\Z)|\[[^\]]*(?:\]|\Z))
    |(?P<parameter>[:@$](?P<name>[0-9${_LETTER}]+)|\?(?P<number_of>[0-9]*))
    |(?P<word>[{_LETTER}][0-9${_LETTER}]*)
    |(?P<number>\.?[0-9][\w.]*(?:(?<=[eE])[+-][0-9]+)?)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
_MARKS = {"postgresql": "$", "sqlite": ":p"}  # as the proof wants them
_USED = {"postgresql": re.compile(r"\$([0-9]{1,9})"), "sqlite": re.compile(r":p([0-9]{1,9})")}


@dataclass(frozen=True)
class Parameter:
    """
    A parameter as it stands in a file.

    Attributes:
        style: Its first character.
        name: Its name, or for a positional one what it looks like and its number: ``$1``, ``?2``, ``%s 3``.
        is_positional: Whether it has no name.
    """

    style: str
    name: str
    is_positional: bool

    def __str__(self) -> str:
        if self.is_positional:
            return self.name
        return f"{self.style if self.style in '@$' else ':'}{self.name}"


@dataclass(frozen=True)
class _Word:
    kind: str
    start: int
    text: str
    parameter: Parameter | None = None


@dataclass(frozen=True)
class Numbered:
    """
    A statement as the proof reads it.

    Attributes:
        sql: With numbered parameters.
        parameters: What the numbers stand for.
    """

    sql: str
    parameters: dict[int, Parameter]
    _starts: tuple[tuple[int, int], ...]

    def origin(self, position: int) -> int:
        """Return where a character of `sql` stands in the file."""
        last = bisect_right(self._starts, position, key=lambda pair: pair[0]) - 1
        start, original = self._starts[last]
        return original + position - start


@dataclass(frozen=True)
class Statement:
    """
    One statement of a file, with the comments before it.

    Attributes:
        start: Offset of its first word in the file.
        text: From its first word to its last.
        words: All that it is made of, comments included.
    """

    start: int
    text: str
    words: Sequence[_Word]

    def numbered(self, dialect: str) -> Numbered:
        """Return it with numbered parameters; no number is one that stands in the text already."""
        whole = "".join(word.text for word in self.words)
        taken = {int(number) for number in _USED[dialect].findall(whole)}
        free = (number for number in itertools.count(1) if number not in taken)
        numbers: dict[Parameter, int] = {}
        parts, starts, length = [], [(0, self.words[0].start)], 0
        for word in self.words:
            text = word.text
            if word.parameter is not None:
                if word.parameter not in numbers:
                    numbers[word.parameter] = next(free)
                text = f"{_MARKS[dialect]}{numbers[word.parameter]}"
            starts.append((length, word.start))
            parts.append(text)
            length += len(text)
        return Numbered("".join(parts), {number: each for each, number in numbers.items()}, tuple(starts))


def _words(sql: str, dialect: str) -> Iterator[_Word]:
    if dialect not in _WORDS:
        raise SetupError(f"SQL of {' and '.join(_WORDS)} can be read, not of {dialect}.")
    position, count = 0, 0
    while position < len(sql):
        found = _WORDS[dialect].match(sql, position)
        assert found is not None  # noqa: S101  # the last alternative is any character
        kind, end, parameter = str(found.lastgroup), found.end(), None
        if found["comment"] is not None:
            kind = "comment"
            if found["comment"] == "/*":
                closed = _comment_end(sql, end, nested=dialect == "postgresql")
                kind = "other" if closed is None else "comment"  # one without an end is judged as well
                end = len(sql) if closed is None else closed
        elif found["string"] is not None:
            kind = "string"
        elif found["parameter"] is not None:
            kind = "parameter"
            style, groups = found["parameter"][0], found.groupdict()
            name = groups["name"] or groups.get("percent")
            if name is None and not groups["number_of"]:
                count += 1
            number = f"%s {count}" if style == "%" else f"{style}{groups['number_of'] or count}"
            parameter = Parameter(style, name or number, is_positional=name is None)
        yield _Word(kind, position, sql[position:end], parameter)
        position = end


def _comment_end(sql: str, position: int, *, nested: bool) -> int | None:
    """Return where a comment ends whose opening ends at *position*; None if it does not."""
    depth = 1
    for found in re.compile(r"/\*|\*/").finditer(sql, position):
        if found[0] == "*/":
            depth -= 1
        elif nested:
            depth += 1
        if depth == 0:
            return found.end()
    return None


def split(sql: str, dialect: str) -> list[Statement]:
    """
    Cut SQL into statements: at each semicolon but those in parentheses and in the bodies of functions and triggers.

    Raises:
        SetupError: The dialect is one we know nothing about.
    """
    found: list[Statement] = []
    words: list[_Word] = []
    depth = 0
    for word in _words(sql, dialect):
        if word.text == ";" and depth <= 0 and not _is_in_body(words):
            found += _statement(words)
            words, depth = [], 0
        else:
            words.append(word)
            depth += (word.text == "(") - (word.text == ")")
    return found + _statement(words)


def _is_in_body(words: Sequence[_Word]) -> bool:
    """Whether a semicolon after these words stands in the body of what is created; as psql judges it (psqlscan.l)."""
    names = [word.text.upper() for word in words if word.kind == "word"]
    if names[:1] != ["CREATE"] or not {"FUNCTION", "PROCEDURE", "TRIGGER"} & set(names[1:4]):
        return False
    depth = 0
    for name in names:
        if name == "BEGIN" or (name == "CASE" and depth):
            depth += 1
        elif name == "END" and depth:
            depth -= 1
    return depth > 0


def _statement(words: list[_Word]) -> list[Statement]:
    meant = [word for word in words if word.kind not in ("space", "comment")]
    if not meant:
        return []
    text = "".join(word.text for word in words if meant[0].start <= word.start <= meant[-1].start)
    return [Statement(meant[0].start, text, words)]


def parameters_of(sql: str, dialect: str) -> list[Parameter]:
    """Return the parameters of SQL in the order in which they stand there."""
    return [word.parameter for word in _words(sql, dialect) if word.parameter is not None]


_VALUES = {"string": "<string>", "number": "<number>"}


def excerpt(statement: Statement, *, length: int = 100) -> str:
    """Return the beginning of a statement on one line, without comments, and without the values in it."""
    shown = "".join(
        " " if word.kind in ("space", "comment") else _VALUES.get(word.kind, word.text) for word in statement.words
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= length else f"{shown[: length - 4]} ..."


def without_values(reason: str, statement: Statement) -> str:
    """Return what a parser said of a statement without the values that it quotes from it."""
    for word in statement.words:
        if word.kind == "string":
            reason = reason.replace(word.text, _VALUES["string"])
        elif word.kind == "number":
            reason = reason.replace(f'"{word.text}"', _VALUES["number"])
    return " ".join(reason.split())
