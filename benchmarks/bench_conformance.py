"""Does the torch engine train as real Caffe does? The same .caffemodel, LMDB and solver, loss by loss.

    python benchmarks/bench_conformance.py [--caffe PATH] [--only 'lenet.*tlr'] [--iterations 200] [--moved 9] [--write]

Two questions for each case. Over 20 iterations: are the losses within 1e-5 of Caffe's, relative? (Caffe prints six
digits, which alone is up to 5e-6.) Over 200: is the largest difference within three times that of Caffe against itself,
(a) when every first weight moves by one unit in the last place (--moved such runs), or within Caffe's last digit?
Beside it stands (b), the same Caffe with OpenBLAS's kernels for two other processors, which add in another order.
And the first question again on the smooth net, with TanH for each rectifier and averages for maxima: there nothing
flips, float32 noise stays small, and a difference of meaning would show.
All run on one thread. With LRPOLICY_DATA the images are MNIST's and CIFAR-10's, else scikit-learn's digits, enlarged.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from conformance_cases import CASES, Case
from numpy.typing import NDArray

from lrpolicy import zoo
from lrpolicy.caffemodel import read_weights, write_mean, write_weights
from lrpolicy.datasets import Examples, mean_image, open_dataset, write_lmdb
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.caffe.binary import Binary
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.errors import NotAvailableError
from lrpolicy.net import read as read_net
from lrpolicy.prototxt.text import to_text
from lrpolicy.records import Measurement, Protocol
from lrpolicy.solver import read as read_solver
from lrpolicy.versions import hardware, versions

RESULTS = Path(__file__).parent / "results"
TRAIN_EXAMPLES, TEST_EXAMPLES = 2000, 100
TIGHT, EARLY, STRAY = 1e-5, 20, 3.0
PRINTED = 1e-5  # the last digit that Caffe prints of a loss between 1 and 10
Floats = NDArray[np.float64]
CORES = ("Nehalem", "Haswell")  # names that OPENBLAS_CORETYPE takes


@dataclass(frozen=True)
class Found:
    """What one case gave: largest differences of losses, `early` relative, `late` and `stray` absolute."""

    case: Case
    data: str
    processor: str
    early: float
    early_stray: float
    smooth: float  # the same two of the smooth net
    smooth_stray: float
    late: float
    stray: float
    kernels: float
    last_loss: float
    rates: float | None = None  # where the policy observes the training: of the first 20 iterations, relative
    distinct: int | None = None  # and how many different ones Caffe used
    moved: int = 3  # how many Caffe runs `stray` is of

    @property
    def early_holds(self) -> bool:
        return self.early <= TIGHT

    @property
    def smooth_holds(self) -> bool:
        return self.smooth <= TIGHT

    @property
    def late_holds(self) -> bool:
        return self.late <= max(STRAY * self.stray, PRINTED)

    @property
    def kernels_hold(self) -> bool:
        return self.late <= max(STRAY * self.kernels, PRINTED)


class Bench:
    """A net on its data in a folder, trained by either; a smooth one has no rectifiers and no maxima."""

    def __init__(self, binary: Path, case: Case, folder: Path, *, smooth: bool = False) -> None:
        self.binary, self.case, self.folder = binary, case, folder
        train, test = images(case.net)
        self.data = train.name
        write_lmdb(folder / "train", train)
        write_lmdb(folder / "test", test)
        write_mean(folder / "mean.binaryproto", mean_image(train))
        net = read_net(zoo.solver_path(case.net).parent / f"{case.net.replace('-', '_')}_train_test.prototxt").message
        for layer, part in zip([layer for layer in net.layer if layer.type == "Data"], ("train", "test"), strict=True):
            layer.data_param.source = str(folder / part)
            layer.data_param.batch_size = case.batch_size if part == "train" else TEST_EXAMPLES
            for random in ("crop_size", "mirror"):
                layer.transform_param.ClearField(random)
            if layer.transform_param.HasField("mean_file"):
                layer.transform_param.mean_file = str(folder / "mean.binaryproto")
        if smooth:
            make_smooth(net)
        (folder / "net.prototxt").write_text(to_text(net))
        self._caffe(0, [])  # Caffe's own fillers
        self.first = folder / "caffe_iter_0.caffemodel"

    def caffe(self, iterations: int, seed: int | None = None, core: str | None = None) -> Floats:
        """Caffe's losses and rates; with a seed, from weights that have moved; with a core, by that one's kernels."""
        weights = self.first if seed is None else move_by_one_ulp(self.first, self.folder / "moved.caffemodel", seed)
        log = self._caffe(iterations, [f"--weights={weights}"], core)
        printed = (r"Iteration \d+ \(.*?\), loss = (\S+)", r"Iteration \d+, lr = (\S+)")
        return np.array([re.findall(line, log) for line in printed], float)

    def ours(self, iterations: int) -> Floats:
        solver = read_solver(self._solver(iterations))
        displays = Displays()
        job = TrainingJob(solver, protocol=Protocol.PAPER, weights=self.first, threads=1)
        TorchEngine().train(job, displays)
        return np.array(displays.found).T

    def _caffe(self, iterations: int, arguments: list[str], core: str | None = None) -> str:
        chosen = {} if core is None else {"OPENBLAS_CORETYPE": core}
        chosen |= {"GLOG_logtostderr": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [str(self.binary), "train", f"--solver={self._solver(iterations)}", *arguments]
        return subprocess.run(command, env={**os.environ, **chosen}, capture_output=True, text=True, check=True).stderr

    def _solver(self, iterations: int) -> Path:
        path = self.folder / "solver.prototxt"
        path.write_text(
            f'net: "{self.folder}/net.prototxt" {self.case.solver} max_iter: {iterations} display: 1 random_seed: 1 '
            f'solver_mode: CPU snapshot_prefix: "{self.folder}/caffe"\n'
        )
        return path


class Displays:
    """The observer that keeps loss and rate of every iteration."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float]] = []

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        self.found.append((loss, rate))

    def measured(self, measurement: Measurement) -> None: ...

    def saved(self, path: Path) -> None: ...

    def noted(self, text: str) -> None: ...

    def stopping(self) -> bool:
        return False


