"""SGD in one pass over memory for all parameter groups: torch.optim.SGD by the kernels of lrpolicy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from lrpolicy.integrations.torch.groups import Group, names_of, parameters_of
from lrpolicy.kernels import Plan, TensorList


class SGD(torch.optim.SGD):
    """`torch.optim.SGD`, whose update is one call of `lrpolicy.kernels.Plan.momentum_step` for all parameters.

    >>> optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> scheduler = TLR(optimizer, epoch_iterations=len(loader), per_tensor=True)

    PyTorch's own goes over a group's tensors several times, and once more for each group; here gradients, weights and
    momentum are read once, however many groups there are, so that a rate for each tensor costs no more than one for
    all. Arguments (but `differentiable`), state and results are those of `torch.optim.SGD`, the latter up to the
    rounding of a float32.

    What the kernel does not take is updated as PyTorch does: other devices than the CPU, other dtypes than float32,
    tensors that are not contiguous, sparse gradients, a momentum of 0, `dampening`, `maximize` and `fused`.
    `LRPOLICY_THREADS` counts here, and not PyTorch's threads. Raises ValueError as `torch.optim.SGD` does, and
    InputError in `step` for parameters that share memory.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, momentum, dampening, weight_decay, nesterov, maximize=maximize, foreach=foreach, fused=fused
        )
        self._parts: dict[tuple[float, bool], _Part] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Nothing that is borrowed is copied or pickled."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._parts = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        ours: dict[tuple[float, bool], list[tuple[Tensor, float, float]]] = {}
        for group in self.param_groups:
            is_ours = group["momentum"] != 0 == group["dampening"] and not (group["maximize"] or group["fused"])
            rate, decay = float(group["lr"]), float(group["weight_decay"])
            fit = ours.setdefault((float(group["momentum"]), group["nesterov"]), [])
            rest = []
            for parameter in group["params"]:
                if is_ours and _fits(parameter):
                    fit.append((parameter, rate, decay))
                elif parameter.grad is not None:
                    rest.append(parameter)
            self._step_by_torch(group, rest)
        for rule, tensors in ours.items():
            self._step_by_kernel(rule, tensors)
        return loss

    def _step_by_kernel(self, rule: tuple[float, bool], tensors: list[tuple[Tensor, float, float]]) -> None:
        if not tensors:
            return
        parameters, rates, decays = zip(*tensors, strict=True)
        histories = [self._history(parameter) for parameter in parameters]
        part = self._parts.get(rule)
        if part is None or not part.holds(parameters, histories):
            part = self._parts[rule] = _Part(parameters, histories, self._names_of(parameters))
        gradients = TensorList([parameter.grad for parameter in parameters], "gradient", part.names)
        momentum, nesterov = rule
        part.plan.momentum_step(
            gradients, part.weights, part.history, rates, decays, momentum, nesterov=nesterov, rate_inside=False
        )

    def _names_of(self, parameters: Sequence[Tensor]) -> list[str]:
        names = dict(zip(map(id, parameters_of(self.param_groups)), names_of(self.param_groups), strict=True))
        return [names[id(parameter)] for parameter in parameters]

    def _history(self, parameter: Tensor) -> Tensor:
        """PyTorch begins with the first gradient itself, which is what zeros lead to."""
        state = self.state[parameter]
        held: Tensor | None = state.get("momentum_buffer")
        if held is None or not held.is_contiguous():
            held = torch.zeros_like(parameter) if held is None else held.contiguous()
            state["momentum_buffer"] = held
        return held

    def _step_by_torch(self, group: Group, parameters: list[Tensor]) -> None:
        if not parameters:
            return
        gradients = [parameter.grad for parameter in parameters]
        buffers = [self.state[parameter].get("momentum_buffer") for parameter in parameters]
        names = ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize", "foreach", "fused")
        options = {name: group[name] for name in names}
        for_fused = ("grad_scale", "found_inf")  # which a GradScaler sets
        options |= {name: getattr(self, name, None) for name in for_fused}
        is_sparse = any(gradient.is_sparse for gradient in gradients if gradient is not None)
        sgd(parameters, gradients, buffers, has_sparse_grad=is_sparse, **options)  # type: ignore[arg-type]
        if group["momentum"] != 0:
            for parameter, buffer in zip(parameters, buffers, strict=True):
                self.state[parameter]["momentum_buffer"] = buffer


class _Part:
    """The parameters of one momentum: what of them the kernel keeps from step to step."""

    def __init__(self, parameters: Sequence[Tensor], histories: Sequence[Tensor], names: list[str]) -> None:
        self._parameters, self._histories, self.names = list(parameters), list(histories), names
        self.plan = Plan([parameter.numel() for parameter in parameters])
        self.weights, self.history = TensorList(parameters, "weight", names), TensorList(histories, "momentum", names)

    def holds(self, parameters: tuple[Tensor, ...], histories: list[Tensor]) -> bool:
        """Whether these are the tensors of this part, in the memory that they had."""
        same = len(parameters) == len(self._parameters) and all(map(is_, parameters, self._parameters))
        same = same and all(map(is_, histories, self._histories))
        return same and self.weights.is_current() and self.history.is_current()


def _fits(parameter: Tensor) -> bool:
    gradient = parameter.grad
    return (
        gradient is not None
        and parameter.dtype is torch.float32
        and gradient.dtype is torch.float32
        and parameter.device.type == gradient.device.type == "cpu"
        and gradient.layout is torch.strided
        and parameter.is_contiguous()
        and gradient.is_contiguous()
    )
