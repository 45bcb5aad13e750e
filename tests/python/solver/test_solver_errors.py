"""Every broken rule gives one message: where, rule, got, remedy."""

from __future__ import annotations

import pytest

from lrpolicy.errors import InputError
from lrpolicy.solver import Solver

BASE = """\
net: "net.prototxt"
base_lr: 0.01
lr_policy: "step"
gamma: 0.1
stepsize: 100
max_iter: 1000
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"step"', '"tri3"', ':3: lr_policy "tri3" is unknown; known: aslr, cos, exp, fixed, '),
        (
            '"step"',
            '"tri2"',
            ':3: policy "tri2" needs max_lr (k1, the other end of the range); add for example  max_lr: ',
        ),
        ('lr_policy: "step"\n', "", ": lr_policy is missing; known: aslr, cos, "),
        ('"step"', '"plateau"', ':3: policy "plateau" needs plateau_winsize'),
        ('"step"', '"seq5"', ':3: lr_policy "seq5" is unknown; known: aslr, '),
        (
            '"step"',
            '"seq3"',
            ':3: lr_policy "seq3" observes the loss of each test pass, and test_interval is not set; add',
        ),
        ('"step"', '"aslr"', ':3: lr_policy "aslr" observes the loss of each test pass, and test_interval is not set'),
        ('"step"', '"seq3" test_interval: 5 lr_policy_param { strategy: "by_epoc" }', ':3: strategy "by_epoc" is unkn'),
        ('"step"', '"tlr"\nlr_policy_param { variant: "eficient" }', ':4: variant "eficient" is unknown; known: '),
        ('"step"', '"tlr"\nlr_policy_param { source: "grad" }', ':4: source "grad" is unknown; known: displacement'),
        (
            '"step"',
            '"tlr"\nlr_policy_param {\nvariant: "fixed_eta" }',
            ':5: variant "fixed_eta" needs eta, the rate at wh',
        ),
        ('"step"', '"tlr"\nlr_policy_param {\neta: 0.5 }', ':5: variant "efficient" takes no eta, got 0.5'),
        ('"step"', '"tlr"\nlr_policy_param {\nseed: 5 }', ':5: lr_policy "tlr" does not use seed; remove it; its lr_p'),
        ('"step"', '"tlr"\nlr_policy_param { wndow: 1 }', ':4: LearningRatePolicyParameter has no field "wndow"; did'),
        ('"step"', '"tlr"\nlr_policy_param { window: 0 }', ":4: window, the part of an epoch between two updates of "),
        ('"step"', '"tlr"\nlr_policy_param { epoch: 0 }', ":4: epoch must be a whole number from 1 to"),
        (
            '"step"',
            '"step"\nlr_policy_param { variant: "newton" }',
            ':4: lr_policy "step" does not use variant; remove',
        ),
        ('0.01\nlr_policy: "step"', '0\nlr_policy: "tlr"', ":2: base_lr must be a number above 0, at most 1e100, got"),
        ('0.01\nlr_policy: "step"', '-1\nlr_policy: "tlr"', ":2: base_lr must be a number above 0, at most 1e100, got"),
        ('"step"', '"tlr"\nmax_lr: 0.001', ":2: base_lr must lie between min_lr and max_lr, and min_lr must not be "),
        ("gamma", "plateau_winsize: -5 gamma", ":4: plateau_winsize must be a whole number, 0 or more, got -5"),
        ('"step"', '"sgdr"', ':3: lr_policy "sgdr" is not known here; it is a cosine with restarts; lr_policy "cos"'),
        ("base_lr: 0.01\n", "", ':2: policy "step" needs base_lr'),
        ("0.01", "-0.01", ":2: base_lr must be"),
        ("stepsize: 100", "stepsize: 0", ":5: stepsize must be"),
        ("gamma: 0.1", "gamma: -1", ":4: gamma must be"),
        (
            '"step"',
            '"multistep"\nstepvalue: 5\nstepvalue: 3',
            ":5: stepvalue must be strictly increasing, got 3 after 5",
        ),
        (
            '"step"',
            '"multistep"\nstepvalue: 5\nstepvalue: 9\nstepvalue: 0',
            ":6: stepvalue must be a whole number from 1 to 2^50, got 0",
        ),
        ('"step"', '"multistep"', ':3: policy "multistep" needs stepvalue'),
        ("stepsize", "stepsze", ':5: SolverParameter has no field "stepsze"; did you mean "stepsize"?'),
        (
            "gamma",
            "warmup_iter: 5 gamma",
            ':4: SolverParameter has no field "warmup_iter"; Caffe\'s solver has no warm-up: leave it out',
        ),
        ("gamma", "start_lr_policy: -5 gamma", ":4: start_lr_policy must be a whole number, 0 or more, got -5"),
        ("max_iter: 1000", "", ": max_iter is missing; add for example  max_iter: 10000"),
        ("1000", "-1", ":6: max_iter must be 1 or more, got -1"),
        ("gamma", "iter_size: 0 gamma", ":4: iter_size must be 1 or more, got 0"),
        ("gamma", "average_loss: 0 gamma", ":4: average_loss must be 1 or more, got 0"),
        ("gamma", "test_interval: -1 gamma", ":4: test_interval must be 0 or more, got -1"),
        ("gamma", "snapshot: -1 gamma", ":4: snapshot must be 0 or more, got -1"),
        ("gamma", "test_iter: 5 gamma", ":4: test_interval must be 1 or more where test_iter is given, got 0"),
        ("gamma", "test_interval: 5 test_iter: 0 gamma", ":4: test_iter must be 1 or more, got 0"),
        ("net:", 'test_net: "t" net:', ": test_iter must be given once for each test net, 1 or more times, got 0"),
        ("net:", "test_iter: 5 train_net:", ":1: test_iter must be given once for each test net, 0 times, got 1"),
        (
            "gamma",
            "test_state {} gamma",
            ":4: test_state must be left out or given once for each test net, 0 times, got 1",
        ),
        ('net: "net.prototxt"\n', "", ': no training net is named; add  net: "FILE.prototxt"'),
        ("net:", 'train_net: "b" net:', ":1: one training net is allowed, got net and train_net"),
        (
            "gamma",
            'type: "Adma" gamma',
            ':4: solver type "Adma" is unknown; known: AdaDelta, AdaGrad, Adam, Nesterov, ',
        ),
        ("gamma", 'type: "SGD" solver_type: SGD gamma', ":4: type and its old form solver_type exclude each other"),
        ("gamma", 'type: "AdaGrad" momentum: 0.5 gamma', ":4: AdaGrad takes no momentum, got 0.5"),
        ("gamma", 'type: "RMSProp" rms_decay: 1 gamma', ":4: rms_decay must lie in [0, 1), got 1.0"),
        ("gamma", 'type: "Adam" momentum: 1 gamma', ":4: Adam's momentum must lie in [0, 1), got 1.0"),
        ("gamma", 'type: "Adam" momentum2: 1.5 gamma', ":4: Adam's momentum2 must lie in [0, 1), got 1.5"),
        ("gamma", 'regularization_type: "L3" gamma', ':4: regularization_type must be "L1" or "L2", got L3'),
    ],
)
def test_message(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Solver.parse(BASE.replace(old, new))
    assert str(caught.value).startswith("solver.prototxt" + message)
    assert caught.value.exit_status == 2


def test_a_net_is_not_a_solver() -> None:
    with pytest.raises(InputError, match="this looks like a net; a solver names its net with"):
        Solver.parse('layer { name: "a" }')
