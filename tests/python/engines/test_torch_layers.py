"""Layers against NumPy written from Caffe's definitions, and against torch.nn where the meaning is the same."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lrpolicy.engines.torch.layers import LayerContext, StepRandom, build_layer, layer_types
from lrpolicy.errors import InputError
from lrpolicy.net import DATA_TYPES, LAYER_TYPES, parameter_shapes, top_shapes
from lrpolicy.prototxt import messages, text

CPU = torch.device("cpu")


def layer(source: str) -> Any:
    return text.parse(source, messages.LayerParameter(), "layer").message


def run(source: str, *bottoms: Tensor, blobs: tuple[Tensor, ...] | None = None, training: bool = True) -> Any:
    parsed = layer(f'name: "it" {source}')
    parsed.bottom.extend(f"b{index}" for index in range(len(bottoms)))
    if not parsed.top and parsed.type != "Silence":
        parsed.top.append("t")
    shapes = [tuple(bottom.shape) for bottom in bottoms]
    if blobs is None:
        torch.manual_seed(1)
        blobs = tuple(torch.randn(shape) for shape in parameter_shapes(parsed, shapes))
    tops = tuple(top_shapes(parsed, shapes))
    context = LayerContext(parsed, tuple(shapes), tops, blobs, training, StepRandom(1, CPU), bottoms[0].dtype)
    result = build_layer(context)(*bottoms)
    for top, shape in zip(result if isinstance(result, tuple) else [result], tops, strict=True):
        assert tuple(top.shape) == shape
    return result


def test_every_layer_type_of_the_reader_is_built_here() -> None:
    assert set(layer_types()) == set(LAYER_TYPES) - set(DATA_TYPES) - {"Input"}


# Every combination that Caffe takes, but for windows that begin outside an unpadded image.
WINDOWS = [
    window
    for window in itertools.product((2, 3), (1, 2, 3), (0, 1, 2), ("CEIL", "FLOOR"))
    if window[2] < window[0] and (window[1] <= window[0] or window[2])
]


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("kernel,stride,pad,mode", WINDOWS)
def test_pooling_is_caffes(method: str, kernel: int, stride: int, pad: int, mode: str) -> None:
    x = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(1)).double()
    param = f"pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad} round_mode: {mode}"
    top, top32 = (run(f'type: "Pooling" pooling_param {{ {param} }}', bottom) for bottom in (x, x.float()))
    torch.testing.assert_close(top32, top.float())
    for i, j in itertools.product(range(top.shape[2]), range(top.shape[3])):
        starts = (i * stride - pad, j * stride - pad)
        ends = tuple(min(s + kernel, n + pad) for s, n in zip(starts, (7, 5), strict=True))
        area = math.prod(e - s for s, e in zip(starts, ends, strict=True))
        window = x[:, :, max(starts[0], 0) : min(ends[0], 7), max(starts[1], 0) : min(ends[1], 5)]
        wanted = window.amax((2, 3)) if method == "MAX" else window.sum((2, 3)) / area
        np.testing.assert_allclose(top[:, :, i, j], wanted, rtol=1e-13, atol=1e-14)


def test_max_pooling_gives_a_tie_to_the_first() -> None:
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    run('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("method,wanted", [("MAX", torch.amax), ("AVE", torch.mean)])
def test_global_pooling_takes_the_whole_image(method: str, wanted: Any) -> None:
    x = torch.randn(2, 3, 4, 5)
    top = run(f'type: "Pooling" pooling_param {{ pool: {method} global_pooling: true }}', x)
    torch.testing.assert_close(top, wanted(x, (2, 3), True))


def test_pooling_refuses_what_it_does_not_do() -> None:
    with pytest.raises(InputError, match='layer "it" \\(Pooling\\): the torch engine pools by MAX or AVE'):
        run('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', torch.randn(1, 1, 4, 4))
    with pytest.raises(InputError, match="the last window starts outside the image"):
        run('type: "Pooling" pooling_param { kernel_size: 1 stride: 3 }', torch.randn(1, 1, 5, 5))


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_lrn_averages_over_the_padded_window(region: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 6, 5, 4)).astype(np.float32)
    across = region == "ACROSS_CHANNELS"
    padded = np.pad(x.astype(float) ** 2, ((0, 0), (2, 2), (0, 0), (0, 0)) if across else ((0, 0),) * 2 + ((2, 2),) * 2)
    total = np.zeros(x.shape)
    for shift in itertools.product(range(5)) if across else itertools.product(range(5), range(5)):
        i, j = shift if not across else (0, 0)
        total += padded[:, shift[0] : shift[0] + 6] if across else padded[:, :, i : i + 5, j : j + 4]
    k, count = (1.5, 5) if across else (1.0, 25)
    wanted = x * (k + 0.3 * total / count) ** -0.6
    param = f"local_size: 5 alpha: 0.3 beta: 0.6 k: 1.5 norm_region: {region}"
    np.testing.assert_allclose(run(f'type: "LRN" lrn_param {{ {param} }}', torch.from_numpy(x)), wanted, rtol=2e-6)


def test_batch_norm_keeps_caffes_three_sums() -> None:
    blobs = tuple(torch.zeros(size) for size in (3, 3, 1))
    sums = [np.zeros(3), np.zeros(3), np.zeros(1)]
    for seed in range(3):
        x = np.random.default_rng(seed).normal(seed, 2, (4, 3, 2, 2)).astype(np.float32)
        top = run(
            'type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.9 }', torch.from_numpy(x), blobs=blobs
        )
        mean, variance = x.mean((0, 2, 3), dtype=float), x.var((0, 2, 3), dtype=float)
        wanted = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
        np.testing.assert_allclose(top, wanted, rtol=1e-4, atol=1e-5)
        sums = [0.9 * total + new for total, new in zip(sums, (mean, variance * 16 / 15, 1.0), strict=True)]
    for blob, total in zip(blobs, sums, strict=True):
        np.testing.assert_allclose(blob, total, rtol=1e-5)
    top = run('type: "BatchNorm"', torch.from_numpy(x), blobs=blobs, training=False)
    mean, variance = (sums[index][:, None, None] / sums[2] for index in (0, 1))
    np.testing.assert_allclose(top, (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5)


def test_batch_norm_without_statistics_normalizes_by_zero_mean_and_variance() -> None:
    x = torch.randn(2, 3, 2, 2)
    top = run('type: "BatchNorm"', x, blobs=tuple(torch.zeros(size) for size in (3, 3, 1)), training=False)
    torch.testing.assert_close(top, x / math.sqrt(1e-5))


def test_batch_norm_of_single_values_is_refused() -> None:
    with pytest.raises(InputError, match="two or more values for each channel, got 1"):
        run('type: "BatchNorm"', torch.randn(1, 3))


def test_dropout_scales_what_it_keeps_and_depends_on_seed_and_step_alone() -> None:
    parsed = layer('name: "drop" type: "Dropout" dropout_param { dropout_ratio: 0.3 }')
    random = StepRandom(7, CPU)
    forward = build_layer(LayerContext(parsed, ((100, 100),), ((100, 100),), (), True, random))
    tops = []
    for step in (0, 1, 0):
        random.begin(step)
        tops.append(forward(torch.ones(100, 100)))
    assert torch.equal(tops[0], tops[2])
    assert not torch.equal(tops[0], tops[1])
    assert torch.unique(tops[0]).tolist() == pytest.approx([0, 1 / 0.7])
    assert (tops[0] > 0).float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert torch.equal(run('type: "Dropout"', tops[0], training=False), tops[0])


def test_dropout_of_nothing_is_the_identity_as_in_caffes_release_builds() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(run('type: "Dropout" dropout_param { dropout_ratio: 0 }', x, training=True), x)
    for ratio in (1, -0.1):
        with pytest.raises(InputError, match=r"dropout_ratio must lie in \[0, 1\)"):
            run(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', x, training=True)


def nll(scores: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """-log softmax along axis 1, in double."""
    shifted = scores.astype(float) - scores.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - np.take_along_axis(shifted, labels[:, None], 1)[:, 0]


@pytest.mark.parametrize(
    "param,divisor",
    [("", 20), ("normalization: BATCH_SIZE", 4), ("normalization: NONE", 1), ("normalize: false", 4),
     ("normalization: FULL", 20), ("ignore_label: 2", 0), ("ignore_label: 2 normalization: FULL", 20)],
)  # fmt: skip
def test_softmax_loss_divides_as_asked(param: str, divisor: int) -> None:
    random = np.random.default_rng(3)
    scores, labels = random.normal(size=(4, 3, 5)).astype(np.float32), random.integers(0, 3, (4, 5))
    each = nll(scores, labels) * ((labels != 2) if "ignore" in param else 1)
    wanted = each.sum() / (divisor or (labels != 2).sum())
    loss = run(f'type: "SoftmaxWithLoss" loss_param {{ {param} }}', torch.from_numpy(scores), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("far", [200.0, 3e9, 3e38])
def test_softmax_loss_is_clipped_and_its_gradient_is_not(far: float) -> None:
    scores = torch.tensor([[0.0, far]], requires_grad=True)
    loss = run('type: "SoftmaxWithLoss"', scores, torch.tensor([0]))
    assert loss.item() == pytest.approx(87.3365, rel=1e-6)  # what Caffe prints when a training explodes
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[-1, 1]]


def test_accuracy_counts_a_tie_as_a_miss() -> None:
    scores = torch.tensor([[1.0, 1, 0], [0, 2, 1], [3, 2, 1], [0, 0, 1]])
    labels = torch.tensor([0, 1, 1, 2])
    assert run('type: "Accuracy"', scores, labels).item() == 0.5
    assert run('type: "Accuracy" accuracy_param { top_k: 2 }', scores, labels).item() == 1
    assert run('type: "Accuracy" accuracy_param { ignore_label: 1 }', scores, labels).item() == 0.5
    whole, per_class = run('type: "Accuracy" top: "a" top: "b"', scores, labels)
    assert (whole.item(), per_class.tolist()) == (0.5, [0, 0.5, 1])


def test_inner_product_from_an_axis_on_and_transposed() -> None:
    x = torch.randn(2, 3, 4, 5)
    weight, bias = torch.randn(7, 20), torch.randn(7)
    wanted = torch.einsum("abcd,ncd->abn", x, weight.view(7, 4, 5)) + bias
    param = "inner_product_param { num_output: 7 axis: 2"
    torch.testing.assert_close(run(f'type: "InnerProduct" {param} }}', x, blobs=(weight, bias)), wanted)
    transposed = (weight.t().contiguous(), bias)
    torch.testing.assert_close(run(f'type: "InnerProduct" {param} transpose: true }}', x, blobs=transposed), wanted)


def test_scale_and_bias_spread_over_the_axes_they_name() -> None:
    x = torch.randn(2, 3, 4, 5)
    factor, shift = torch.randn(3, 4), torch.randn(3, 4)
    wanted = x * factor[None, :, :, None] + shift[None, :, :, None]
    got = run('type: "Scale" scale_param { num_axes: 2 bias_term: true }', x, blobs=(factor, shift))
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(run('type: "Scale"', x, factor, blobs=()), x * factor[None, :, :, None])
    torch.testing.assert_close(
        run('type: "Bias" bias_param { axis: -1 }', x, blobs=(shift[0, :1].expand(5),)), x + shift[0, 0]
    )


@pytest.mark.parametrize(
    "source,wanted",
    [
        ('type: "ReLU" relu_param { negative_slope: 0.2 }', torch.nn.LeakyReLU(0.2)),
        ('type: "ReLU"', torch.nn.ReLU()),
        ('type: "ELU" elu_param { alpha: 0.7 }', torch.nn.ELU(0.7)),
        ('type: "Sigmoid"', torch.nn.Sigmoid()),
        ('type: "TanH"', torch.nn.Tanh()),
        ('type: "BNLL"', torch.nn.Softplus()),
        ('type: "AbsVal"', torch.abs),
        ('type: "Softmax" softmax_param { axis: 2 }', torch.nn.Softmax(2)),
        ('type: "Power" power_param { power: 3 scale: 2 shift: 0.5 }', lambda x: (0.5 + 2 * x) ** 3),
        ('type: "Exp" exp_param { base: 2 scale: 3 shift: 1 }', lambda x: 2 ** (1 + 3 * x)),
        ('type: "Log" log_param { base: 10 scale: 0.1 shift: 9 }', lambda x: torch.log10(9 + 0.1 * x)),
        ('type: "Flatten" flatten_param { axis: 1 end_axis: 2 }', torch.nn.Flatten(1, 2)),
        ('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 2 } }', lambda x: x.reshape(2, 30, 2)),
    ],
)
def test_one_bottom_layers_are_those_of_torch(source: str, wanted: Any) -> None:
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(run(source, x), wanted(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "source,rule",
    [
        ('type: "Exp" exp_param { base: -2 }', r"\(Exp\): base must be greater than 0, or -1 for e, got -2"),
        ('type: "Exp" exp_param { base: 0 }', r"\(Exp\): base must be greater than 0"),
        ('type: "Log" log_param { base: -0.5 }', r"\(Log\): base must be greater than 0"),
        ('type: "Log" log_param { base: 1 }', r"\(Log\): there is no logarithm to base 1"),
    ],
)
def test_bases_that_caffe_dies_on_are_refused(source: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        run(source, torch.ones(2, 3))


def test_exp_to_base_1_is_constant_as_in_caffe() -> None:
    assert run('type: "Exp" exp_param { base: 1 }', torch.randn(2, 3)).unique().tolist() == [1]


def test_layers_of_several_bottoms() -> None:
    a, b, c = (torch.randn(2, 3, 4) for _ in range(3))
    torch.testing.assert_close(run('type: "Eltwise"', a, b, c), a + b + c)
    torch.testing.assert_close(run('type: "Eltwise" eltwise_param { coeff: 1 coeff: -2 }', a, b), a - 2 * b)
    torch.testing.assert_close(run('type: "Eltwise" eltwise_param { operation: PROD }', a, b, c), a * b * c)
    wanted = torch.maximum(torch.maximum(a, b), c)
    torch.testing.assert_close(run('type: "Eltwise" eltwise_param { operation: MAX }', a, b, c), wanted)
    torch.testing.assert_close(run('type: "Concat" concat_param { axis: 2 }', a, b), torch.cat([a, b], 2))
    torch.testing.assert_close(run('type: "EuclideanLoss"', a, b), ((a - b) ** 2).sum() / 4)
    wanted = torch.nn.BCEWithLogitsLoss(reduction="sum")(a, b.sigmoid()) / 2
    torch.testing.assert_close(run('type: "SigmoidCrossEntropyLoss"', a, b.sigmoid()), wanted)
    torch.testing.assert_close(run('type: "Crop" crop_param { axis: 1 offset: 1 }', a, b[:, :2, :3]), a[:, 1:3, 1:4])
    parts = run('type: "Slice" top: "x" top: "y" slice_param { axis: 2 slice_point: 1 }', a)
    assert [tuple(part.shape) for part in parts] == [(2, 3, 1), (2, 3, 3)]
    assert run('type: "Silence"', a) == ()


def test_dummy_data_is_filled_once_where_constant() -> None:
    parsed = layer(
        'name: "dummy" type: "DummyData" top: "a" top: "b" dummy_data_param { shape { dim: 2 } shape { dim: 3 }'
        ' data_filler { value: 4 } data_filler { type: "gaussian" } }'
    )
    random = StepRandom(1, CPU)
    forward = build_layer(LayerContext(parsed, (), ((2,), (3,)), (), True, random))
    draws = []
    for step in (0, 1, 0):
        random.begin(step)
        draws.append(forward())
    assert draws[0][0].tolist() == [4, 4]  # type: ignore[union-attr]
    assert torch.equal(draws[0][1], draws[2][1])
    assert not torch.equal(draws[0][1], draws[1][1])
