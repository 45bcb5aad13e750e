"""The patched `caffe` binary: where it is, and which policies it knows."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lrpolicy.engines.caffe.log import fatal
from lrpolicy.engines.caffe.process import CaffeProcess
from lrpolicy.errors import NotAvailableError, RunError

VARIABLE = "LRPOLICY_CAFFE"

_BUILT = Path("build", "caffe", "bin", "caffe")
# What a checkout has and an installed package has not: what patches and builds Caffe.
_CHECKOUT = Path(__file__).parents[4]
_PATCH = Path("caffe_patch")
_KNOWN = re.compile(r'lr_policy "\?" is unknown; known: (.+)')
_QUESTION = 'net: "none" base_lr: 1 lr_policy: "?" max_iter: 1 snapshot_prefix: "none" solver_mode: CPU\n'


@dataclass(frozen=True)
class Binary:
    """A patched binary and the names of the policies that it knows."""

    path: Path
    policies: tuple[str, ...]

    @classmethod
    def find(cls) -> Binary:
        """The binary that LRPOLICY_CAFFE names, else that of `make caffe`, else `caffe` on the PATH.

        Raises NotAvailableError where there is none, or it is not patched.
        """
        path = _place()
        runs = os.access(path, os.X_OK) and path.is_file()
        policies, failure = _known_policies(path) if runs else ((), "")
        if not policies:
            found = f"no patched caffe binary at {path}{failure and f' ({failure})'}"
            raise NotAvailableError(f'engine "caffe" is not available: {found}; {_remedy()}')
        return cls(path.absolute(), policies)


def _place() -> Path:
    if named := os.environ.get(VARIABLE):
        return Path(named)
    built = _CHECKOUT / _BUILT if (_CHECKOUT / _PATCH).is_dir() else _BUILT
    installed = shutil.which("caffe")
    return built if built.is_file() or installed is None else Path(installed)


def _remedy() -> str:
    if (_CHECKOUT / _PATCH).is_dir():
        return f"see {_PATCH / 'README.md'}"
    return f"make caffe, in lrpolicy's source distribution, builds one: name it in {VARIABLE}"


def _known_policies(path: Path) -> tuple[tuple[str, ...], str]:
    """Asked for a policy that nobody has, a patched Caffe stops and names those that it knows. Else: how it ended."""
    with tempfile.TemporaryDirectory(prefix="lrpolicy-caffe-") as folder:
        solver = Path(folder) / "question.prototxt"
        solver.write_text(_QUESTION)
        try:
            with CaffeProcess(path, ["train", f"--solver={solver}"]) as process:
                lines = list(process.lines())
        except RunError as error:
            return (), str(error)
    if answers := [found[1] for line in lines if (found := _KNOWN.search(line))]:
        return tuple(answers[0].split(", ")), ""
    # Caffe itself asks for the policy last: it stops because there is no such net.
    return (), "a Caffe without the patch" if any(map(fatal, lines)) else process.failure()
