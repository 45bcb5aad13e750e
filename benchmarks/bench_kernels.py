"""dot_pair with roll against NumPy, PyTorch and a non-temporal triad (goal G5), its bits (G6); ASLR's draws (G9).

Contenders take turns in one process for each number of threads; ratios are of medians. The triad is compiled by `cc`
for AVX; where that fails, it is left out.

    python benchmarks/bench_kernels.py [--rounds 15] [--elements 100000000]
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from lrpolicy.kernels import Plan, TensorList, kernel_settings
from lrpolicy.stateful import Aslr

TRIAD = """
#include <immintrin.h>
void triad(float* a, const float* b, const float* c, long n) {
  const __m256 s = _mm256_set1_ps(3);
  for (long i = 0; i + 8 <= n; i += 8)
    _mm256_stream_ps(a + i, _mm256_add_ps(_mm256_load_ps(b + i), _mm256_mul_ps(s, _mm256_load_ps(c + i))));
  _mm_sfence();
}
"""
Run = Callable[[], object]


def resnet50() -> list[int]:
    """The sizes of its 161 parameter tensors."""
    sizes, before = [64 * 3 * 49, 64, 64], 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            for count, outputs in ((before * width, width), (width**2 * 9, width), (width**2 * 4, width * 4)):
                sizes += [count, outputs, outputs]
            sizes += [] if block else [before * width * 4, width * 4, width * 4]
            before = width * 4
    return [*sizes, 2048 * 1000, 1000]


def resnet32() -> list[int]:
    """The sizes of its 95 parameter tensors, for CIFAR-10 with shortcuts that have none."""
    sizes, before = [3 * 16 * 9, 16, 16], 16
    for width in (16, 32, 64):
        for _ in range(5):
            sizes += [before * width * 9, width, width, width * width * 9, width, width]
            before = width
    return [*sizes, 640, 10]


def compiled_triad() -> Callable[..., None] | None:
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "triad.c"), Path(folder, "triad.so")
        source.write_text(TRIAD)
        command = ["cc", "-O3", "-mavx", "-shared", "-fPIC", str(source), "-o", str(library)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no triad: {error}")
            return None
        function = ctypes.CDLL(str(library)).triad
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long]
    function.restype = None
    return function


def aligned(count: int, generator: np.random.Generator) -> np.ndarray:
    memory = np.empty(count + 16, np.float32)
    view = memory[(-memory.ctypes.data % 64) // 4 :][:count]
    view[:] = generator.standard_normal(count, np.float32)
    return view


def contenders(counts: list[int], threads: int) -> dict[str, Run]:
    generator = np.random.default_rng(1)
    g, before = ([aligned(count, generator) for count in counts] for _ in range(2))
    ours, theirs = TensorList(g), TensorList(before)
    tg, tb = ([torch.from_numpy(x) for x in arrays] for arrays in (g, before))
    plan = Plan(counts)

    def numpy_passes() -> None:
        for a, b in zip(g, before, strict=True):
            np.dot(a, a), np.dot(a, b)
            np.copyto(b, a)

    def torch_passes() -> None:
        for a, b in zip(tg, tb, strict=True):
            torch.dot(a, a), torch.dot(a, b)
        torch._foreach_copy_(tb, tg)

    runs: dict[str, Run] = {
        "lrpolicy": lambda: plan.dot_pair(ours, theirs, roll=True),
        "lrpolicy, lists checked at each call": lambda: plan.dot_pair(g, before, roll=True),
        "numpy, three passes": numpy_passes,
        "PyTorch, three passes": torch_passes,
    }
    triad = compiled_triad()
    if triad is not None:
        size = sum(counts) // (threads * 16) * 16
        a, b, c = (aligned(size * threads, generator) for _ in range(3))
        pool = ThreadPoolExecutor(threads)

        def share(part: int) -> None:
            at = 4 * size * part
            triad(a.ctypes.data + at, b.ctypes.data + at, c.ctypes.data + at, size)

        runs["non-temporal triad, as many elements"] = lambda: list(pool.map(share, range(threads)))
    return runs


def measure(counts: list[int], threads: int, rounds: int) -> None:
    runs = contenders(counts, threads)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for name in list(runs) * (rounds + 1):
        begin = time.perf_counter()
        runs[name]()
        times[name].append(time.perf_counter() - begin)
    ours = statistics.median(times["lrpolicy"][1:])
    for name, taken in times.items():  # the first round warms up
        median = statistics.median(taken[1:])
        print(f"{name:40}{min(taken[1:]) * 1e3:10.3f}{median * 1e3:10.3f} ms{median / ours:8.2f}x")


def accuracy() -> None:
    """Largest relative error of <g, g> on a million floats, and a digest of all sums' bits."""
    generator = np.random.default_rng(2)
    g, before = (generator.standard_normal(1_000_003).astype(np.float32) for _ in range(2))
    gg, gp = Plan([g.size]).dot_pair([g], [before])
    wide = g.astype(np.float64)
    exact = math.fsum(wide * wide)  # each product is exact in double
    terms = wide * before
    print(
        f"error of <g, g> {abs(gg[0] - exact) / exact:.1e}, of <g, g'> over the sum of its terms' sizes "
        f"{abs(gp[0] - math.fsum(terms)) / math.fsum(np.abs(terms)):.1e}; torch.dot "
        f"{abs(float(torch.dot(*[torch.from_numpy(g)] * 2)) - exact) / exact:.1e}; "
        f"bits {hashlib.sha256(gg.tobytes() + gp.tobytes()).hexdigest()[:16]}"
    )