def images(net: str) -> tuple[Examples, Examples]:
    """Training and test images of the size that the net takes; some of them, in their order."""
    kind = net.partition("-")[0]
    root = os.environ.get("LRPOLICY_DATA")
    if root and (Path(root) / kind).is_dir():
        data = open_dataset(Path(root) / kind)
        return tuple(  # type: ignore[return-value]
            part.take(np.arange(count)) for part, count in ((data.train, TRAIN_EXAMPLES), (data.test, TEST_EXAMPLES))
        )
    digits = open_dataset("digits")
    side, channels = (28, 1) if kind == "mnist" else (32, 3)
    border = (side - 24) // 2

    def enlarged(part: Examples) -> Examples:
        large = np.kron(part.images * 15, np.ones((1, channels, 3, 3), np.uint8))
        margin = ((0, 0), (0, 0), (border, border), (border, border))
        return Examples(np.pad(large, margin), part.labels, "enlarged digits")

    return enlarged(digits.train), enlarged(digits.test.take(np.arange(TEST_EXAMPLES)))


def make_smooth(net: Any) -> None:
    """TanH for each rectifier, averages for maxima."""
    for layer in net.layer:
        if layer.type == "ReLU":
            layer.type = "TanH"
            layer.ClearField("relu_param")
        elif layer.type == "Pooling":
            layer.pooling_param.pool = layer.pooling_param.AVE


