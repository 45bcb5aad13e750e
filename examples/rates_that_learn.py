"""TLR finds the rate of a quadratic, ASLR searches around its start: python rates_that_learn.py

The schedules only compute. What is trained, and where the states are kept, is up to the program.
"""

from __future__ import annotations

import numpy as np

from lrpolicy.stateful import Aslr, Tlr, TlrState, TlrWindow

CURVATURES = np.array([1.0, 3.0, 10.0])


def train(tlr: Tlr, iterations: int = 200) -> tuple[float, float, set[str]]:
    """Minimise sum(h_i w_i^2)/2 by gradient descent with TLR: the largest loss, the last loss, the events."""
    weights, gradient_before, state = np.ones(3), np.zeros(3), tlr.init()
    losses, events = [], set()
    for t in range(iterations):
        gradient = CURVATURES * weights
        state = tlr.update(state, TlrWindow(gg=[gradient @ gradient], gp=[gradient @ gradient_before]))
        weights = weights - tlr.rate(state, t) * gradient
        gradient_before = gradient
        losses.append(float(CURVATURES @ weights**2 / 2))
        events.update(tlr.events(state))
        if t == iterations // 2:  # a state is a value: write it, read it, go on
            state = TlrState.from_json(state.to_json())
    return max(losses), losses[-1], events


print("TLR learns a rate from any start; without a limit it may overshoot on the way, and says so")
for max_lr in (1e100, 0.19):
    for start in (0.0001, 0.001, 0.01, 0.1):
        worst, last, said = train(Tlr(start, max_lr=max_lr))
        print(
            f"  start {start:<7g} max_lr {max_lr:<6g} worst loss {worst:.1e}  last loss {last:.1e}  {'; '.join(said)}"
        )

print("ASLR: the centre moves while the validation cost is worse, and stays when it improves")
aslr = Aslr(0.1, seed=1)
search = aslr.init()
for epoch, cost in enumerate([2.0, 1.5, 1.6, 1.7, 1.8, 1.2, 1.3]):
    search = aslr.update(search, cost)
    drawn = ", ".join(f"{rate:.4f}" for rate in aslr.rates(search, t=100 * epoch, tensors=3))
    print(f"  epoch {epoch}  cost {cost}  centre {aslr.center(search):<5g} first rates {drawn}")
