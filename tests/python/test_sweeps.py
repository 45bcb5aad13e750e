import pickle

import numpy as np
import pytest

from lrpolicy.errors import InputError
from lrpolicy.schedules import Schedule
from lrpolicy.sweeps import Sweep


@pytest.mark.parametrize(("scale", "numpy"), [("log", np.geomspace), ("linear", np.linspace)])
def test_a_sweep_is_numpys_space(scale, numpy):
    sweep = Sweep(1e-5, 10.0, 101, scale)
    assert isinstance(sweep, Schedule)
    np.testing.assert_allclose(sweep.rates(range(101)), numpy(1e-5, 10.0, 101), rtol=1e-13)
    assert (np.diff(sweep.rates(range(101))) > 0).all()


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_both_ends_are_exact_and_the_last_rate_stays(scale):
    sweep = Sweep(3e-5, 0.7, 77, scale)
    assert (sweep.rate(0), sweep.rate(76), sweep.rate(1000)) == (3e-5, 0.7, 0.7)


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_one_rate_at_a_time_gives_the_same_bits(scale):
    sweep = Sweep(1e-5, 10.0, 999, scale)
    assert [sweep.rate(t) for t in range(999)] == sweep.rates(range(999)).tolist()
    assert sweep.rates([[5, 6], [998, 0]]).shape == (2, 2)
    assert pickle.loads(pickle.dumps(sweep)) == sweep


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0.0, 1.0, 10), "0 < low < high, got low 0, high 1"),
        ((1.0, 1.0, 10), "0 < low < high"),
        ((1.0, float("inf"), 10), "0 < low < high"),
        ((float("nan"), 1.0, 10), "0 < low < high"),
        ((0.1, 1.0, 1), "2 iterations or more, got 1"),
        ((0.1, 1.0, 10.5), r"whole number from 0 to 2\^50, got 10.5"),
        ((0.1, 1.0, 10, "cubic"), "log or linear, got cubic"),
    ],
)
def test_bad_sweeps(arguments, rule):
    with pytest.raises(InputError, match=rule):
        Sweep(*arguments)


@pytest.mark.parametrize("wrong", [-4, 0.5])
def test_iterations_are_whole_numbers_from_0(wrong):
    sweep = Sweep(0.1, 1.0, 10)
    with pytest.raises(InputError, match="whole number"):
        sweep.rate(wrong)
    with pytest.raises(InputError, match="whole number"):
        sweep.rates([wrong])
