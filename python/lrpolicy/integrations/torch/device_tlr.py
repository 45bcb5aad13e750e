"""TLR's arithmetic (csrc/include/lrpolicy/tlr.hpp) on tensors: all rates at once, never leaving the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrpolicy.stateful import Tlr, TlrEvent, TlrState


class DeviceTlr:
    """The state of a `Tlr` as double tensors, one number for each rate.

    It follows the compiled machine operation by operation: with a rate for each tensor the bits are the same, one rate
    for all differs by the order of a sum. Every method but `state` and `load` leaves the device alone.
    """

    def __init__(self, schedule: Tlr, state: TlrState, device: torch.device) -> None:
        self.schedule = schedule
        learning = [index for index, multiplier in enumerate(schedule.lr_mult) if multiplier != 0]
        self._learning = torch.tensor(learning, device=device)
        self._multipliers = torch.tensor([schedule.lr_mult[i] for i in learning], dtype=torch.float64, device=device)
        self._device = device
        additive = schedule.variant in ("fixed_eta", "hypergradient")
        tiny = torch.finfo(torch.float64).tiny
        self._floor = schedule.min_lr if additive else max(schedule.min_lr, tiny)
        self.load(state)

    def load(self, state: TlrState) -> None:
        """Take over a state."""

        def doubles(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=self._device)

        self._windows = state.windows
        self._rates, self._scales, self._squared, self._first = map(
            doubles, (state.rates, state.scales, state.squared, state.first)
        )
        self._events = torch.tensor(state.events, device=self._device)
        self._culprit = torch.tensor(state.non_finite_tensor, device=self._device)
        self._restarts = torch.tensor(state.restarts, device=self._device)

    def state(self) -> TlrState:
        """The state as a value; waits for the device."""
        lists = (*self._numbers(), self._restarts)
        return TlrState(self._windows, int(self._culprit), *(tuple(values.tolist()) for values in lists))

    def write(self, rates: Sequence[Tensor], multipliers: Sequence[float]) -> None:
        """Write each group's rate into its tensor."""
        ours = self._rates if self.schedule.per_tensor else self._rates.expand(len(rates))
        for index, (rate, multiplier) in enumerate(zip(rates, multipliers, strict=True)):
            rate.copy_(ours[index] * multiplier)

    def update(self, dots: Tensor, updates: int) -> None:
        """The state after a window of `updates` updates; `dots` has the shape (2, tensors)."""
        learning = dots[:, self._learning]
        gradient = self.schedule.source == "gradient"
        gg, gp = learning * self._multipliers if gradient else learning / self._multipliers
        if self._windows == 0:
            gp = torch.zeros_like(gp)
        unfit = ~(gg.isfinite() & gp.isfinite())
        nobody = len(self.schedule.lr_mult)
        first = torch.where(unfit, self._learning, nobody).min()
        self._culprit = torch.where(first == nobody, -1, first)
        if self.schedule.per_tensor:
            learned = self._learned(gg, gp, updates, self._learning)
            for held, new in zip(self._numbers(), learned, strict=True):
                held.index_copy_(0, self._learning, new)
        else:
            every = slice(None)
            self._rates, self._scales, self._squared, self._first, self._events = self._learned(
                gg.sum(0, keepdim=True), gp.sum(0, keepdim=True), updates, every
            )
        self._windows += 1
        if self.schedule.restart_below:
            self._restart()

    def _restart(self) -> None:
        fell = self._rates < self.schedule.restart_below
        self._rates = torch.where(fell, self.schedule.base_lr, self._rates)
        self._events = torch.where(fell, self._events & ~TlrEvent.AT_LIMIT | TlrEvent.RESTARTED, self._events)
        self._restarts = self._restarts + fell

    def _numbers(self) -> tuple[Tensor, ...]:
        return self._rates, self._scales, self._squared, self._first, self._events

    def _learned(self, gg: Tensor, gp: Tensor, updates: int, which: Tensor | slice) -> tuple[Tensor, ...]:
        """rate, scale, squared, first and events of the rates `which`."""
        rate, before, m, first, _ = (numbers[which] for numbers in self._numbers())
        rule = self.schedule
        scale = rate * updates if rule.source == "displacement" else torch.full_like(rate, updates)
        n = gg / scale / scale
        d = torch.where(before == 0, 0.0, gp / scale / before)
        fit = n.isfinite() & d.isfinite()
        wanted = torch.where(fit, self._stepped(rate, d, n, m), rate)
        new = wanted.clamp(self._floor, rule.max_lr)
        first = torch.where(fit & (first == 0), n, first)
        at_limit = TlrEvent.AT_LIMIT * (new != wanted)
        diverging = TlrEvent.DIVERGING * (n > rule.divergence * first)
        events = torch.where(fit, at_limit + diverging, int(TlrEvent.NON_FINITE))
        return torch.where(fit, new, rate), scale, torch.where(n.isfinite(), n, 0.0), first, events

    def _stepped(self, rate: Tensor, d: Tensor, n: Tensor, m: Tensor) -> Tensor:
        """The new rate before limits."""
        bound = self.schedule.bound
        if self.schedule.variant == "efficient":
            curvature = 4 * (n - d)
            factor = 1 + (d / curvature).clamp(max=bound)
            still = (d == 0) | (n == 0)
        elif self.schedule.variant == "newton":
            curvature = m - d
            factor = (m / curvature).clamp(max=1 + bound)
            still = (d == 0) | (m == 0)
        else:
            assert self.schedule.eta is not None
            return rate + self.schedule.eta * d
        factor = torch.where(curvature > 0, factor, 1 + bound)
        return rate * torch.where(still, 1.0, factor)
