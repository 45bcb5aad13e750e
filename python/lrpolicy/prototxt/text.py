"""Prototxt text: parsed by protobuf itself, with the line of every field kept beside the message.

protobuf's parser tells the line of a syntax error and forgets all others. A second pass over the text, run only on
what protobuf has accepted, finds where each field stands, so that a rule broken by a value can name its line too.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor as Field

from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.prototxt.messages import is_repeated

MAX_LINE = 10_000  # protobuf's parser takes quadratic time in the length of a line.
MAX_DEPTH = 50  # Caffe's own files nest 6 deep; protobuf's parser recurses, so depth is bounded before it runs.

_TOKEN = re.compile(
    r"""[^\S\n]+|#[^\n]*|(?P<newline>\n)|(?P<token>"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[\w.+-]+|.)"""
)
_OPEN, _CLOSE, _QUOTES = {"{", "<"}, {"}", ">"}, {'"', "'"}

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class UnknownField:
    """A field that Caffe's message does not have: where it stands, its value as written, the names that are known."""

    where: str
    message: str
    name: str
    value: str | None
    known: tuple[str, ...]

    @property
    def nearest(self) -> str | None:
        """The known name most like this one, or None."""
        return next(iter(difflib.get_close_matches(self.name, self.known, n=1, cutoff=0.6)), None)

    def error(self, reason: str | None = None) -> InputError:
        """The error that refuses the field; `reason` says what it is where that is known."""
        remedy = reason or (f'did you mean "{self.nearest}"?' if self.nearest else None)
        return InputError(f'{self.message} has no field "{self.name}"', where=self.where, remedy=remedy)


@dataclass(frozen=True)
class Document:
    """A parsed prototxt: the message, the path as messages show it, and the line of every field."""

    message: Any
    path: str
    lines: dict[Path_, int] = field(default_factory=dict)
    unknown: tuple[UnknownField, ...] = ()

    def where(self, *field_path: str | int) -> str:
        """ "file:line" of a field, or of the nearest block around it that stands in the file, or the file alone.

        A path alternates names and indices, `where("layer", 3, "param", 1, "lr_mult")`; index 0 may be left out.
        """
        full = _with_indices(field_path)
        for length in range(len(full), 0, -2):
            if full[:length] in self.lines:
                return f"{self.path}:{self.lines[full[:length]]}"
        return self.path


def read_text(path: str | Path) -> str:
    """The text of a prototxt file. Raises InputError for a file that cannot be read or is not UTF-8 text."""
    path = Path(path)
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise InputError("no such file", where=str(path)) from None
    except IsADirectoryError:
        raise InputError("this is a directory; a prototxt file is needed", where=str(path)) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"this is no prototxt: byte {error.start} is not UTF-8 text", where=f"{path}:{line}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None


