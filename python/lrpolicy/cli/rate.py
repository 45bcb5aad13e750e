"""`lrpolicy rate`: the numbers that Caffe would print."""

from __future__ import annotations

from collections.abc import Sequence

import click
import numpy as np

from lrpolicy.cli import specs
from lrpolicy.cli.common import examples, json_option, print_json, read_solver
from lrpolicy.iterations import LAST_ITERATION


@click.command(epilog=examples("lrpolicy rate digits 0 100 1000", "lrpolicy rate my_solver.prototxt 5000 --json"))
@click.argument("solver")
@click.argument("iterations", metavar="T...", nargs=-1, required=True, type=click.IntRange(0, LAST_ITERATION))
@json_option
def rate(solver: str, iterations: Sequence[int], as_json: bool) -> None:
    """Print the rate of a solver at given iterations.

    SOLVER is a solver prototxt or a set-up that lrpolicy ships; T counts the updates done (0, 1, 2, ...). The rate is
    a float32 number printed with six digits, as in Caffe's log; --json has all digits. Of the policies that observe
    the training only the sequences that advance by_epoch have rates that are known beforehand.
    """
    read = read_solver(solver)
    policy, schedule = read.policy, specs.schedule_of(read.policy, read.message.test_interval)
    rates = [(t, schedule.rate(t)) for t in iterations]
    if as_json:
        rows = [{"iteration": t, "rate": value, "rate_float32": float(np.float32(value))} for t, value in rates]
        print_json({"policy": policy.to_dict(), "rates": rows})
        return
    for t, value in rates:
        click.echo(f"Iteration {t}, lr = {np.float32(value):g}")
