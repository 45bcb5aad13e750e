"""Writes dot_pair_known_answers.tsv: sums of products by NumPy, in the order of csrc/include/lrpolicy/block_sum.hpp.

Nothing of the package is used, so that readers on any machine compare bits.
`python make_dot_pair_known_answers.py` rewrites the file beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

COUNTS = (0, 1, 31, 33, 1023, 1024, 1025, 3000, 16385, 100_003)
LANES, BLOCK = 32, 1024


def numbers(count: int, seed: int, dtype: type) -> np.ndarray:
    """Numbers of both signs whose exponents spread over 2^-10 .. 2^9; doubles that are no floats."""
    bits = (np.arange(count, dtype=np.uint64) * 2654435761 + seed * 40503) & 0xFFFFFFFF
    bits = (bits ^ bits >> 15) * 2246822519 & 0xFFFFFFFF
    floats = (bits & 0x807FFFFF | (117 + (bits >> 23) % 20) << 23).astype(np.uint32).view(np.float32)
    return floats if dtype is np.float32 else floats * (1 + 1e-9 * (bits % 977).astype(np.float64))


def block_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Lanes, then the lanes' fold, then neighbouring blocks until one is left."""
    products = x.astype(np.float64) * y.astype(np.float64)
    blocks = -(-len(products) // BLOCK)
    rows = np.append(products, np.zeros(blocks * BLOCK - len(products))).reshape(blocks, BLOCK // LANES, LANES)
    lanes = np.zeros((blocks, LANES))
    for row in range(BLOCK // LANES):
        lanes = lanes + rows[:, row]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    sums = lanes[:, 0].tolist() or [0.0]
    while len(sums) > 1:
        sums = [sum(sums[k : k + 2]) for k in range(0, len(sums), 2)]
    return float(sums[0])


def sheet() -> Iterator[str]:
    yield "dtype\tcount\tgg\tgp"
    for dtype in (np.float32, np.float64):
        for count in COUNTS:
            g, previous = numbers(count, 1, dtype), numbers(count, 2, dtype)
            gg, gp = block_sum(g, g), block_sum(g, previous)
            yield f"{dtype.__name__}\t{count}\t{gg.hex()}\t{gp.hex()}"


if __name__ == "__main__":
    path = Path(__file__).with_name("dot_pair_known_answers.tsv")
    path.write_text("".join(f"{line}\n" for line in sheet()), encoding="utf-8")
