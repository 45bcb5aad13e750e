"""Fillers: distributions by scipy's tests, shapes of the rest by their definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lrpolicy.engines.torch.fillers import blob_filler, fill
from lrpolicy.errors import InputError
from lrpolicy.prototxt import messages, text

SHAPE = (40, 30, 5, 5)  # fan_in 750, fan_out 1000


def values(source: str, shape: tuple[int, ...] = SHAPE, seed: int = 1, index: int = 0) -> Any:
    return fill(text.parse(source, messages.FillerParameter(), "filler").message, shape, seed, index)


@pytest.mark.parametrize(
    "source,bound",
    [
        ('type: "xavier"', math.sqrt(3 / 750)),
        ('type: "xavier" variance_norm: FAN_OUT', math.sqrt(3 / 1000)),
        ('type: "xavier" variance_norm: AVERAGE', math.sqrt(3 / 875)),
        ('type: "uniform" min: -2 max: 2', 2),
    ],
)
def test_uniform_fillers(source: str, bound: float) -> None:
    assert stats.kstest(values(source).ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    "source,mean,deviation",
    [
        ('type: "msra"', 0, math.sqrt(2 / 750)),
        ('type: "msra" variance_norm: FAN_OUT', 0, math.sqrt(2 / 1000)),
        ('type: "gaussian" mean: 3 std: 0.5', 3, 0.5),
    ],
)
def test_normal_fillers(source: str, mean: float, deviation: float) -> None:
    assert stats.kstest(values(source).ravel(), stats.norm(mean, deviation).cdf).pvalue > 0.01


def test_sparse_keeps_a_share_of_the_outputs() -> None:
    filled = values('type: "gaussian" sparse: 10')
    assert np.count_nonzero(filled) / filled.size == pytest.approx(10 / 40, abs=0.01)


def test_the_other_fillers() -> None:
    assert np.all(values("value: 2.5", (3, 2)) == 2.5)
    unit = values('type: "positive_unitball"')
    assert unit.min() >= 0
    np.testing.assert_allclose(unit.reshape(40, -1).sum(1), 1, rtol=1e-5)
    ramp = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(values('type: "bilinear"', (2, 1, 4, 4))[1, 0], np.outer(ramp, ramp))


def test_draws_depend_on_seed_and_index_alone() -> None:
    first = values('type: "xavier"')
    np.random.seed(5)
    assert np.array_equal(first, values('type: "xavier"'))
    assert not np.array_equal(first, values('type: "xavier"', seed=2))
    assert not np.array_equal(first, values('type: "xavier"', index=1))
    assert first.dtype == np.float32


@pytest.mark.parametrize(
    "source,shape,message",
    [
        ('type: "xavior"', SHAPE, 'filler "xavior" is unknown.*did you mean "xavier"'),
        ('type: "msra" sparse: 3', SHAPE, 'takes no "sparse"'),
        ('type: "bilinear"', (3, 4), "square kernel"),
    ],
)
def test_what_fillers_refuse(source: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        values(source, shape)


@pytest.mark.parametrize(
    "source,fillers",
    [
        ('type: "Scale"', [1.0, 0.0]),
        ('type: "Scale" bottom: "a" bottom: "b" scale_param { bias_filler { value: 3 } }', [3.0]),
        ('type: "PReLU"', [0.25]),
        ('type: "BatchNorm"', [0.0, 0.0, 0.0]),
        ('type: "Bias" bias_param { filler { value: 2 } }', [2.0]),
        ('type: "Convolution" convolution_param { bias_filler { value: 4 } }', [0.0, 4.0]),
    ],
)
def test_blobs_have_the_defaults_of_their_layer(source: str, fillers: list[float]) -> None:
    layer = text.parse(source, messages.LayerParameter(), "layer").message
    assert [blob_filler(layer, blob).value for blob in range(len(fillers))] == fillers
