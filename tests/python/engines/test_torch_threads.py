"""How PyTorch's OpenMP threads wait for each other, as GNU's OpenMP itself tells."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

PROGRAM = "import os; from lrpolicy.engines.torch import TorchEngine; print('GOMP_SPINCOUNT' in os.environ)"
NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def turns(**chosen: str) -> tuple[int, bool]:
    """How often a waiting thread turns, and whether the variable is there after the import."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment |= chosen | {"OMP_DISPLAY_ENV": "VERBOSE"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if found is None:
        pytest.skip("this PyTorch has no OpenMP of GNU's")
    return int(found[1]), done.stdout == "True\n"


def test_threads_turn_less_than_a_time_slice_and_children_choose_for_themselves() -> None:
    assert turns() == (30_000, False)


def test_what_the_user_chose_stays() -> None:
    assert turns(GOMP_SPINCOUNT="7") == (7, True)
    assert turns(OMP_WAIT_POLICY="PASSIVE") == (0, False)
