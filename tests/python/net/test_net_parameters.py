"""Parameter blobs: shapes, counts (published and by PyTorch), sharing; and the fingerprint."""

from __future__ import annotations

import pytest
import torch

from lrpolicy import zoo
from lrpolicy.errors import InputError
from lrpolicy.net import Net, Parameter, fingerprint, infer, parameters, weight_count
from lrpolicy.solver import read

EXAMPLES = {"mnist": (1, 28, 28), "digits": (1, 8, 8), "cifar": (3, 40, 40)}


def found_in(net: Net) -> list[Parameter]:
    filtered = net.for_state("TRAIN")
    return parameters(filtered, infer(filtered, EXAMPLES, net.where), net.where)


# LeNet: Caffe's own log; cifar10_quick and _full: Caffe's log; ResNets of option B: He et al.'s nets counted by others.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mnist-lenet", 431_080),
        ("cifar10-resnet20", 272_474),
        ("cifar10-resnet32", 466_906),
        ("cifar10-resnet56", 855_770),
    ],
)
def test_published_weight_counts(name: str, count: int) -> None:
    assert weight_count(found_in(read(zoo.solver_path(name)).train_net())) == count


def test_blob_shapes_as_pytorch() -> None:
    net = Net.parse("""
      layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 6, 9, 9] } } }
      layer { name: "c" type: "Convolution" bottom: "x" top: "c"
              convolution_param { num_output: 4 group: 2 kernel_h: 3 kernel_w: 2 } }
      layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }
      layer { name: "p" type: "PReLU" bottom: "c" top: "c" }
      layer { name: "i" type: "InnerProduct" bottom: "c" top: "i" inner_product_param { num_output: 5 } }""")
    convolution = torch.nn.Conv2d(6, 4, (3, 2), groups=2, device="meta")
    linear = torch.nn.Linear(4 * 7 * 8, 5, device="meta")
    expected = [convolution.weight, convolution.bias, *torch.nn.BatchNorm2d(4).buffers(), torch.nn.PReLU(4).weight]
    shapes = [tuple(tensor.shape) for tensor in [*expected, linear.weight, linear.bias]]
    shapes[4] = (1,)  # Caffe's third blob is a factor, PyTorch's a count without axes
    found = found_in(net)
    assert [parameter.shape for parameter in found] == shapes
    assert [parameter.lr_mult for parameter in found] == [1, 1, 0, 0, 0, 1, 1, 1]
    assert weight_count(found) == sum(t.numel() for t in (*convolution.parameters(), *linear.parameters())) + 4


TWICE = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 6] } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 6 } }
layer { name: "ip" type: "%s" bottom: "a" top: "b" inner_product_param { num_output: 6 } include { phase: TEST } }
layer { name: "x" type: "ReLU" bottom: "a" top: "a" }
"""


# Real Caffe tests the first such layer with the weights of the last, or dies of their shapes (ShareTrainedLayersWith).
@pytest.mark.parametrize("second", ["InnerProduct", "ReLU"])
def test_a_name_belongs_to_one_layer_with_weights(second: str) -> None:
    net = Net.parse(TWICE % second)
    assert len(found_in(net)) == 2, "names without weights may be given twice, and each phase is a net of its own"
    test = net.for_state("TEST")
    with pytest.raises(InputError) as caught:
        parameters(test, infer(test, {}, net.where), net.where)
    rule = 'net.prototxt:4: two layers of the TEST phase are named "ip", the other one at net.prototxt:3; give each '
    assert str(caught.value).startswith(rule)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        ('type: "InnerProduct" inner_product_param { num_output: 5 transpose: true bias_term: false }', [(12, 5)]),
        ('type: "InnerProduct" inner_product_param { num_output: 5 axis: 2 }', [(5, 4), (5,)]),
        ('type: "Scale" scale_param { bias_term: true }', [(3,), (3,)]),
        ('type: "Scale" scale_param { axis: 0 num_axes: -1 }', [(2, 3, 4)]),
        ('type: "Scale" scale_param { num_axes: 0 }', [()]),
        ('type: "Scale" bottom: "y" scale_param { axis: 0 bias_term: true }', [(2,)]),
        ('type: "Bias" bias_param { axis: 1 num_axes: 2 }', [(3, 4)]),
        ('type: "Bias" bottom: "y" bias_param { axis: 0 }', []),
        ('type: "PReLU" prelu_param { channel_shared: true }', [()]),
        ('type: "Sigmoid"', []),
    ],
)
def test_blob_shapes(layer: str, shapes: list[tuple[int, ...]]) -> None:
    inputs = (
        'layer { name: "x" type: "Input" top: "x" top: "y" input_param { shape { dim: [2, 3, 4] } shape { dim: 2 } } }'
    )
    net = Net.parse(inputs + f'layer {{ name: "z" bottom: "x" top: "z" {layer} }}')
    assert [parameter.shape for parameter in found_in(net)] == shapes


SHARED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 3 }
        param { name: "w" lr_mult: 2 } param { name: "b" decay_mult: 0 } }
layer { name: "c" type: "InnerProduct" bottom: "a" top: "c" inner_product_param { num_output: 3 }
        param { name: "w" } param { lr_mult: 5 } }
"""


