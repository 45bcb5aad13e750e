"""The patch of one Caffe tree as values: what its files are, what they would be with and without our blocks."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from insertions import CONFLICTS, INSERTIONS, TOUCHED, Conflict, Insertion, Scope, new_files

BEGIN = "// lrpolicy: inserted from here"
END = "// lrpolicy: to here"
OURS = "// lrpolicy: this file was added by its Caffe patch, which can take it out again.\n"


class PatchError(Exception):
    """The tree cannot be patched, or undone; the text says where, why, and what to do."""


@dataclass(frozen=True)
class Change:
    """A file of the tree: its text now, without us, and with us. None stands for no such file."""

    path: str
    now: str | None
    without: str | None
    patched: str | None

    @property
    def state(self) -> str:
        """One of: unpatched, patched, both (the patch has nothing to do here), older (patched, other text), part."""
        if self.without == self.patched == self.now:
            return "both"
        if self.now in (self.without, self.patched):
            return "unpatched" if self.now == self.without else "patched"
        return "older" if self.patched is None or _blocks(self.now) == _blocks(self.patched) else "part"


def read(tree: Path) -> list[Change]:
    """All files of the tree that the patch touches or adds. Raises PatchError where the tree is no Caffe or a fork."""
    now, without = _touched(tree)
    for conflict in CONFLICTS:
        _refuse(conflict, without[conflict.path])
    changes = [Change(path, now[path], without[path], insert(path, without[path])) for path in TOUCHED]
    added = new_files()
    changes += [_added(tree, path, text) for path, text in added.items()]
    return changes + [Change(path, OURS, None, None) for path in _files_of_ours(tree) if path not in added]


def undone(tree: Path) -> dict[str, str | None]:
    """What to write to undo the patch: works on half a patch too. Raises PatchError where the tree is no Caffe."""
    now, without = _touched(tree)
    texts: dict[str, str | None] = {path: without[path] for path in TOUCHED if now[path] != without[path]}
    return texts | dict.fromkeys(_files_of_ours(tree))


def state_of(changes: list[Change]) -> str:
    """One of: unpatched, patched, patched by another version, half-patched.

    An added file that is not there tells of another version, which did not add it; Caffe's own files decide.
    """
    touched = {change.state for change in changes if change.without is not None} - {"both"}
    added = {change.state for change in changes if change.without is None}
    if touched == {"unpatched"} and added == {"unpatched"}:
        return "unpatched"
    if touched | added == {"patched"}:
        return "patched"
    return "patched by another version" if touched <= {"patched", "older"} else "half-patched"


def insert(path: str, text: str) -> str:
    """The text of an unpatched file with our blocks. Raises PatchError where an anchor is missing or ambiguous."""
    lines = split_lines(text)
    blocks: list[tuple[int, str]] = []
    for insertion in INSERTIONS:
        if insertion.path == path:
            index = _anchor(insertion, lines)
            if index is not None:
                newline = "\r\n" if lines[index].endswith("\r\n") else "\n"
                block = f"{BEGIN}\n{insertion.text()}{END}\n".replace("\n", newline)
                blocks.append((index if insertion.before else index + 1, block))
    for index, block in sorted(blocks, reverse=True, key=lambda placed: placed[0]):
        lines.insert(index, block)
    return "".join(lines)


def strip(path: str, text: str) -> str:
    """The text of a patched file without our blocks: what it was before. Raises PatchError for a damaged block."""
    kept: list[str] = []
    begun = 0
    for number, line in enumerate(split_lines(text), start=1):
        mark = line.rstrip("\r\n")
        if mark == (BEGIN if begun else END):
            raise PatchError(f"{path}:{number}: a block of ours is damaged here; mend its marks, or take a fresh tree")
        if mark == BEGIN:
            begun = number
        elif mark == END:
            begun = 0
        elif not begun:
            kept.append(line)
    if begun:
        raise PatchError(f"{path}:{begun}: a block of ours begins here and never ends; take a fresh tree")
    return "".join(kept)


def split_lines(text: str) -> list[str]:
    """The lines with their ends. A line ends at a newline only: splitlines() also ends it at a form feed."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def write(tree: Path, texts: dict[str, str | None]) -> None:
    """Give the files of the tree these texts (None: no file), all of them or none. Raises PatchError."""
    for path in texts:
        if (tree / path).is_symlink():
            remedy = "put a copy there, or patch the tree that it points into"
            raise PatchError(f"{tree / path} is a symbolic link, of which the patch would make a file; {remedy}")
    before = {path: (tree / path).read_bytes() if (tree / path).exists() else None for path in texts}
    staged: dict[str, Path] = {}
    done: list[str] = []
    path = ""
    try:
        for path, text in texts.items():
            if text is not None:
                staged[path] = _stage(tree / path, text.encode("utf-8", "surrogateescape"))
        with _undisturbed():
            for path in texts:
                _put(tree / path, staged.get(path))
                done.append(path)
    except OSError as error:
        _put_back(tree, {path: before[path] for path in done})
        raise PatchError(f"{tree / path}: {error.strerror}; nothing was changed") from None
    finally:
        for path in {*texts, *TOUCHED, *new_files()}:  # of a run that was killed, too
            _staged(tree / path).unlink(missing_ok=True)
        _remove_if_empty(tree / "include" / "lrpolicy")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM are not heard in the moment in which files are moved: they would leave half a patch."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _put_back(tree: Path, contents: dict[str, bytes | None]) -> None:
    path = ""
    try:
        for path, content in contents.items():
            _put(tree / path, None if content is None else _stage(tree / path, content))
    except OSError as error:
        reason = f"{tree / path}: {error.strerror}; the tree is half-patched now"
        raise PatchError(f"{reason}: make it writable, then use --revert") from None


