"""LRPOLICY_IMPL and LRPOLICY_THREADS, each read once by a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lrpolicy.kernels import kernel_settings

PROGRAM = """
import hashlib, json, numpy as np
from lrpolicy.kernels import Plan, kernel_settings
generator = np.random.default_rng(5)
counts = [0, 1, 1000, 300_001, 40_000]
g, p = ([generator.standard_normal(n).astype(np.float32) for n in counts] for _ in range(2))
gg, gp = Plan(counts).dot_pair(g, p, roll=True)
print(json.dumps([kernel_settings()["implementation"], gg.tobytes().hex(), gp.tobytes().hex()]))
"""


def in_a_process(program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | environment, check=False
    )


def test_each_implementation_and_number_of_threads_gives_the_same_bits() -> None:
    results = [json.loads(in_a_process(LRPOLICY_IMPL="reference").stdout)]
    results += [json.loads(in_a_process(LRPOLICY_IMPL="simd", LRPOLICY_THREADS=n).stdout) for n in "1234"]
    assert [result[0] for result in results] == ["reference", "simd", "simd", "simd", "simd"]
    assert all(result[1:] == results[0][1:] for result in results)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LRPOLICY_IMPL", "avx9", "LRPOLICY_IMPL must be reference, simd or cuda, got avx9"),
        ("LRPOLICY_IMPL", "cuda", "LRPOLICY_IMPL is cuda and these tensors are not on a GPU"),
        ("LRPOLICY_THREADS", "0", "LRPOLICY_THREADS must be a whole number from 1 to 1024, got 0"),
    ],
)
def test_a_wrong_setting_fails_clearly(name: str, value: str, message: str) -> None:
    assert f"InputError: {message}" in in_a_process(**{name: value}).stderr


RATES = """
import json, os, numpy as np
from lrpolicy.errors import InputError
from lrpolicy.policies import Policy
from lrpolicy.stateful import Aslr
policy, aslr = Policy("exp", base_lr=0.1, gamma=0.9999), Aslr(0.03)
verbs = {
    "a range": lambda: policy.rates(range(500_000)).tobytes().hex()[-99:],
    "float32": lambda: policy.rates(range(9), out=np.empty(9, np.float32)).tolist(),
    "an array": lambda: policy.rates([1, 5, 3]).tolist(),
    "one": lambda: policy.rate(5),
    "draws": lambda: aslr.rates(aslr.init(), 7, 100).tolist(),
    "a draw": lambda: aslr.rate(aslr.init(), 7, 3),
}
said, before = {}, len(os.listdir("/proc/self/task"))
for name, verb in verbs.items():
    try:
        said[name] = verb()
    except InputError as error:
        said[name] = str(error)
print(json.dumps([len(os.listdir("/proc/self/task")) - before, said]))
"""


def test_the_rates_have_the_implementation_that_was_chosen() -> None:
    """Which can be seen by the threads alone: the reference has none, and the bits are the same."""
    chosen = ({"LRPOLICY_IMPL": name, "LRPOLICY_THREADS": "3"} for name in ("reference", "simd", "cuda"))
    started, said = zip(*(json.loads(in_a_process(RATES, **each).stdout) for each in chosen), strict=True)
    assert started == (0, 2, 2)
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LRPOLICY_IMPL", "avx9", "LRPOLICY_IMPL must be reference, simd or cuda, got avx9"),
        ("LRPOLICY_THREADS", "zzz", "LRPOLICY_THREADS must be a whole number from 1 to 1024, got zzz"),
    ],
)
def test_a_wrong_setting_fails_in_every_call_for_rates(name: str, value: str, message: str) -> None:
    _, said = json.loads(in_a_process(RATES, **{name: value}).stdout)
    assert said == dict.fromkeys(said, message) and len(said) == 6


def test_the_settings_say_what_runs() -> None:
    chosen = kernel_settings()
    assert chosen["instruction_set"] in {"baseline", "avx2", "avx512"} and chosen["threads"] >= 1
