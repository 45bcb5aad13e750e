"""Shape inference against real Caffe (caffe_shapes.tsv) and PyTorch, and what misfits are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lrpolicy.errors import InputError
from lrpolicy.net import Net, infer, parameters
from lrpolicy.net.reader import Phase

ROWS = [
    row.split("\t") for row in (Path(__file__).parent / "caffe_shapes.tsv").read_text().splitlines() if row[0] != "#"
]


def net_of(layer: str, bottoms: list[tuple[int, ...]]) -> Net:
    """A net of Input layers b0, b1, ... and one layer x that takes them."""
    lines = [
        f'layer {{ name: "in{i}" type: "Input" top: "b{i}" input_param {{ shape {{ dim: {list(shape)} }} }} }}\n'
        for i, shape in enumerate(bottoms)
    ]
    takes = " ".join(f'bottom: "b{i}"' for i in range(len(bottoms)))
    return Net.parse("".join([*lines, f'layer {{ name: "x" {takes} {layer} }}']))


def shapes_of(net: Net) -> list[tuple[int, ...]]:
    filtered = net.for_state("TEST")
    shapes = infer(filtered, {}, net.where)
    parameters(filtered, shapes, net.where)
    return shapes[len(filtered.layer) - 1][1]


@pytest.mark.parametrize(("layer", "bottoms", "tops"), ROWS)
def test_as_real_caffe(layer: str, bottoms: str, tops: str) -> None:
    given = [tuple(map(int, shape.split("x"))) for shape in bottoms.split()] if bottoms != "-" else []
    if tops == "refused":
        with pytest.raises(InputError, match=r"^net\.prototxt:\d+: layer \"x\""):
            shapes_of(net_of(layer, given))
    else:
        found = ["x".join(map(str, shape)) or "scalar" for shape in shapes_of(net_of(layer, given))]
        assert " ".join(found) == tops.replace("-", "")


sizes = st.integers(1, 30)


@settings(deadline=None)
@given(sizes, st.integers(1, 6), st.integers(1, 5), st.integers(0, 5), st.integers(1, 3))
def test_convolution_as_pytorch(size: int, kernel: int, stride: int, pad: int, dilation: int) -> None:
    assume(size + 2 * pad >= dilation * (kernel - 1) + 1)
    layer = f"num_output: 4 kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation}"
    net = net_of(f'type: "Convolution" top: "t" convolution_param {{ {layer} }}', [(2, 3, size, size + 1)])
    torch_layer = torch.nn.Conv2d(3, 4, kernel, stride, pad, dilation, device="meta")
    assert shapes_of(net) == [tuple(torch_layer(torch.empty(2, 3, size, size + 1, device="meta")).shape)]


@settings(deadline=None)
@given(sizes, st.integers(1, 6), st.integers(1, 6), st.integers(0, 3))
def test_pooling_as_pytorch(size: int, kernel: int, stride: int, pad: int) -> None:
    # PyTorch knows pad <= kernel / 2 only, and clips the last window with and without pad.
    assume(pad * 2 <= kernel <= size and stride <= kernel)
    layer = f"kernel_size: {kernel} stride: {stride} pad: {pad}"
    net = net_of(f'type: "Pooling" top: "t" pooling_param {{ {layer} }}', [(2, 3, size, size)])
    torch_layer = torch.nn.AvgPool2d(kernel, stride, pad, ceil_mode=True)
    assert shapes_of(net) == [tuple(torch_layer(torch.empty(2, 3, size, size, device="meta")).shape)]


@pytest.mark.parametrize(
    ("layer", "bottoms"),
    [
        ('type: "Pooling" top: "t" pooling_param { kernel_size: 5 stride: 4 }', [(2, 3, 4, 1)]),
        ('type: "Convolution" top: "t" convolution_param { num_output: 4 kernel_size: 5 stride: 8 }', [(2, 2, 20, 4)]),
        ('type: "Slice" top: "t" top: "u" slice_param { slice_point: 4 }', [(2, 4, 3)]),
        ('type: "Flatten" top: "t" flatten_param { axis: 2 end_axis: 1 }', [(2, 4, 3, 5)]),
    ],
)
def test_what_caffe_lets_pass_without_elements_is_refused(layer: str, bottoms: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError):
        shapes_of(net_of(layer, bottoms))


NET = """\
layer { name: "in" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 28 }
  data_param { batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "sum" type: "Eltwise"
  bottom: "ip"
  bottom: "label"
  top: "sum" }
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", ':7: layer "sum" (Eltwise): bottom "label" must have the shape of "ip", 5 x 4, got 5'),
        ('bottom: "label"', 'bottom: "lable"', ':9: layer "sum" (Eltwise): bottom "lable" is made by no layer '),
        ('top: "sum"', 'top: "data"', ':10: layer "sum" (Eltwise): top "data" is already made by a layer above'),
        ('  bottom: "label"\n', "", ':8: layer "sum" (Eltwise): the type takes 2 or more bottom(s), got 1'),
        ("num_output: 4", "num_output: 0", ':5: layer "ip" (InnerProduct): num_output must be 1 or more, got 0'),
        ("batch_size: 5", "", ':3: layer "in" (Data): batch_size must be 1 or more, got 0'),
        ("crop_size: 28", "crop_size: 41", ':3: layer "in" (Data): crop_size 41 does not fit into its images'),
        ('name: "in"', 'name: "out"', ':3: layer "out" (Data): the shape of its data is not known here'),
        ('top: "sum"', 'top: "sum" loss_weight: [1, 2]', ":10: "),
        ('top: "sum"', 'top: "sum" propagate_down: true', ":10: "),
    ],
)
def test_misfits_name_line_layer_and_what_was_expected(old: str, new: str, message: str) -> None:
    source = NET.replace(old, new)
    if old in ('top: "sum"', 'bottom: "label"') and '"lable"' not in new:
        source = source.replace('bottom: "label"', 'bottom: "ip"')
    net = Net.parse(source)
    with pytest.raises(InputError) as caught:
        infer(net.for_state("TRAIN"), {"in": (1, 32, 40)}, net.where)
    assert str(caught.value).startswith("net.prototxt" + message)


