from collections.abc import Sequence
from typing import Any

from lrpolicy._core import TensorList

def devices() -> list[str]: ...
def draw_rates(draws: DrawsCore, out: TensorList, stream: int) -> None: ...

class DrawsCore:
    def __init__(self, device: int) -> None: ...
    def set(self, center: float, seed: int, iteration: int, stream: int) -> None: ...
    def get(self, stream: int) -> tuple[float, int, int]: ...

class TlrOnDevice:
    def __init__(self, tlr: Any, device: int) -> None: ...
    def set(self, state: tuple[Any, ...], updates: int, stream: int) -> None: ...
    def get(self, stream: int) -> tuple[Any, ...]: ...

class PlanCore:
    def __init__(self, counts: Sequence[int], device: int) -> None: ...
    def dot_pair(
        self,
        now: TensorList,
        previous: TensorList,
        start: TensorList | None,
        gg: TensorList,
        gp: TensorList,
        roll: bool,
        tlr: TlrOnDevice | None,
        rates: TensorList | None,
        stream: int,
    ) -> None: ...
    def accumulate(
        self,
        gradients: TensorList,
        sums: TensorList,
        scale: float,
        device_scale: TensorList | None,
        stream: int,
    ) -> None: ...
    def momentum_step(
        self,
        gradients: TensorList,
        weights: TensorList,
        history: TensorList,
        rates: TensorList,
        decays: TensorList,
        momentum: float,
        nesterov: bool,
        rate_inside: bool,
        l1: bool,
        draws: DrawsCore | None,
        stream: int,
    ) -> None: ...