def parse(text: str, message: Any, path: str) -> Document:
    """Parse `text` into the empty `message`.

    Fields that the message does not have are left out of it and listed in `Document.unknown`.

    Raises:
        InputError: the text is empty or not prototxt, a value has the wrong type or an unknown name, a singular field
            stands twice, a required one is missing, a number is not finite, blocks nest deeper than MAX_DEPTH, or a
            line is longer than MAX_LINE.
    """
    if text.startswith("\ufeff"):
        rule = "the file begins with a byte order mark, which Caffe does not read"
        raise InputError(rule, where=f"{path}:1", remedy="save it as UTF-8 without it")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise InputError(f"a line is longer than {MAX_LINE} characters", where=f"{path}:{number}", got=len(line))
    tokens = _tokens(text)
    if not tokens:
        raise InputError("the file is empty", where=path)
    _check_depth(tokens, path)
    try:
        text_format.Parse(text, message, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise _syntax_error(error, message.DESCRIPTOR, path) from None
    scan = _Scan(tokens, path)
    scan.block(message.DESCRIPTOR, ())
    document = Document(message, path, scan.lines, tuple(scan.unknown))
    for missing in message.FindInitializationErrors():
        raise InputError(f"{missing} is required and missing", where=document.where(*_dotted(missing)))
    _check_finite(message, document, ())
    return document


def _check_finite(message: Any, document: Document, path: Path_) -> None:
    """Refuse inf and nan, which text can spell or a huge number become, in any float field."""
    for descriptor, value in message.ListFields():
        for index, item in enumerate(value if is_repeated(descriptor) else [value]):
            here = (*path, descriptor.name, index)
            if descriptor.message_type:
                _check_finite(item, document, here)
            elif isinstance(item, float) and not math.isfinite(item):
                raise InputError(f"{descriptor.name} must be finite", where=document.where(*here), got=item)


def _with_indices(path: Iterable[str | int]) -> Path_:
    """The same path with the index 0 written out after every name that has none."""
    full: list[str | int] = []
    for part in path:
        if isinstance(part, str) and len(full) % 2:
            full.append(0)
        full.append(part)
    return tuple(full) if len(full) % 2 == 0 else (*full, 0)


def _dotted(path: str) -> Path_:
    """protobuf's own path notation, `layer[2].clip_param.max`, as a field path."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"\w+", path))


def _tokens(text: str) -> list[tuple[str, int]]:
    """The tokens with their lines (from 1); comments and blanks left out."""
    tokens, line = [], 1
    for match in _TOKEN.finditer(text):
        if match["newline"]:
            line += 1
        elif match["token"]:
            tokens.append((match["token"], line))
    return tokens


def _check_depth(tokens: list[tuple[str, int]], path: str) -> None:
    depth = 0
    for token, line in tokens:
        depth += (token in _OPEN or token == "[") - (token in _CLOSE or token == "]")
        if depth > MAX_DEPTH:
            raise InputError(f"blocks nest deeper than {MAX_DEPTH}", where=f"{path}:{line}")


def _syntax_error(error: text_format.ParseError, root: Descriptor, path: str) -> InputError:
    line = error.GetLine()
    where = path if line is None else f"{path}:{line}"
    rule = re.sub(r"^\d+:\d+ : (?:(?:'.*?'|\".*?\"): (?=[A-Z]))?", "", str(error), flags=re.DOTALL)
    if match := re.search(r'Enum type "([\w.]+)" has no value (?:named|with number) (\S+?)\.?$', rule):
        enum = root.file.pool.FindEnumTypeByName(match[1])
        return InputError(
            f'{enum.name} "{match[2]}" is unknown', where=where, remedy=did_you_mean(match[2], _names(enum))
        )
    rule = re.sub(
        r'Message type "caffe\.([\w.]+)" should not have multiple (".*") fields\.', r"\2 of \1 stands twice", rule
    )
    rule = " ".join(rule.replace("caffe.", "").split()).rstrip(".")
    rule = "".join(char if char.isprintable() else repr(char)[1:-1] for char in rule)
    return InputError(rule[:1].lower() + rule[1:] if rule[1:2].islower() else rule, where=where)


def _names(enum: Any) -> list[str]:
    return [value.name for value in enum.values]


class _Scan:
    """Walks the tokens of a text that protobuf has accepted and notes the line of each field."""

    def __init__(self, tokens: list[tuple[str, int]], path: str) -> None:
        self.lines: dict[Path_, int] = {}
        self.unknown: list[UnknownField] = []
        self._tokens = [*tokens, ("", 0)]
        self._next = 0
        self._path = path

    def block(self, descriptor: Descriptor | None, path: Path_) -> None:
        """Read fields until the block's end; `descriptor` is None inside an unknown field."""
        seen: Counter[str] = Counter()
        while (token := self._peek()) not in _CLOSE and token:
            name, line = self._take()
            if name in {",", ";"}:
                continue
            known = descriptor.fields_by_name.get(name) if descriptor else None
            if self._peek() == ":":
                self._take()
            first = self._next
            self._value(known, (*path, name), seen, line)
            if descriptor and known is None:
                self._note_unknown(descriptor, name, line, first)

    def _value(self, known: Field | None, path: Path_, seen: Counter[str], line: int) -> None:
        if self._peek() == "[":
            self._take()
            while (token := self._peek()) != "]" and token:
                if token == ",":
                    self._take()
                else:
                    self._value(known, path, seen, self._tokens[self._next][1])
            self._take()
            return
        here = (*path, seen[str(path[-1])])
        seen[str(path[-1])] += 1
        if known:
            self.lines[here] = line
        if self._peek() in _OPEN:
            self._take()
            self.block(known.message_type if known else None, here)
            self._take()
            return
        while self._take()[0][:1] in _QUOTES and self._peek()[:1] in _QUOTES:
            pass  # strings side by side are one string

    def _note_unknown(self, descriptor: Descriptor, name: str, line: int, first: int) -> None:
        value = self._tokens[first][0] if self._next == first + 1 else None
        known = tuple(descriptor.fields_by_name)
        self.unknown.append(UnknownField(f"{self._path}:{line}", descriptor.name, name, value, known))

    def _peek(self) -> str:
        return self._tokens[self._next][0]

    def _take(self) -> tuple[str, int]:
        taken = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return taken


def to_text(message: Any) -> str:
    """A message as prototxt."""
    return str(text_format.MessageToString(message))
