"""Caffe's six solver types on lists of tensors (caffe/solvers/*.cpp), in Caffe's order of operations.

rate -> clip_gradients on the raw accumulated gradients -> divide by iter_size -> regularize -> update. The rate is
inside the history (h = momentum * h + rate * g for SGD), and every setting is a float32 number, as in Caffe.
Single numbers are computed in the weights' own type, Caffe's Dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrpolicy.engines.identity import HISTORY_SLOTS
from lrpolicy.engines.torch.scalars import FLOAT32, Scalars
from lrpolicy.solver import Solver

Tensors = list[Tensor]


@dataclass(frozen=True)
class Weight:
    """One learnable blob: its layer and index there, its values, and its multipliers of rate and weight decay."""

    layer: str
    index: int
    tensor: Tensor
    lr_mult: float
    decay_mult: float


@dataclass(frozen=True)
class Settings:
    """The solver's numbers, each a float32 value, and how single numbers are computed from them."""

    scalars: Scalars
    momentum: float
    momentum2: float
    rms_decay: float
    delta: float


@dataclass(frozen=True)
class _Group:
    """Weights that share their multipliers and rate, with one list of history tensors for each slot.

    `first` is the place of the first one among the learnable weights.
    """

    first: int
    weights: Tensors
    lr_mult: float
    decay: float
    history: tuple[Tensors, ...]


# (settings, group, gradients, local rate, iteration); changes weights and history in place.
Step = Callable[[Settings, _Group, Tensors, float, int], None]


class Optimizer:
    """Applies one of Caffe's solver types to a net's learnable weights.

    `history` holds Caffe's history blobs in Caffe's order: one for each weight, and for AdaDelta and Adam a second
    one for each behind them. Assign to its tensors in place to resume. With `per_tensor` each weight may
    have a rate of its own. `scalars` computes in the weights' type.
    """

    def __init__(
        self, solver: Solver, weights: Sequence[Weight], *, scalars: Scalars = FLOAT32, per_tensor: bool = False
    ) -> None:
        self._step, slots = _STEPS[solver.solver_type], HISTORY_SLOTS[solver.solver_type]
        message = solver.message
        self._settings = Settings(scalars, message.momentum, message.momentum2, message.rms_decay, message.delta)
        self._clip, self._iter_size = message.clip_gradients, message.iter_size
        self._l1 = message.regularization_type == "L1"
        self.history = [torch.zeros_like(weight.tensor) for _ in range(slots) for weight in weights]
        self._groups = self._grouped(weights, slots, message.weight_decay, per_tensor)

    def _grouped(self, weights: Sequence[Weight], slots: int, weight_decay: float, per_tensor: bool) -> list[_Group]:
        """Frozen weights (lr_mult 0) are in no group: nothing that Caffe does to them changes their values."""
        groups: dict[tuple[float, float, int], list[int]] = {}
        for i, weight in enumerate(weights):
            if weight.lr_mult:
                groups.setdefault((weight.lr_mult, weight.decay_mult, i if per_tensor else 0), []).append(i)
        return [
            _Group(
                members[0],
                [weights[i].tensor for i in members],
                lr_mult,
                self._settings.scalars.product(weight_decay, decay_mult),
                tuple([self.history[slot * len(weights) + i] for i in members] for slot in range(slots)),
            )
            for (lr_mult, decay_mult, _), members in groups.items()
        ]

    @torch.no_grad()
    def apply(self, rate: float | Sequence[float], iteration: int) -> None:
        """One update with the weights' gradients, which it consumes. `iteration` counts the updates done before.

        `rate` is the rate of all weights, or with `per_tensor` one number for each learnable weight, frozen ones too.
        """
        scalars = self._settings.scalars
        gradients = [[_gradient(weight) for weight in group.weights] for group in self._groups]
        if self._clip > 0 and self._groups:  # there may be nothing that learns
            _clip([tensor for tensors in gradients for tensor in tensors], self._clip)
        for group, grads in zip(self._groups, gradients, strict=True):
            if self._iter_size > 1:
                torch._foreach_mul_(grads, scalars.inverse(self._iter_size))
            if group.decay:
                signs = torch._foreach_sign(group.weights) if self._l1 else group.weights
                torch._foreach_add_(grads, signs, alpha=group.decay)
            own = rate if isinstance(rate, float) else rate[group.first]
            self._step(self._settings, group, grads, scalars.product(own, group.lr_mult), iteration)
            for weight in group.weights:
                weight.grad = None


