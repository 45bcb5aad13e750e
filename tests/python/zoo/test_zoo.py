"""The shipped set-ups: found by name, valid, and as the paper has them (LRBench, Table II)."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrpolicy import zoo
from lrpolicy.errors import InputError
from lrpolicy.net import infer, parameters
from lrpolicy.solver import read
from lrpolicy.zoo.resnet import resnet


def test_names() -> None:
    assert {"digits", "mnist-lenet", "cifar10-cnn3", "cifar10-resnet32"} <= set(zoo.names())


@pytest.mark.parametrize("name", zoo.names())
def test_every_set_up_is_valid_in_both_phases(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    solver = read(zoo.solver_path(name))
    assert solver.notes == () and solver.train_net().notes == ()
    padded = 40 if "resnet" in name else 32
    for parameter, side in ((solver.train_parameter(), padded), (solver.test_parameters()[0], 32)):
        examples = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar": (3, side, side)}
        shapes = infer(parameter, examples, solver.train_net().where)
        assert parameters(parameter, shapes)
        loss = [index for index, layer in enumerate(parameter.layer) if layer.type == "SoftmaxWithLoss"]
        (scores, labels), _ = shapes[loss[0]]
        assert scores == (labels[0], 10)
    assert parameter.layer[0].data_param.batch_size * solver.message.test_iter[0] in (300, 10_000)


@pytest.mark.parametrize(
    ("name", "batch", "max_iter", "kind", "fields"),
    [
        ("mnist-lenet", 100, 10_000, "SGD", {"lr_policy": "inv", "base_lr": 0.01, "gamma": 1e-4, "power": 0.75}),
        ("cifar10-cnn3", 100, 70_000, "SGD", {"base_lr": 0.001, "stepvalue": [60_000, 65_000]}),
        ("cifar10-resnet32", 128, 64_000, "Nesterov", {"base_lr": 0.1, "stepvalue": [32_000, 48_000]}),
    ],
)
def test_the_papers_set_ups(name: str, batch: int, max_iter: int, kind: str, fields: dict[str, object]) -> None:
    solver = read(zoo.solver_path(name))
    assert (solver.batch_size, solver.message.max_iter, solver.solver_type) == (batch, max_iter, kind)
    for field, value in fields.items():
        assert getattr(solver.message, field) == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)


@pytest.mark.parametrize("depth", [20, 32, 56])
def test_the_shipped_resnets_are_what_the_module_writes(depth: int) -> None:
    path = zoo.solver_path(f"cifar10-resnet{depth}").with_name(f"cifar10_resnet{depth}_train_test.prototxt")
    assert path.read_text() == resnet(depth)
    assert resnet(depth).count('"Convolution"') == depth - 1 + 2  # all but the classifier, and two shortcuts


def test_find(tmp_path: Path) -> None:
    own = tmp_path / "own.prototxt"
    own.write_text("")
    assert zoo.find(str(own)) == own and zoo.find(own) == own
    assert zoo.find("digits") == zoo.solver_path("digits")
    with pytest.raises(InputError, match=r'mnist-lnet: no such solver; known: .*; did you mean "mnist-lenet"\?'):
        zoo.find("mnist-lnet")
    with pytest.raises(InputError, match="there is no such solver file"):
        zoo.find(tmp_path / "absent.prototxt")
    with pytest.raises(InputError, match='"nothing" does not ship with lrpolicy'):
        zoo.solver_path("nothing")
