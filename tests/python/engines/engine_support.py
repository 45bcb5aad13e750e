"""What the engine's tests share: an observer that writes everything down, and small solvers on the digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lrpolicy.records import Measurement
from lrpolicy.solver import Solver

NET = """
layer {{
  name: "digits" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
  transform_param {{ {transform} }} data_param {{ source: "digits_train" batch_size: {batch} }}
}}
layer {{
  name: "digits" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
  transform_param {{ {test_transform} }} data_param {{ source: "digits_test" batch_size: 100 }}
}}
{layers}
layer {{
  name: "ip" type: "InnerProduct" bottom: "{scores_from}" top: "ip"
  inner_product_param {{ num_output: {classes} weight_filler {{ type: "xavier" }} }}
}}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""


class Recorder:
    """An observer that keeps what it is told; `stop` says, from the number of calls so far, whether to stop."""

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        self.displays: list[tuple[int, float, float]] = []
        self.measurements: list[Measurement] = []
        self.snapshots: list[Path] = []
        self.notes: list[str] = []
        self._stop = stop

    def displayed(self, iteration: int, loss: float, rate: float) -> None:
        self.displays.append((iteration, loss, rate))

    def measured(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)

    def saved(self, path: Path) -> None:
        self.snapshots.append(path)

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def stopping(self) -> bool:
        return self._stop()


def digits_solver(
    folder: Path,
    fields: str = "",
    *,
    layers: str = "",
    scores_from: str = "data",
    classes: int = 10,
    batch: int = 32,
    transform: str = "scale: 0.0625",
    test_transform: str = "scale: 0.0625",
    net: str | None = None,
) -> Solver:
    """A solver in `folder` whose net is a linear classifier of the digits behind `layers`."""
    text = net or NET.format(
        layers=layers,
        scores_from=scores_from,
        classes=classes,
        batch=batch,
        transform=transform,
        test_transform=test_transform,
    )
    (folder / "net.prototxt").write_text(text)
    given = {"base_lr": "0.1", "lr_policy": '"fixed"', "max_iter": "20"}
    defaults = " ".join(f"{name}: {value}" for name, value in given.items() if f"{name}:" not in fields)
    return Solver.parse(f'net: "net.prototxt" {defaults} {fields}', str(folder / "solver.prototxt"))
