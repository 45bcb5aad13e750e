"""Reading nets: rules of state (Caffe's Net::StateMeetsRule), old forms, and names that are unknown."""

from __future__ import annotations

import pytest

from lrpolicy.errors import InputError
from lrpolicy.net import Net

LAYER = 'layer {{ name: "x" type: "ReLU" bottom: "a" top: "b" {} }}'


@pytest.mark.parametrize(
    ("rules", "kept_in"),
    [
        ("", {"TRAIN", "TEST", "TEST+a", "TRAIN+a+b", "TEST@2"}),
        ("include { phase: TRAIN }", {"TRAIN", "TRAIN+a+b"}),
        ("exclude { phase: TRAIN }", {"TEST", "TEST+a", "TEST@2"}),
        ('include { stage: "a" }', {"TEST+a", "TRAIN+a+b"}),
        ('include { stage: "a" stage: "b" }', {"TRAIN+a+b"}),
        ('include { stage: "a" not_stage: "b" }', {"TEST+a"}),
        ('exclude { stage: "a" } exclude { min_level: 1 }', {"TRAIN", "TEST"}),
        ("include { min_level: 1 max_level: 2 }", {"TEST@2"}),
        ("include { max_level: 1 }", {"TRAIN", "TEST", "TEST+a", "TRAIN+a+b"}),
        ("include { phase: TRAIN } include { min_level: 2 }", {"TRAIN", "TRAIN+a+b", "TEST@2"}),
        ("include { }", {"TRAIN", "TEST", "TEST+a", "TRAIN+a+b", "TEST@2"}),
        ("exclude { }", set()),
    ],
)
def test_rules_of_state(rules: str, kept_in: set[str]) -> None:
    net = Net.parse(LAYER.format(rules))
    states: dict[str, tuple[str, int, tuple[str, ...]]] = {
        "TRAIN": ("TRAIN", 0, ()),
        "TEST": ("TEST", 0, ()),
        "TEST+a": ("TEST", 0, ("a",)),
        "TRAIN+a+b": ("TRAIN", 0, ("a", "b")),
        "TEST@2": ("TEST", 2, ()),
    }
    assert {name for name, state in states.items() if net.for_state(*state).layer} == kept_in  # type: ignore[arg-type]


def test_the_nets_own_state_joins() -> None:
    net = Net.parse('state { stage: "a" }' + LAYER.format('include { stage: "a" stage: "b" }'))
    assert not net.for_state("TEST").layer
    assert net.for_state("TEST", stages=["b"]).layer


def test_v1_layers_are_upgraded() -> None:
    source = """layers {
  name: "c" type: CONVOLUTION bottom: "data" top: "c"
  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 param: "w"
  convolution_param { num_output: 3 kernel_size: 2 }
  include { phase: TEST }
}
layers { name: "d" type: DATA top: "data" data_param { source: "s" scale: 0.5 crop_size: 2 } }
layers { name: "l" type: SOFTMAX_LOSS bottom: "c" bottom: "c" top: "l" loss_weight: 2 }"""
    net = Net.parse(source)
    convolution, data, loss = net.message.layer
    assert (convolution.type, data.type, loss.type) == ("Convolution", "Data", "SoftmaxWithLoss")
    assert [(spec.name, spec.lr_mult, spec.decay_mult) for spec in convolution.param] == [("w", 1, 1), ("", 2, 0)]
    assert convolution.convolution_param.kernel_size == [2] and len(convolution.include) == 1
    assert (data.transform_param.scale, data.transform_param.crop_size) == (0.5, 2)
    assert not data.data_param.HasField("scale") and loss.loss_weight == [2]
    assert net.where(convolution, "convolution_param") == "net.prototxt:4"
    assert net.where(loss) == "net.prototxt:8"
    assert net.notes[0] == "net.prototxt:1: old `layers` blocks are read as `layer` blocks"