def test_without_a_file_misfits_name_the_layer() -> None:
    with pytest.raises(InputError, match=r'^layer "sum" \(Eltwise\): bottom "label" must have'):
        infer(Net.parse(NET).for_state("TRAIN"), {"in": (1, 32, 40)})


def test_data_layers_crop_and_batch() -> None:
    net = Net.parse(NET.replace('bottom: "label"', 'bottom: "ip"'))
    shapes = infer(net.for_state("TRAIN"), {"in": (1, 32, 40)})
    assert shapes[0] == ([], [(5, 1, 28, 28), (5,)])
    assert shapes[1] == ([(5, 1, 28, 28)], [(5, 4)])


def _in_place(layer: str, maker: str, phase: Phase) -> None:
    net = Net.parse(f"""layer {{ name: "in" type: "Input" top: "b" input_param {{ shape {{ dim: [2, 3] }} }} }}
      layer {{ name: "m" bottom: "b" top: "m" {maker} }}
      layer {{ name: "x" bottom: "m" top: "m" {layer} }}""")
    infer(net.for_state(phase), {}, net.where)


WEIGHTED = 'type: "InnerProduct" inner_product_param { num_output: 3 }'


@pytest.mark.parametrize("layer", ['type: "AbsVal"', 'type: "Flatten"', WEIGHTED])
def test_what_caffe_cannot_compute_in_place_is_refused(layer: str) -> None:
    rule = r"^net.prototxt:3: layer \"x\" \(\w+\): Caffe cannot compute this type in place, got \"m\"; give its top a"
    with pytest.raises(InputError, match=rule):
        _in_place(layer, 'type: "TanH"', "TEST")


@pytest.mark.parametrize("kind", ["Power", "Log", "BNLL"])
def test_in_place_where_only_the_gradient_is_wrong(kind: str) -> None:
    """Caffe's backward pass of these reads what the forward pass has written over."""
    _in_place(f'type: "{kind}"', WEIGHTED, "TEST")
    _in_place(f'type: "{kind}"', 'type: "TanH"', "TRAIN")
    with pytest.raises(InputError, match="Caffe cannot compute the gradient of this type in place"):
        _in_place(f'type: "{kind}"', WEIGHTED, "TRAIN")


LEARNED = """layer { name: "in" type: "Data" top: "data" top: "label" data_param { batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 1 } }
layer { name: "label2" type: "Flatten" bottom: "ip" top: "label2" }
"""
ACCURACY = 'layer { name: "x" type: "Accuracy" bottom: "ip" bottom: "label" top: "x"'


@pytest.mark.parametrize(
    ("layer", "bottom"),
    [
        (f"{ACCURACY} loss_weight: 1 }}", "ip"),
        (f'{ACCURACY} }} layer {{ name: "p" type: "Power" bottom: "x" top: "p" loss_weight: 1 }}', "ip"),
        (f"{ACCURACY} }} force_backward: true", "ip"),
        ('layer { name: "x" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label2" }', "label2"),
        ('layer { name: "x" type: "SigmoidCrossEntropyLoss" bottom: "ip" bottom: "label2" }', "label2"),
        ('layer { name: "x" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" propagate_down: [1, 1] }', "label"),
    ],
)
def test_gradients_that_caffe_cannot_compute_are_refused(layer: str, bottom: str) -> None:
    """With each of these Caffe stops in its first backward pass."""
    net = Net.parse(LEARNED + layer)
    rule = rf'^net.prototxt:4: layer "x" \(\w+\): Caffe cannot compute the gradient of its bottom "{bottom}"; have no'
    with pytest.raises(InputError, match=rule):
        infer(net.for_state("TRAIN"), {"in": (3,)}, net.where)
    infer(net.for_state("TEST"), {"in": (3,)}, net.where)


@pytest.mark.parametrize(
    "layer",
    [
        f"{ACCURACY} }}",
        f"{ACCURACY} loss_weight: 0 }}",
        f"{ACCURACY} loss_weight: 1 propagate_down: [false, false] }}",
        f"{ACCURACY} loss_weight: 1 }}".replace('"ip"', '"data"'),
        'layer { name: "x" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label2" loss_weight: 0 }',
        'layer { name: "x" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label2" propagate_down: [1, 0] }',
        'layer { name: "x" type: "EuclideanLoss" bottom: "ip" bottom: "label2" }',
    ],
)
def test_gradients_that_caffe_need_not_compute(layer: str) -> None:
    net = Net.parse(LEARNED + layer)
    infer(net.for_state("TRAIN"), {"in": (3,)}, net.where)