def test_shared_blobs_have_one_owner_and_its_multipliers() -> None:
    found = found_in(Net.parse(SHARED))
    assert [(p.owner, p.lr_mult, p.decay_mult) for p in found] == [(0, 2, 1), (1, 1, 0), (0, 2, 1), (3, 5, 1)]
    assert weight_count(found) == 9 + 3 + 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('param { name: "w" } param', 'param { name: "b" } param', 'the shared param "b" has the shape 3, got 3 x 3'),
        ('{ name: "w" }', '{ name: "w" lr_mult: 1 }', 'the shared param "w" has lr_mult 2.0, got 1.0'),
        ("{ lr_mult: 5 }", "{ } param { }", r"it has 2 parameter blob\(s\), got 3 param blocks"),
    ],
)
def test_sharing_that_does_not_fit(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        found_in(Net.parse(SHARED.replace(old, new)))


def test_permissive_sharing_needs_the_same_count_only() -> None:
    source = """
    layer { name: "x" type: "Input" top: "x" top: "y" input_param { shape { dim: [5, 2] } shape { dim: [5, 3] } } }
    layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
            inner_product_param { num_output: 3 } }
    layer { name: "b" type: "InnerProduct" bottom: "y" top: "b" param { name: "w" }
            inner_product_param { num_output: 2 } }
    """
    with pytest.raises(InputError, match='the shared param "w" has the shape 3 x 2, got 2 x 3'):
        found_in(Net.parse(source))
    found = found_in(Net.parse(source.replace('name: "w" }', 'name: "w" share_mode: PERMISSIVE }')))
    assert [(parameter.shape, parameter.owner) for parameter in found][2] == ((2, 3), 0)


def test_batch_statistics_are_not_learned() -> None:
    source = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }'
    with pytest.raises(InputError, match=r"lr_mult must be 0, got 1\.0"):
        found_in(Net.parse(source + 'layer { name: "b" type: "BatchNorm" bottom: "x" top: "x" param { lr_mult: 1 } }'))


LENET = zoo.solver_path("mnist-lenet").with_name("mnist_lenet_train_test.prototxt").read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# LeNet", "# another comment"),
        ('"conv1"', '"first"'),
        ('"ip2"', '"last"'),
        ("mnist_train_lmdb", "/elsewhere/lmdb"),
        ("batch_size: 100", "batch_size: 64"),
        ('bottom: "ip1" top: "ip1"', 'top: "ip1" bottom: "ip1"'),
        ("num_output: 20 kernel_size: 5", "kernel_size: 5 num_output: 20 group: 1"),
        ('bias_filler { type: "constant" }', ""),
        ("pool: MAX", "engine: CAFFE"),
        ("include { phase: TEST }", "exclude { phase: TRAIN }"),
    ],
)
def test_fingerprint_ignores_names_order_paths_and_written_defaults(old: str, new: str) -> None:
    assert LENET.replace(old, new) != LENET
    assert fingerprint(Net.parse(LENET.replace(old, new))) == fingerprint(Net.parse(LENET))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_output: 20", "num_output: 21"),
        ("pool: MAX", "pool: AVE"),
        ('"xavier"', '"msra"'),
        ("lr_mult: 2", "lr_mult: 1"),
        ('type: "ReLU"', 'type: "Sigmoid"'),
        ('bottom: "pool1"', 'bottom: "conv1"'),
        ("scale: 0.00390625", "scale: 1"),
        ('layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }\n', ""),
    ],
)
def test_fingerprint_sees_structure_and_settings(old: str, new: str) -> None:
    assert LENET.replace(old, new) != LENET
    assert fingerprint(Net.parse(LENET.replace(old, new))) != fingerprint(Net.parse(LENET))


@pytest.mark.parametrize(("first", "second"), [("", "lr_mult: 2 decay_mult: 5"), ("lr_mult: 2", "decay_mult: 5")])
def test_any_of_the_shared_blobs_may_set_the_multipliers(first: str, second: str) -> None:
    """Caffe's Net::AppendParam: the first that sets one does so for all of its name."""
    layer = """layer { name: "%s" type: "InnerProduct" bottom: "x" top: "%s" param { name: "w" %s }
      inner_product_param { num_output: 3 bias_term: false } }"""
    net = Net.parse(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }'
        + layer % ("a", "a", first)
        + layer % ("b", "b", second)
    )
    assert [(blob.owner, blob.lr_mult, blob.decay_mult) for blob in found_in(net)] == [(0, 2, 5), (0, 2, 5)]
