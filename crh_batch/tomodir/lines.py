"""Lines as gfortran's READ statements see them: CRTomo and CRMod know no other syntax than this.

``READ(unit, '(a)')`` takes the next line as text, ``READ(unit, *)`` ("list-directed") takes values, passes over
blank lines until it has enough of them, and drops the rest of the line where it found the last one. Both go on
after a value they can't read, and the programs make use of that. All of it was seen with CRTomo_stable and
CRMod_stable of crtomo_bin_wrapper 0.2.0, which were given one odd line after another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Union

from crh_batch.errors import ConfigError

Value = Union[int, float, bool, None]

# A value ends at a blank, a tab, a comma, a semicolon or a slash; a slash also ends the READ.
_TOKEN = re.compile(rb"[ \t]*(?:(?P<word>[^ \t,;/]+)[ \t]*[,;]?|(?P<null>[,;])|(?P<slash>/))")
_REPEATED = re.compile(rb"(\d{1,9})\*(.*)", re.DOTALL)
_INTEGER = re.compile(rb"[+-]?\d+")
_REAL = re.compile(rb"([+-]?(?:\d+\.?\d*|\.\d+))(?:[edqEDQ]([+-]?\d+)|([+-]\d+))?")
_NOT_FINITE = re.compile(rb"[+-]?(inf|infinity|nan(\(\w*\))?)", re.IGNORECASE)
# Control characters but tab, line feed, carriage return, form feed, and the end mark of old editors.
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_TEXT_BYTES_EACH = 50
_LOGICAL = re.compile(rb"\.?([tTfF])")
_SMALLEST_INTEGER, _LARGEST_INTEGER = -(2**31), 2**31 - 1


class EndOfLines(Exception):
    """A READ went past the last line."""


class NotAValue(Exception):
    """A READ found a text that is not of the kind it wants.

    Args:
        text: the whole line.
        line: the line, counted from 1.
    """

    def __init__(self, text: bytes, line: int) -> None:
        super().__init__(text, line)
        self.text = text.decode("utf-8", "replace").strip()
        self.line = line


def not_text(path: str, data: bytes, error: ConfigError) -> ConfigError:
    """Return what to say of a refused file: that it is no text, if it is none, instead of what its lines lack."""
    found = _NOT_TEXT.search(data)
    # A single one in a text is better named by its line.
    if found is None or len(_NOT_TEXT.findall(data)) * _TEXT_BYTES_EACH < len(data):
        return error
    return ConfigError(
        f"{path}: is not a text file (byte {found.start() + 1} is {found.group()[0]})",
        "Put the right file there; it may have been damaged, or another file has its name.",
        path,
    )


class FortranLines:
    """A file's lines and the place of the next READ.

    Args:
        data: the file's bytes; LF or CRLF ends a line, the last one needs no end.
    """

    def __init__(self, data: bytes) -> None:
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        self._lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        self._next = 0

    @property
    def line(self) -> int:
        """The line that the last READ ended in, counted from 1; 0 before the first READ."""
        return self._next

    def line_with(self, part: bytes) -> int:
        """Return the first line that holds ``part``, counted from 1, or 0."""
        return next((number for number, line in enumerate(self._lines, 1) if part in line), 0)

    def back(self) -> None:
        """Go one line back, as BACKSPACE does."""
        self._next = max(0, self._next - 1)

    def text(self, width: int) -> bytes:
        """Take the next line's first ``width`` bytes, as READ with '(a)' does into CHARACTER(width)."""
        if self._next >= len(self._lines):
            raise EndOfLines
        self._next += 1
        return self._lines[self._next - 1][:width]

    def values(self, *kinds: str) -> list[Value]:
        """Take one value for each of ``kinds``, as READ with * does.

        Args:
            kinds: "integer", "real" or "logical" each.

        Returns:
            The values; None where the file leaves one out (``,`` or ``/``), so that the program keeps an old one.

        Raises:
            EndOfLines: fewer values than kinds.
            NotAValue: the next READ goes on after that line.
        """
        values: list[Value] = []
        while len(values) < len(kinds):
            if self._next >= len(self._lines):
                raise EndOfLines
            line = self._lines[self._next]
            self._next += 1
            for word in _words(line):
                if word is None:
                    return values + [None] * (len(kinds) - len(values))
                count, word = _repeated(word, len(kinds) - len(values))
                for _ in range(count):
                    try:
                        values.append(_convert(word, kinds[len(values)]))
                    except ValueError:
                        raise NotAValue(line, self._next) from None
                if len(values) == len(kinds):
                    break
        return values

    def skip_comments(self) -> None:
        """Pass over comment lines as CRTomo does before each of its READs.

        Blanks before ``#`` are allowed in the first of consecutive comments alone, a tab never (seen).
        """
        if self._next >= len(self._lines) or not self._lines[self._next].lstrip(b" ").startswith(b"#"):
            return
        self._next += 1
        while self._next < len(self._lines) and self._lines[self._next].startswith(b"#"):
            self._next += 1


def _words(line: bytes) -> Iterator[bytes | None]:
    """Give a line's values as text, b"" for one that is left out, and None for the slash that ends the READ."""
    # Blanks at the end are tried from each of them on, which takes hours for a million.
    for match in _TOKEN.finditer(line.rstrip(b" \t")):
        if match.group("slash"):
            yield None
            return
        yield match.group("word") or b""


def _repeated(word: bytes, wanted: int) -> tuple[int, bytes]:
    """Take ``3*1.5`` apart; ``wanted`` bounds the count."""
    match = _REPEATED.fullmatch(word)
    return (min(int(match.group(1)), wanted), match.group(2)) if match else (1, word)


def _convert(word: bytes, kind: str) -> Value:
    if not word:
        return None
    if kind == "logical":
        match = _LOGICAL.match(word)
        if match:
            return match.group(1) in b"tT"  # T, .true., and also "tomato" (seen)
    elif kind == "integer":
        # The length comes first: converting a million digits takes minutes.
        if _INTEGER.fullmatch(word) and len(word.lstrip(b"+-0")) <= 10:
            number = int(word.lstrip(b"+-0") or b"0") * (-1 if word.startswith(b"-") else 1)
            if _SMALLEST_INTEGER <= number <= _LARGEST_INTEGER:
                return number
    elif _NOT_FINITE.fullmatch(word):
        return float(word[: 4 if word[:1] in b"+-" else 3])
    else:
        match = _REAL.fullmatch(word)
        if match:
            exponent = (match.group(2) or match.group(3) or b"0").decode("ascii")
            return float(f"{match.group(1).decode('ascii')}e{exponent}")
    raise ValueError(word)
