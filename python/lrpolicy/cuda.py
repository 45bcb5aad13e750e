"""The kernels of `lrpolicy.kernels` on an NVIDIA GPU: one launch for a list, the same bits as on the CPU.

Tensors lie on the plan's device: PyTorch, JAX and CuPy tensors by `__dlpack__`, others by `__cuda_array_interface__`.
Every call launches on the `stream` of the caller (a handle as a number, `torch.cuda.current_stream().cuda_stream` for
instance, or an object that has one) and returns at once. It allocates nothing and may be captured in a CUDA graph: what
changes between replays (rates, scales, ASLR's iteration, TLR's state) lies in device memory, what is a number here is
frozen. Make plans, `TensorList`s and states before the capture. The calls of one plan must follow one another on the
device: one stream, or streams that wait for each other.

Importing this module loads `lrpolicy._cuda`, which is built where nvcc is found (csrc/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lrpolicy.errors import InputError, NotAvailableError
from lrpolicy.iterations import LAST_ITERATION
from lrpolicy.kernels import NamedSizes, TensorList, Tensors, is_l1
from lrpolicy.stateful import Tlr, TlrState
from lrpolicy.stateful.values import LARGEST_RATE, check_state, real, whole

try:
    from lrpolicy import _cuda
except ImportError as error:
    raise NotAvailableError(
        f"the CUDA kernels are not there ({error}); install lrpolicy where nvcc 12.1 or later is found"
    ) from error

__all__ = ["Draws", "Plan", "TensorList", "TlrOnDevice", "devices", "draw_rates"]


def devices() -> list[str]:
    """The GPUs by their numbers: name and compute capability. Raises RunError where CUDA has none, and says why."""
    return _cuda.devices()


class Draws:
    """What ASLR's draws come from, in device memory: the centre (of one digit), the seed, the iteration.

    `draw_rates` and `momentum_step` count the iteration when they have drawn. After each epoch's `Aslr.update`, `set`.
    """

    def __init__(self, center: float, seed: int, iteration: int = 0, *, device: int = 0, stream: object = 0) -> None:
        self._core = _cuda.DrawsCore(_device(device))
        self.set(center, seed, iteration, stream=stream)

    def set(self, center: float, seed: int, iteration: int, *, stream: object = 0) -> None:
        """Write all three, in the order of the stream. Raises InputError for what `Aslr` does not take."""
        if not 0 < (around := real("center", center)) <= LARGEST_RATE:
            raise InputError("center must be a number above 0, at most 1e100", got=center)
        numbers = whole("seed", seed, 0, 2**64 - 1), whole("the iteration", iteration, 0, LAST_ITERATION)
        self._core.set(around, *numbers, _handle(stream))

    def get(self, *, stream: object = 0) -> tuple[float, int, int]:
        """Centre, seed and iteration; waits for the stream."""
        return self._core.get(_handle(stream))


def draw_rates(draws: Draws, out: Any, *, stream: object = 0) -> None:
    """out[i] = ASLR's rate of tensor i, as `Aslr` draws it; then the iteration is counted. `out` is float64."""
    _cuda.draw_rates(draws._core, TensorList([out], "out"), _handle(stream))


class TlrOnDevice:
    """The state of a `Tlr` in device memory, which `Plan.dot_pair` moves on; the same bits as `Tlr.update`."""

    def __init__(self, schedule: Tlr, state: TlrState, *, device: int = 0, stream: object = 0) -> None:
        self.schedule = schedule
        self._core = _cuda.TlrOnDevice(schedule._core, _device(device))
        self.set(state, stream=stream)

    def set(self, state: TlrState, updates: int | None = None, *, stream: object = 0) -> None:
        """Write a state, and the number of updates of the window to come (`window_updates` unless given).

        Raises InputError.
        """
        length = self.schedule.window_updates if updates is None else updates
        length = whole("updates, the length of the window,", length, 1, LAST_ITERATION)
        self._core.set(check_state(state, TlrState).to_tuple(), length, _handle(stream))

    def get(self, *, stream: object = 0) -> TlrState:
        """The state as a value; waits for the stream."""
        return TlrState.from_core(self._core.get(_handle(stream)))


