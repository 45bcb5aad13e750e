"""Link a program of ours with the library that `make caffe` built."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path


class NotBuiltError(Exception):
    """The binary does not lie in a folder that `make caffe` built, so there is no library to link with."""


def link(binary: Path, program: Path, *sources: Path) -> None:
    """Compile `sources` as Caffe itself was, and link them with the library of `binary` into `program`.

    Nothing is done where `program` is younger than all of them. Raises NotBuiltError, and CalledProcessError with the
    compiler's words.
    """
    objects = binary.resolve().parents[1]
    flags_file = objects / "src/caffe/CMakeFiles/caffe.dir/flags.make"
    link_file = objects / "tools/CMakeFiles/caffe.bin.dir/link.txt"
    if not (flags_file.is_file() and link_file.is_file()):
        raise NotBuiltError(f"{binary} is not in a folder that `make caffe` built: no library to link with")
    made_from = max(path.stat().st_mtime for path in (binary, *sources))
    if program.exists() and program.stat().st_mtime > made_from:
        return
    lines = [line.partition(" = ") for line in flags_file.read_text().splitlines() if " = " in line]
    flags = [flag for key, _, value in lines if key.startswith("CXX_") for flag in shlex.split(value)]
    linked = shlex.split(link_file.read_text().partition(" -o caffe ")[2])
    command = ["c++", "-w", *flags, "-o", str(program), *map(str, sources), *linked]
    subprocess.run(command, cwd=objects / "tools", capture_output=True, text=True, check=True)