def _touched(tree: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The touched files as they are, and without our blocks."""
    for path in TOUCHED:
        if not (tree / path).is_file():
            raise PatchError(f"{tree} is not a Caffe source tree: it has no {path}")
    now = {path: _read_text(tree / path) for path in TOUCHED}
    return now, {path: strip(path, text) for path, text in now.items()}


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise PatchError(f"{path}: {error.strerror}") from None


def _blocks(text: str | None) -> int:
    return 0 if text is None else sum(line.startswith((BEGIN, OURS.strip())) for line in text.splitlines())


def _added(tree: Path, path: str, text: str) -> Change:
    now = _read_text(tree / path) if (tree / path).exists() else None
    if now is not None and not now.startswith(OURS):
        raise PatchError(f"{path}:1: there is a file of this name already, and it is not ours; move it away")
    return Change(path, now, None, OURS + text)


def _files_of_ours(tree: Path) -> list[str]:
    """The files that this patch added, or an older one."""
    headers = [path.relative_to(tree).as_posix() for path in sorted(tree.glob("include/lrpolicy/*.hpp"))]
    places = dict.fromkeys([*new_files(), *headers])
    return [place for place in places if (tree / place).exists() and _read_text(tree / place).startswith(OURS)]


def _refuse(conflict: Conflict, text: str) -> None:
    lines = split_lines(text)
    first, end = _range(conflict.path, conflict.scope, lines)
    for index in range(first, end):
        if re.search(conflict.pattern, lines[index]):
            raise PatchError(
                f"{conflict.path}:{index + 1}: there is {conflict.what} already: {lines[index].strip()}\n"
                "  This is another fork of Caffe, or patched by hand; start from BVLC's or Debian's Caffe."
            )


def _anchor(insertion: Insertion, lines: list[str]) -> int | None:
    first, end = _range(insertion.path, insertion.scope, lines)
    found = [index for index in range(first, end) if re.search(insertion.anchor, lines[index])]
    if len(found) == 1:
        return found[0]
    if not found and insertion.optional:
        return None
    where = f" in {insertion.scope.name} (lines {first + 1} to {end})" if insertion.scope else ""
    raise PatchError(_not_once(f"{insertion.path}:{first + 1}", f"{insertion.anchor}{where}", found))


def _range(path: str, scope: Scope | None, lines: list[str]) -> tuple[int, int]:
    """The scope's lines, as indices [first, end)."""
    if scope is None:
        return 0, len(lines)
    begins = [index for index, line in enumerate(lines) if re.search(scope.begin, line)]
    if len(begins) != 1:
        raise PatchError(_not_once(f"{path}:1", f"{scope.begin} ({scope.name})", begins))
    for index in range(begins[0] + 1, len(lines)):
        if re.search(scope.end, lines[index]):
            return begins[0], index + 1
    raise PatchError(f"{path}:{begins[0] + 1}: {scope.name} begins here and never ends ({scope.end})")


def _not_once(where: str, what: str, found: list[int]) -> str:
    problem = "no line matches" if not found else f"lines {', '.join(str(i + 1) for i in found)} all match"
    return f"{where}: {problem}  {what}\n  The patch needs exactly one; this is not a Caffe that it knows."


def _stage(target: Path, content: bytes) -> Path:
    """A temporary file beside the target with this content and the target's permissions."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = _staged(target)
    staged.write_bytes(content)
    if target.exists():
        shutil.copymode(target, staged)
    else:
        staged.chmod(0o644)
    return staged


def _staged(target: Path) -> Path:
    return target.with_name(f".{target.name}.lrpolicy")


def _put(target: Path, staged: Path | None) -> None:
    """Move the staged file to its target, or take the target away."""
    if staged is None:
        target.unlink(missing_ok=True)
    else:
        staged.replace(target)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