@pytest.mark.parametrize(
    "dimensions",
    ["input_dim: [1, 3, 4, 5]", "input_shape { dim: [1, 3, 4, 5] }"],
)
def test_deploy_inputs_become_an_input_layer(dimensions: str) -> None:
    net = Net.parse('input: "data"\n' + dimensions + LAYER.format("").replace('"a"', '"data"'))
    first = net.message.layer[0]
    assert (first.type, list(first.top), list(first.input_param.shape[0].dim)) == ("Input", ["data"], [1, 3, 4, 5])
    assert not net.message.input and net.where(first) == "net.prototxt:1"


def test_old_batch_norm_params_lose_their_rates() -> None:
    net = Net.parse('layer { name: "b" type: "BatchNorm" bottom: "a" top: "b" param {} param {} param {} }')
    assert [spec.lr_mult for spec in net.message.layer[0].param] == [0, 0, 0]


def test_blocks_that_a_type_ignores_are_noted() -> None:
    net = Net.parse(LAYER.format("\nimage_data_param { batch_size: 5 }"))
    assert net.notes == ('net.prototxt:2: layer "x" is of type ReLU, which ignores image_data_param',)


def test_a_level_is_noted_for_caffes_program_takes_its_own() -> None:
    (note,) = Net.parse(LAYER.format("") + "\nstate { level: 2 }").notes
    assert note.startswith("net.prototxt:2: level 2 counts here; `caffe train` takes the one of its option --level")
    assert Net.parse(LAYER.format("") + "\nstate { stage: 'a' level: 0 }").notes == ()


def test_fields_without_effect_are_noted() -> None:
    data = 'layer {{ name: "d" type: "{}" top: ["a", "b"]\n{} }}'
    for kind, fields, noted in (
        ("Data", "transform_param { force_color: true }", "force_color has no effect: it is for encoded images"),
        ("Data", "data_param { batch_size: 2 rand_skip: 9 }", "rand_skip has no effect: no example is skipped"),
        ("ImageData", "image_data_param { shuffle: true }", "shuffle has no effect: the examples of --data are taken"),
    ):
        (note,) = Net.parse(data.format(kind, fields)).notes
        assert note.startswith(f'net.prototxt:2: layer "d": {noted}')
    assert Net.parse(data.format("Data", "data_param { rand_skip: 0 } transform_param { mirror: true }")).notes == ()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("name: 'n'", "net.prototxt: the net has no layers; is this a net prototxt?"),
        ("base_lr: 1", 'net.prototxt:1: NetParameter has no field "base_lr"; this looks like a solver'),
        (LAYER.format("").replace("LU", "lu"), 'net.prototxt:1: layer "x": type "Relu" is unknown; known: AbsVal, '),
        (LAYER.format("").replace("ReLU", "LSTM"), 'net.prototxt:1: layer "x": Caffe has the type "LSTM", '),
        ('layer { name: "x" }', 'net.prototxt:1: layer "x" has no type'),
        (
            'layer { name: "x" type: "HDF5Data" top: "a"\ntransform_param { scale: 2 } }',
            'net.prototxt:2: layer "x": HDF5Data takes no transform_param; leave it out, or take a layer of type Data',
        ),
        (LAYER.format("include {} exclude {}"), 'net.prototxt:1: layer "x" has include and exclude rules'),
        (
            'layer { name: "x" type: "InnerProduct"\ninner_product_param {\nweight_filler { type: "xaver" } } }',
            'net.prototxt:3: layer "x": filler "xaver" is unknown; known: bilinear, constant, gaussian, ',
        ),
        ('layer { name: "x" type: "DummyData" dummy_data_param { data_filler { type: "?" } } }', "net.prototxt:1: "),
        (LAYER.format("") + "\nlayers { type: RELU }", "net.prototxt:2: `layer` and `layers` blocks cannot be mixed"),
        ("layers { layer { type: 'conv' } }", "net.prototxt:1: this net is in Caffe's V0 form of 2013; Caffe's tool"),
        ("layers { layer { num_output: 3 } }", 'net.prototxt:1: V0LayerParameter has no field "num_output"; '),
        (
            "input: 'a' input_dim: 1 " + LAYER.format(""),
            "net.prototxt:1: 1 input(s) need one input_shape each, or four",
        ),
    ],
)
def test_refused(source: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Net.parse(source)
    assert str(caught.value).startswith(message)