def draws() -> None:
    """161 of ASLR's draws: in one call from Python, and by the kernel alone, whose call is spread over 1000 lists."""
    schedule, generator = Aslr(0.1, seed=7), np.random.Generator(np.random.Philox(7))
    state, calls, lists = schedule.init(), 2000, 1000
    runs: dict[str, tuple[Run, int]] = {
        "lrpolicy, one call from Python": (lambda: schedule.rates(state, 12345, 161), calls),
        "lrpolicy, the kernel alone": (lambda: schedule.rates(state, 12345, 161 * lists), calls // lists),
        "NumPy's Philox, one call": (lambda: generator.uniform(0.05, 0.15, 161), calls),
    }
    print(f"\nASLR's draws for 161 tensors{'min':>22}{'median':>10}")
    for name, (run, number) in runs.items():
        taken = [timeit.timeit(run, number=number) / calls for _ in range(30)]
        print(f"{name:40}{min(taken) * 1e6:10.3f}{statistics.median(taken) * 1e6:10.3f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--elements", type=int, default=100_000_000)
    parser.add_argument("--child", choices=("times", "bits"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "bits":
        accuracy()
    elif options.child == "times":
        threads = kernel_settings()["threads"]
        torch.set_num_threads(threads)
        lists = {"one tensor": [options.elements], "ResNet-50's 161": resnet50(), "ResNet-32's 95": resnet32()}
        for name, counts in lists.items():
            print(f"\n{name}, {sum(counts)} float32, {threads} threads{'min':>12}{'median':>10}")
            measure(counts, threads, options.rounds)
    else:
        print(kernel_settings(), "torch", torch.__version__, "numpy", np.__version__)
        child = [sys.executable, __file__, "--rounds", str(options.rounds), "--elements", str(options.elements)]
        for threads in ("1", "2"):
            environment = os.environ | {"LRPOLICY_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
            subprocess.run([*child, "--child", "times"], env=environment, check=True)
        draws()
        print()
        for setting in ({"LRPOLICY_IMPL": "reference"}, {"LRPOLICY_THREADS": "1"}, {"LRPOLICY_THREADS": "2"}):
            print(setting, flush=True)
            subprocess.run([*child, "--child", "bits"], env=os.environ | setting, check=True)


if __name__ == "__main__":
    main()
