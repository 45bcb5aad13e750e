"""The file of shared results: gzipped lines of JSON, a header first that says what follows and holds its hash."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from lrpolicy.errors import InputError
from lrpolicy.prototxt.files import replacing

FORMAT = "lrpolicy-results"
VERSION = 1
LONGEST_LINE = 64 << 20  # bytes; a trial with a curve of a million points has about 40 MB
_LONGEST_HEADER = 4096
_DAMAGED = "ask for the file again; nothing was imported"


@dataclass(frozen=True)
class Header:
    """The first line. `origin` is the UUID of the database that wrote the file, `lrpolicy` the version that did.

    `sha256` is over all later lines, then the header itself without `sha256` (JSON, keys sorted, no spaces).
    """

    format: str
    version: int
    origin: str
    lrpolicy: str
    runs: int
    trials: int
    sha256: str = ""

    def line(self) -> bytes:
        """The header as it stands in the file."""
        return _compact(asdict(self)) + b"\n"

    def finish(self, body: Any) -> str:
        """The hash, from that of the later lines, which it changes."""
        values = asdict(self)
        del values["sha256"]
        body.update(_compact(values))
        return str(body.hexdigest())


@dataclass
class Counts:
    """How many runs and trials the lines written hold."""

    runs: int = 0
    trials: int = 0


def write_results(path: Path, lines: Iterable[str], counts: Counts, origin: str, version: str) -> None:
    """Write a file, whole or not at all. `counts` is read when all lines are taken.

    Raises:
        InputError: the folder does not exist.
        RunError: the file cannot be written, as on a full disk.
    """
    digest = hashlib.sha256()
    with replacing(path) as temporary, tempfile.TemporaryFile(dir=path.parent) as body:
        with gzip.GzipFile(filename="", mode="wb", fileobj=body, mtime=0, compresslevel=6) as packed:
            for line in lines:
                content = line.encode() + b"\n"
                digest.update(content)
                packed.write(content)
        header = Header(FORMAT, VERSION, origin, version, counts.runs, counts.trials)
        header = Header(**asdict(header) | {"sha256": header.finish(digest)})
        body.seek(0)
        with temporary.open("wb") as file:
            file.write(gzip.compress(header.line(), mtime=0))
            shutil.copyfileobj(body, file)


class ResultsFile:
    """A file that somebody else wrote. The constructor reads the header; InputError says what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self.header = self._header(self._line(file, _LONGEST_HEADER))

    def verify(self) -> None:
        """Read all of it and compare its hash. Raises InputError for a file that is cut short or was changed."""
        for _ in self._lines():
            pass

    def records(self) -> Iterator[tuple[str, Any]]:
        """(place in the file, for messages; value) of every line after the header, the hash compared at the end.

        Raises:
            InputError: a line is no JSON object, or the file is not the one that was hashed.
        """
        for number, line in enumerate(self._lines(), start=2):
            where = f"{self.path}: line {number}"
            try:
                value = json.loads(line, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                raise InputError("a line must be one JSON object", where=where, remedy=_DAMAGED) from None
            yield where, value

    def _lines(self) -> Iterator[bytes]:
        digest, count = hashlib.sha256(), 0
        announced = self.header.runs + self.header.trials
        with self._open() as file:
            self._line(file, _LONGEST_HEADER)
            while (line := self._line(file, LONGEST_LINE)) and count < announced:
                digest.update(line)
                count += 1
                yield line
        if line or count < announced:
            found = "more" if line else count
            rule = f"the header announces {announced} lines"
            raise InputError(rule, where=str(self.path), got=found, remedy=_DAMAGED)
        if self.header.finish(digest) != self.header.sha256:
            rule = "the content does not have the hash in the header: the file is damaged or was changed"
            raise InputError(rule, where=str(self.path), remedy=_DAMAGED)

    @contextlib.contextmanager
    def _open(self) -> Iterator[gzip.GzipFile]:
        try:
            with gzip.GzipFile(self.path, "rb") as file:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if not self._begins_as_gzip():
                raise self._foreign("it is no gzip file") from None
            rule = "the file is cut short or damaged"
            raise InputError(rule, where=str(self.path), got=error, remedy=_DAMAGED) from None
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", where=str(self.path)) from None

    def _begins_as_gzip(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"

    def _line(self, file: gzip.GzipFile, longest: int) -> bytes:
        line = file.readline(longest + 1)
        if len(line) > longest:
            raise self._foreign(f"a line is longer than {longest} bytes")
        return line

    def _header(self, line: bytes) -> Header:
        try:
            values = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise self._foreign("its first line is no header") from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise self._foreign("its first line is no header")
        version = values.get("version")
        if isinstance(version, int) and version > VERSION:
            rule = f"the file has version {version} of the format, this lrpolicy reads up to {VERSION}"
            raise InputError(rule, where=str(self.path), remedy="upgrade lrpolicy; nothing was imported")
        if values.keys() != {field.name for field in fields(Header)} or not _is_header(values):
            raise InputError("the header is damaged", where=str(self.path), remedy=_DAMAGED)
        return Header(**values)

    def _foreign(self, reason: str) -> InputError:
        remedy = "give a file that `lrpolicy db export` wrote; nothing was imported"
        return InputError(f"this is not a file of shared results: {reason}", where=str(self.path), remedy=remedy)


def _is_header(values: dict[str, Any]) -> bool:
    counts = [values["version"], values["runs"], values["trials"]]
    texts = [values["origin"], values["lrpolicy"], values["sha256"]]
    if not all(type(count) is int and 0 <= count < 1 << 40 for count in counts):
        return False
    if values["version"] != VERSION or not all(isinstance(text, str) for text in texts):
        return False
    try:
        uuid.UUID(values["origin"])
    except ValueError:
        return False
    return True


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