def move_by_one_ulp(source: Path, target: Path, seed: int) -> Path:
    """Every weight but the zeros moves to a float32 beside it, up or down by chance."""
    random = np.random.default_rng(seed)

    def moved(blob: NDArray[np.float32]) -> NDArray[np.float32]:
        ends = np.where(random.random(blob.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
        return np.where(blob == 0, blob, np.nextafter(blob, ends))

    write_weights(target, {name: [moved(blob) for blob in blobs] for name, blobs in read_weights(source).items()})
    return target


def apart(values: Floats, reference: Floats) -> float:
    """The largest relative difference."""
    return float((np.abs(values - reference) / reference).max())


def measure(binary: Path, case: Case, iterations: int = 200, moved: int = 3) -> Found:
    """Train a case by both."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(binary, case, Path(folder))
        (caffe, rates), (ours, our_rates) = bench.caffe(iterations), bench.ours(iterations)
        others = np.array([bench.caffe(iterations, seed)[0] for seed in range(moved)])
        kernels = np.array([bench.caffe(iterations, core=core)[0] for core in CORES])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(binary, case, Path(folder), smooth=True)
        smooth, our_smooth = bench.caffe(EARLY)[0], bench.ours(EARLY)[0]
        moved_smooth = np.array([bench.caffe(EARLY, seed)[0] for seed in range(moved)])
    assert caffe.shape == ours.shape == (iterations,), (caffe.shape, ours.shape)
    early = slice(0, EARLY)
    return Found(
        case,
        bench.data,
        hardware()["processor"],
        apart(ours[early], caffe[early]),
        apart(others[:, early], caffe[early]),
        apart(our_smooth, smooth),
        apart(moved_smooth, smooth),
        float(np.abs(ours - caffe).max()),
        float(np.abs(others - caffe).max()),
        float(np.abs(kernels - caffe).max()),
        float(caffe[-10:].mean()),
        apart(our_rates[early], rates[early]) if case.observes else None,
        len(set(rates)) if case.observes else None,
        moved,
    )


def table(found: list[Found]) -> Iterator[str]:
    yield (
        "| net | solver | 20: ours | moved | <= 1e-5 | rates | smooth: ours | moved | <= 1e-5 "
        "| 200: ours | moved | <= 3x | kernels | <= 3x | last |"
    )
    yield "|" + 15 * "---|"
    for row in found:
        early, smooth, late, kernels = (
            "yes" if holds else "**no**"
            for holds in (row.early_holds, row.smooth_holds, row.late_holds, row.kernels_hold)
        )
        rates = "" if row.rates is None else f"{row.rates:.1e} ({row.distinct})"
        case = f"{row.case.net}, batch {row.case.batch_size} | {row.case.name}"
        yield (
            f"| {case} | {row.early:.1e} | {row.early_stray:.1e} | {early} | {rates} "
            f"| {row.smooth:.1e} | {row.smooth_stray:.1e} | {smooth} "
            f"| {row.late:.1e} | {row.stray:.1e} | {late} | {row.kernels:.1e} | {kernels} | {row.last_loss:.3g} |"
        )


def earlier() -> list[Found]:
    """What results/conformance.json holds."""
    path = RESULTS / "conformance.json"
    if not path.exists():
        return []
    rows = json.loads(path.read_text())["cases"]
    names = [field.name for field in fields(Found)]
    return [Found(**{name: row[name] for name in names if name in row} | {"case": Case(**row["case"])}) for row in rows]


def write(new: Found, iterations: int) -> None:
    """Put one case's results among the others, at once: a bench that is broken off loses nothing."""
    kept = {row.case: row for row in [*earlier(), new]}
    found = [kept[case] for case in CASES if case in kept]
    missing = [str(case) for case in CASES if case not in kept]
    made = {"versions": versions(), "iterations": iterations}
    moved = " and ".join(f"{runs} ({cases} cases)" for runs, cases in Counter(row.moved for row in found).items())
    machines = Counter(row.processor for row in found)
    where = ", ".join(f"{name} ({cases} cases)" for name, cases in machines.most_common())
    answers = ("early_holds", "smooth_holds", "late_holds", "kernels_hold")
    rows = [asdict(row) | {name: getattr(row, name) for name in answers} for row in found]
    (RESULTS / "conformance.json").write_text(json.dumps({**made, "cases": rows}, indent=1) + "\n")
    early, smooth, late, other = (f"{sum(row[name] for row in rows)} of {len(rows)}" for name in answers)
    excused = sum(not row.early_holds and row.early_stray > TIGHT for row in found)
    rough = [f"{row.smooth:.1e} ({row.smooth_stray:.1e})" for row in found if not row.smooth_holds]
    strays = f". In the others\n  we stray by (and Caffe whose weights have moved): {'; '.join(rough)}" if rough else ""
    not_measured = f"Not measured: {'; '.join(missing)}." if missing else "All cases are measured."
    span = f"{iterations} iterations within three times the spread of"
    text = f"""\
# The torch engine beside real Caffe, loss by loss

Made by `bench_conformance.py`, one thread each, PyTorch {made["versions"]["torch"]}, on
{where}.
Data: {", ".join(sorted({row.data for row in found}))}, {TRAIN_EXAMPLES} training images. {not_measured}

- First 20 iterations within 1e-5, relative: {early} cases; in {excused} of the others Caffe itself leaves that bound
  when its first weights move by one unit in the last place.
- The same on the smooth net, with TanH for each rectifier and averages for maxima: {smooth} cases{strays}
- {span} {moved} Caffe runs whose first weights moved by one unit in the last place: {late}.
- {span} Caffe with OpenBLAS's kernels for {", ".join(CORES)}: {other}.

Columns `20` are relative to Caffe's loss, columns `200` are the largest differences of losses. Caffe prints six digits,
which alone makes up to 5e-6. `rates` is the largest relative difference of the first 20 rates where these come from
what the policy observes, and how many different ones all had: TLR moves its rate after every fifth update; ASLR hears a
test loss as often, and what it shows is the middle of what each tensor draws from. `last` is the mean of Caffe's last
ten losses.

The nets have rectifiers and maxima: where one flips, float32 noise becomes a difference that grows, and whether one
flips is chance. Where `moved` or `kernels` is large, Caffe does not repeat its own losses.
Which cases miss is chance too: it changes with the processor. In a run of all cases on an Intel Xeon 21 of 37 held at
20, and the two misses there that had no excuse were traced to their first update whose result differs by more than
rounding. There, in float64 on Caffe's weights, the nearest decisions were taken the other way:

- LeNet, Adam: up to the fifth update weights and history agree as those of Caffe with other kernels do; in the sixth
  one maximum of pool2 lies elsewhere (conv2's gradient changes, its bias's does not).
- cifar10-quick, Nesterov: up to the eighth update weights agree to 1e-6. In the ninth one value of conv2 is 5.8e-7,
  where float32 is 5e-6 off and all of conv2 has a root mean square of 1.2. Caffe's rectifier lets its gradient pass,
  ours does not; that alone moves its channel's bias by 4.774e-7, and the difference found is 4.775e-7. On two threads,
  which add in another order, our 20 losses are Caffe's to 2.0e-6.
- The small test on digits (tests/python/benchmarks), noise of 0 to 5 added to the pixels by four seeds: one of eight
  trainings with `inv` and `tri2` misses (3.6e-5). In its update 22 the two largest values of one window of pool2 are
  6.5e-8 apart (8e-8 of the root mean square); the difference of conv2's weights is that of this choice (correlation
  0.9998).

On an AMD EPYC LeNet with Adam (2.5e-6 at 20, 5.2e-6 at 200) and clip_gradients hold, and quick with iter_size 2 misses
without an excuse. On the Xeon it misses too, there by 1.1e-2 as Caffe itself does whose first weights have moved, and
was traced: up to the second update the weights agree to 9e-7; in the third only conv1's weights do not, and of these
only channel 31. There, in the window (14, 5) of pool1 of the first batch's last image, the two largest values are
1.2e-7 apart (1.5e-7 of the root mean square); the difference of conv1's weights is that of this choice (correlation
0.99998, length 0.9999 of it).

The smooth nets show what is left when nothing flips, and [conformance-double.md](conformance-double.md) the nets as
they are, in double precision, where nothing flips either.

What was chosen after a look at Caffe: ResNet-20 with 4 images at a rate of 0.01 says little, because Caffe's own losses
follow an ulp of the weights by a fifth within 20 iterations. So it is also trained with 32 images at 0.001, the only
other setting that was tried; the other solvers have the rates of cifar10-quick there, with 4 images to save time. TLR's
`max_lr` on LeNet was 0.05 and ASLR began at 0.01: there real Caffe's losses grew beyond all bounds and it crashed, so
they are 0.02 and 0.001.

"""
    (RESULTS / "conformance.md").write_text(text + "\n".join(table(found)) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--caffe", type=Path, help="the binary  [default: as the caffe engine finds it]")
    parser.add_argument("--only", default="", help="cases in whose name (net, batch, solver) this expression is found")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--moved", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write results/conformance.md and .json")
    options = parser.parse_args()
    try:
        binary = options.caffe or Binary.find().path
    except NotAvailableError as error:
        print(f"skipped: {error}")
        return
    for case in CASES:
        if re.search(options.only, str(case)):
            found = measure(binary, case, options.iterations, options.moved)
            print(list(table([found]))[-1], flush=True)
            if options.write:
                write(found, options.iterations)


if __name__ == "__main__":
    main()
