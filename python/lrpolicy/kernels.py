"""The kernels over lists of tensors: one pass over memory, the same bits on every machine (csrc/README.md).

Tensors are anything with `__dlpack__`: NumPy arrays, PyTorch tensors, JAX arrays. They are borrowed, never copied,
never kept beyond the life of a `TensorList`; PyTorch's derivatives do not see what is written. A list may be given as
it is, and is then checked at every call; a `TensorList` is checked once. Every error is an `InputError` that names the
tensor.

    >>> import numpy as np
    >>> from lrpolicy.kernels import Plan
    >>> g, before = [np.array([1.0, 2.0]), np.array([3.0])], [np.array([1.0, 1.0]), np.array([0.5])]
    >>> gg, gp = Plan([2, 1]).dot_pair(g, before, roll=True)
    >>> gg.tolist(), gp.tolist(), before[1].tolist()
    ([5.0, 9.0], [3.0, 1.5], [3.0])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrpolicy import _core
from lrpolicy.errors import InputError
from lrpolicy.stateful.values import real, whole

__all__ = ["Plan", "TensorList", "kernel_settings"]


class TensorList(_core.TensorList):
    """Tensors of one dtype on one device, checked and borrowed: their memory stays alive as long as this list.

    A framework that gives a tensor other memory (PyTorch's `.grad` after `zero_grad(set_to_none=True)`) needs a new
    list. Where the very tensors of a list (of NumPy or PyTorch) have lost their memory, each verb says so, at a cost of
    some 0.03 us a tensor; only a PyTorch storage that was freed and then got less memory at the same address goes
    unnoticed. `kind` ("gradient") and `names` (one for each tensor) serve error messages.
    """

    def __init__(self, tensors: Iterable[Any], kind: str = "tensor", names: Iterable[str] = ()) -> None:
        super().__init__(list(tensors), kind, list(names))


Tensors = TensorList | Iterable[Any]


class NamedSizes:
    """What the plans of every device share: sizes and names, checked, and lists made of what a caller gives."""

    def __init__(self, counts: Sequence[int], names: Sequence[str] = ()) -> None:
        if names and len(names) != len(counts):
            raise InputError("there must be a name for each size", got=f"{len(names)} names for {len(counts)} sizes")
        self.names = tuple(names)
        self._counts = [whole("a size", count) for count in counts]

    def _list(self, tensors: Tensors, kind: str) -> TensorList:
        """With the names, unless their number differs: how many tensors there must be is said by the verb."""
        if isinstance(tensors, TensorList):
            return tensors
        items = list(tensors)
        return TensorList(items, kind, self.names if len(items) == len(self.names) else ())


class Plan(NamedSizes):
    """The verbs over a list of tensors of these sizes: `counts` gives the number of elements of each, 0 included.

    Make one and use it at every step: it holds the table of the work and room for its sums. It serves one call at a
    time; another thread's call meanwhile is an `InputError`. `names` serve error messages.
    """

    def __init__(self, counts: Sequence[int], names: Sequence[str] = ()) -> None:
        super().__init__(counts, names)
        self._core = _core.PlanCore(self._counts)

    def dot_pair(
        self, gradients: Tensors, previous: Tensors, *, roll: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """<g, g> and <g, g'> of each tensor, summed in double within 6e-15 of exact; with `roll` then g' <- g.

        float32, float64, float16 or bfloat16; `previous` (g') has the dtype of `gradients`.
        """
        now, before = self._list(gradients, "gradient"), self._list(previous, "previous gradient")
        return self._core.dot_pair(now, before, None, roll)

    def displacement_dot_pair(
        self, weights: Tensors, start: Tensors, previous: Tensors, *, roll: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`dot_pair` of g = start - weights, formed in the same pass; with `roll` then g' <- g and start <- weights.

        `previous` has the dtype of `weights`, or float32 where that is a 16-bit one.
        """
        now, before = self._list(weights, "weight"), self._list(previous, "previous displacement")
        return self._core.dot_pair(now, before, self._list(start, "start"), roll)

    def accumulate(self, gradients: Tensors, sums: Tensors, scale: float = 1.0) -> None:
        """sums += scale * gradients, in place. `sums` are float64 for float64 gradients and float32 for all others."""
        self._core.accumulate(self._list(gradients, "gradient"), self._list(sums, "sum"), real("scale", scale))

    def momentum_step(
        self,
        gradients: Tensors,
        weights: Tensors,
        history: Tensors,
        rates: ArrayLike,
        decays: ArrayLike,
        momentum: float,
        *,
        nesterov: bool = False,
        rate_inside: bool = True,
        regularization: Literal["L1", "L2"] = "L2",
    ) -> None:
        """One update by SGD, in place, all in float32; `rates` and `decays` hold a number for each tensor.

        With d = gradient + decay * weight, by Caffe's solvers (caffe/solvers/sgd_solver.cpp):
        history <- momentum * history + rate * d, weights -= history. With `rate_inside` false as torch.optim.SGD does:
        history <- momentum * history + d, weights -= rate * history.
        """
        self._core.momentum_step(
            self._list(gradients, "gradient"),
            self._list(weights, "weight"),
            self._list(history, "history"),
            np.asarray(rates, np.float32),
            np.asarray(decays, np.float32),
            real("momentum", momentum),
            nesterov,
            rate_inside,
            is_l1(regularization),
        )


def is_l1(regularization: str) -> bool:
    """Whether a weight's sign is added to its gradient, or (L2) the weight. Raises InputError for any other name."""
    if regularization not in ("L1", "L2"):
        raise InputError("regularization must be L1 or L2", got=repr(regularization))
    return regularization == "L1"


def kernel_settings() -> dict[str, Any]:
    """What computes here: `implementation`, whether LRPOLICY_IMPL `forced` it, `instruction_set`, `threads`.

    Raises InputError where LRPOLICY_IMPL or LRPOLICY_THREADS makes no sense.
    """
    return dict(zip(("implementation", "forced", "instruction_set", "threads"), _core.kernel_settings(), strict=True))