def _gradient(weight: Tensor) -> Tensor:
    """A weight that the loss does not depend on still decays: its gradient is 0."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def _clip(gradients: Tensors, limit: float) -> None:
    """Scale all gradients so that their common norm is at most `limit`, without asking the device for the norm."""
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (limit / norm).clamp(max=1.0))


def _sgd(settings: Settings, group: _Group, grads: Tensors, rate: float, iteration: int) -> None:
    (history,) = group.history
    torch._foreach_mul_(history, settings.momentum)
    torch._foreach_add_(history, grads, alpha=rate)
    torch._foreach_sub_(group.weights, history)


def _nesterov(settings: Settings, group: _Group, grads: Tensors, rate: float, iteration: int) -> None:
    (history,) = group.history
    torch._foreach_mul_(history, settings.momentum)
    torch._foreach_add_(group.weights, history)  # steps back by momentum * old history
    torch._foreach_add_(history, grads, alpha=rate)
    torch._foreach_sub_(group.weights, history, alpha=1 + settings.momentum)


def _adagrad(settings: Settings, group: _Group, grads: Tensors, rate: float, iteration: int) -> None:
    (history,) = group.history
    torch._foreach_addcmul_(history, grads, grads)
    _divide_by_root(group.weights, grads, history, settings.delta, rate)


def _rmsprop(settings: Settings, group: _Group, grads: Tensors, rate: float, iteration: int) -> None:
    (history,) = group.history
    _average_square(history, grads, settings.rms_decay, settings.scalars)
    _divide_by_root(group.weights, grads, history, settings.delta, rate)


def _adadelta(settings: Settings, group: _Group, grads: Tensors, rate: float, iteration: int) -> None:
    squares, update_squares = group.history
    _average_square(squares, grads, settings.momentum, settings.scalars)
    ratios = torch._foreach_add(update_squares, settings.delta)
    torch._foreach_div_(ratios, torch._foreach_add(squares, settings.delta))
    torch._foreach_sqrt_(ratios)
    torch._foreach_mul_(grads, ratios)
    _average_square(update_squares, grads, settings.momentum, settings.scalars)
    torch._foreach_sub_(group.weights, grads, alpha=rate)


def _adam(settings: Settings, group: _Group, grads: Tensors, rate: float, iteration: int) -> None:
    means, squares = group.history
    beta1, beta2, scalars = settings.momentum, settings.momentum2, settings.scalars
    torch._foreach_mul_(means, beta1)
    torch._foreach_add_(means, grads, alpha=scalars.complement(beta1))
    _average_square(squares, grads, beta2, scalars)
    correction = (1 - beta2 ** (iteration + 1)) ** 0.5 / (1 - beta1 ** (iteration + 1))
    _divide_by_root(group.weights, means, squares, settings.delta, scalars.product(rate, correction))


_STEPS: dict[str, Step] = {
    "SGD": _sgd,
    "Nesterov": _nesterov,
    "AdaGrad": _adagrad,
    "RMSProp": _rmsprop,
    "AdaDelta": _adadelta,
    "Adam": _adam,
}


def _average_square(averages: Tensors, values: Tensors, fraction: float, scalars: Scalars) -> None:
    """averages <- fraction * averages + (1 - fraction) * values^2."""
    torch._foreach_mul_(averages, fraction)
    torch._foreach_addcmul_(averages, values, values, value=scalars.complement(fraction))


def _divide_by_root(weights: Tensors, numerators: Tensors, squares: Tensors, delta: float, rate: float) -> None:
    """weights <- weights - rate * numerators / (sqrt(squares) + delta)."""
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, delta)
    torch._foreach_addcdiv_(weights, numerators, roots, value=-rate)
