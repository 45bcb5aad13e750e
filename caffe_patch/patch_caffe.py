#!/usr/bin/env python3
"""Teach a Caffe source tree the policies of lrpolicy: patch_caffe.py TREE [--check | --diff | --revert].

Exit status: 0 done, or (--check) patched; 1 (--check) unpatched or patched by another version; 2 half-patched, not a
Caffe, another fork, not writable; 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from pathlib import Path

from patching import Change, PatchError, read, split_lines, state_of, undone, write

_WORDS = {"unpatched": "not patched", "part": "in part", "older": "by another version", "patched": "patched"}
_FEW = 3


def main(arguments: list[str] | None = None) -> int:
    """The program; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.revert:
            return _revert(options.tree)
        changes = read(options.tree)
        if options.check:
            return _check(options.tree, changes)
        if options.diff:
            return _show("".join(_diff(change) for change in changes))
        return _apply(options.tree, changes)
    except PatchError as error:
        print(f"patch_caffe: {error}", file=sys.stderr)
    except OSError as error:
        print(f"patch_caffe: {error.filename or 'the output'}: {error.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        print("patch_caffe: interrupted; nothing was changed", file=sys.stderr)
        return 130
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="patch_caffe.py", description="Teach a Caffe source tree more policies.")
    parser.add_argument("tree", type=Path, metavar="TREE", help="the folder that holds Caffe's src and include")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="say whether the tree is patched, and change nothing")
    what.add_argument("--diff", action="store_true", help="show what the patch adds, and change nothing")
    what.add_argument("--revert", action="store_true", help="undo the patch, byte for byte")
    return parser


def _apply(tree: Path, changes: list[Change]) -> int:
    state = state_of(changes)
    if state == "half-patched":
        raise PatchError(f"{tree} is half-patched ({_summary(changes)}); undo that with --revert, then patch again")
    texts = {change.path: change.patched for change in changes if change.now != change.patched}
    write(tree, texts)
    print(f"{tree} is patched: {len(texts)} files written" if texts else f"{tree} is patched already: nothing to do")
    return 0


def _revert(tree: Path) -> int:
    texts = undone(tree)
    write(tree, texts)
    print(f"{tree} is as it was: {len(texts)} files undone" if texts else f"{tree} is not patched: nothing to undo")
    return 0


def _check(tree: Path, changes: list[Change]) -> int:
    state = state_of(changes)
    print(f"{tree} is {state}")
    if state == "half-patched":
        print(_listing(changes))
        return 2
    return 0 if state == "patched" else 1


def _listing(changes: list[Change]) -> str:
    return "\n".join(f"  {change.path}: {_WORDS[change.state]}" for change in changes if change.state in _WORDS)


def _summary(changes: list[Change]) -> str:
    """How many files are in each state, and which where they are few."""
    parts = []
    for state, words in _WORDS.items():
        if paths := [change.path for change in changes if change.state == state]:
            parts.append(f"{words}: {', '.join(paths) if len(paths) <= _FEW else f'{len(paths)} files'}")
    return "; ".join(parts)


def _show(text: str) -> int:
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, head or less, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _diff(change: Change) -> str:
    old, new = (split_lines(text or "") for text in (change.without, change.patched))
    source = f"a/{change.path}" if change.without is not None else "/dev/null"
    # A last line without its newline would run into the next file's header.
    shown = difflib.unified_diff(old, new, source, f"b/{change.path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in shown)


if __name__ == "__main__":
    sys.exit(main())
