"""The compiled core. `lrpolicy.policies` is its public face."""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

# name, symbol, kind, least, meaning, example
parameter_table: tuple[tuple[str, str, str, int, str, str], ...]
# name, paper name, family, required, optional, period, #Param, formula, meaning, note
policy_table: tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...], str, str, str, str, str], ...]
# alias, name, note
alias_table: tuple[tuple[str, str, str], ...]
# name, symbol, kind, rule, default, meaning
adaptive_parameter_table: tuple[tuple[str, str, str, str, str, str], ...]
# name, paper name, required, optional, #Param, feedback, formula, meaning, note
adaptive_policy_table: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], str, str, str, str, str], ...]

class PolicyCore:
    def __init__(self, name: str, fields: Mapping[str, float | int | tuple[int, ...]]) -> None: ...
    def rate(self, t: SupportsIndex, /) -> float: ...
    def _fill_range(self, first: int, stride: int, out: NDArray[Any]) -> None: ...
    def _fill_array(self, ts: NDArray[np.int64], out: NDArray[Any]) -> None: ...

_Type = TypeVar("_Type", bound=type[PolicyCore])

def with_own_rate(type: _Type) -> _Type: ...

class PolicyStepper:
    t: int
    steps: int
    def __init__(self, policy: PolicyCore, t: int, steps: int) -> None: ...
    def advance(self, groups: list[dict[str, Any]], /) -> bool: ...

# The state machines: `lrpolicy.stateful` is their public face. A state is a tuple, in the order of the fields of the
# Python class of its name.

# name, formula or condition, meaning
sequence_table: tuple[tuple[str, str, str], ...]
strategy_table: tuple[tuple[str, str, str], ...]
tlr_variant_table: tuple[tuple[str, str, str], ...]
tlr_sources: tuple[str, ...]

class DecaySequenceCore:
    def __init__(self, sequence: str, strategy: str, base_lr: float, min_lr: float) -> None: ...
    def update(self, state: tuple[Any, ...], loss: float) -> tuple[Any, ...]: ...
    def rate(self, state: tuple[Any, ...]) -> float: ...

class PlateauCore:
    def __init__(self, base_lr: float, gamma: float, winsize: Sequence[int], min_lr: float) -> None: ...
    def start(self) -> tuple[Any, ...]: ...
    def update(self, state: tuple[Any, ...], iteration: int, loss: float) -> tuple[Any, ...]: ...
    def rate(self, state: tuple[Any, ...]) -> float: ...

class AslrCore:
    def __init__(self, base_lr: float, seed: int) -> None: ...
    def start(self) -> tuple[Any, ...]: ...
    def update(self, state: tuple[Any, ...], cost: float) -> tuple[Any, ...]: ...
    def center(self, state: tuple[Any, ...]) -> float: ...
    def rate(self, state: tuple[Any, ...], t: int, tensor: int) -> float: ...
    def rates(self, state: tuple[Any, ...], t: int, count: int) -> NDArray[np.float64]: ...

class TlrCore:
    window_updates: int
    def __init__(
        self,
        variant: str,
        source: str,
        base_lr: float,
        bound: float,
        eta: float | None,
        window: float,
        epoch_iterations: int,
        min_lr: float,
        max_lr: float,
        divergence: float,
        lr_mult: Sequence[float],
        per_tensor: bool,
        restart_below: float,
    ) -> None: ...
    def is_due(self, t: int) -> bool: ...
    def start(self) -> tuple[Any, ...]: ...
    def update(
        self, state: tuple[Any, ...], gg: NDArray[np.float64], gp: NDArray[np.float64], updates: int
    ) -> tuple[Any, ...]: ...

# The kernels over lists: `lrpolicy.kernels` is their public face.

class TensorList:
    def __init__(self, tensors: Sequence[Any], kind: str, names: Sequence[str]) -> None: ...
    def __len__(self) -> int: ...
    def is_current(self) -> bool: ...
    @property
    def counts(self) -> list[int]: ...
    @property
    def dtype(self) -> str: ...

class PlanCore:
    def __init__(self, counts: Sequence[int]) -> None: ...
    def dot_pair(
        self, now: TensorList, previous: TensorList, start: TensorList | None, roll: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def accumulate(self, gradients: TensorList, sums: TensorList, scale: float) -> None: ...
    def momentum_step(
        self,
        gradients: TensorList,
        weights: TensorList,
        history: TensorList,
        rates: NDArray[np.float32],
        decays: NDArray[np.float32],
        momentum: float,
        nesterov: bool,
        rate_inside: bool,
        l1: bool,
    ) -> None: ...

# implementation, forced, instruction set, threads
def kernel_settings() -> tuple[str, bool, str, int]: ...
