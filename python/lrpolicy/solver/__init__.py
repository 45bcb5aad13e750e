"""Caffe solvers: reading a solver prototxt, its policy and nets, and writing one.

solver = read("lenet_solver.prototxt")
solver.policy.rate(1000)
solver.with_policy(Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=2000)).write("tri2.prototxt")
"""

from lrpolicy.solver.reader import Solver, read
from lrpolicy.solver.rules import SOLVER_TYPES

__all__ = ["SOLVER_TYPES", "Solver", "read"]