class Plan(NamedSizes):
    """The verbs over a list of tensors of these sizes on one GPU; `lrpolicy.kernels.Plan` says what each computes.

    Results go to tensors of the caller: one number for each tensor of the list. `names` serve error messages. Raises
    InputError, here and in every verb, with the name of the tensor that does not fit, and RunError with what CUDA said.
    """

    def __init__(self, counts: Sequence[int], names: Sequence[str] = (), *, device: int = 0) -> None:
        super().__init__(counts, names)
        self._core = _cuda.PlanCore(self._counts, _device(device))

    def dot_pair(
        self,
        gradients: Tensors,
        previous: Tensors,
        gg: Any,
        gp: Any,
        *,
        roll: bool = False,
        tlr: TlrOnDevice | None = None,
        rates: Any = None,
        stream: object = 0,
    ) -> None:
        """gg <- <g, g> and gp <- <g, g'> of each tensor (float64); with `roll` then g' <- g.

        With `tlr` the same launch ends the window: its state moves on, and `rates` (float32), where given, becomes
        float32(rate) * lr_mult of each tensor.
        """
        now, before = self._list(gradients, "gradient"), self._list(previous, "previous gradient")
        self._dot_pair(now, before, None, gg, gp, roll, tlr, rates, stream)

    def displacement_dot_pair(
        self,
        weights: Tensors,
        start: Tensors,
        previous: Tensors,
        gg: Any,
        gp: Any,
        *,
        roll: bool = False,
        tlr: TlrOnDevice | None = None,
        rates: Any = None,
        stream: object = 0,
    ) -> None:
        """`dot_pair` of g = start - weights, formed in the same pass; with `roll` then g' <- g and start <- weights."""
        now, before = self._list(weights, "weight"), self._list(previous, "previous displacement")
        self._dot_pair(now, before, self._list(start, "start"), gg, gp, roll, tlr, rates, stream)

    def accumulate(
        self,
        gradients: Tensors,
        sums: Tensors,
        scale: float = 1.0,
        *,
        device_scale: Any = None,
        stream: object = 0,
    ) -> None:
        """sums += scale * gradients, in place; `device_scale`, a float64 tensor of one element, counts instead."""
        ours = None if device_scale is None else _single(device_scale, "device_scale")
        lists = self._list(gradients, "gradient"), self._list(sums, "sum")
        self._core.accumulate(*lists, real("scale", scale), ours, _handle(stream))

    def momentum_step(
        self,
        gradients: Tensors,
        weights: Tensors,
        history: Tensors,
        rates: Any,
        decays: Any,
        momentum: float,
        *,
        nesterov: bool = False,
        rate_inside: bool = True,
        regularization: Literal["L1", "L2"] = "L2",
        draws: Draws | None = None,
        stream: object = 0,
    ) -> None:
        """One update by SGD, in place, in Caffe's form or PyTorch's; `rates` and `decays` are float32 tensors.

        With `draws` each tensor's rate is float32(ASLR's draw for it) * its number in `rates`, lr_mult; then the
        iteration is counted.
        """
        self._core.momentum_step(
            self._list(gradients, "gradient"),
            self._list(weights, "weight"),
            self._list(history, "history"),
            _single(rates, "rates"),
            _single(decays, "decays"),
            real("momentum", momentum),
            nesterov,
            rate_inside,
            is_l1(regularization),
            None if draws is None else draws._core,
            _handle(stream),
        )

    def _dot_pair(
        self,
        now: TensorList,
        before: TensorList,
        start: TensorList | None,
        gg: Any,
        gp: Any,
        roll: bool,
        tlr: TlrOnDevice | None,
        rates: Any,
        stream: object,
    ) -> None:
        if tlr is None and rates is not None:
            raise InputError("rates are what tlr gives: pass both, or neither")
        sums = _single(gg, "gg"), _single(gp, "gp")
        given = None if rates is None else _single(rates, "rates")
        core = None if tlr is None else tlr._core
        self._core.dot_pair(now, before, start, *sums, roll, core, given, _handle(stream))


def _single(tensor: Any, kind: str) -> TensorList:
    """One tensor that holds a number for each tensor of a list; a `TensorList` of it saves the check."""
    return tensor if isinstance(tensor, TensorList) else TensorList([tensor], kind)


def _device(device: object) -> int:
    return whole("device, the number of a GPU,", device, 0, 2**31 - 1)


def _handle(stream: object) -> int:
    """The stream's handle: of a number, of PyTorch's and CuPy's streams, or by the protocol `__cuda_stream__`."""
    if hasattr(stream, "__cuda_stream__"):
        stream = stream.__cuda_stream__()[1]
    for name in ("cuda_stream", "ptr"):
        stream = getattr(stream, name, stream)
    if isinstance(stream, int) and stream >= 0:
        return stream
    raise InputError("stream must be a CUDA stream or its handle", got=repr(stream))
