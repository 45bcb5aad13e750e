"""The nets of a solver: where they lie, which states filter them (Caffe's Solver::InitTrainNet and InitTestNets)."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrpolicy.errors import InputError
from lrpolicy.solver import Solver, read

NET = """\
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 6 dim: 2 } } }
layer { name: "train" type: "ReLU" bottom: "x" top: "a" include { phase: TRAIN } }
layer { name: "test" type: "ReLU" bottom: "x" top: "a" include { phase: TEST not_stage: "deep" } }
layer { name: "deep" type: "ReLU" bottom: "x" top: "a" include { phase: TEST stage: "deep" min_level: 2 } }
"""
SOLVER = 'base_lr: 1\nlr_policy: "fixed"\nmax_iter: 1\n'


def layers(parameter: object) -> list[str]:
    return [layer.name for layer in parameter.layer]  # type: ignore[attr-defined]


def test_a_net_file_serves_training_and_every_test(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    states = 'test_state { stage: "deep" level: 2 } test_state { }'
    (tmp_path / "s.prototxt").write_text(
        f'{SOLVER}net: "net.prototxt" test_iter: 1 test_iter: 2 test_interval: 1 {states}'
    )
    solver = read(tmp_path / "s.prototxt")
    assert solver.net_path == tmp_path / "net.prototxt"
    assert layers(solver.train_parameter()) == ["in", "train"]
    assert [layers(parameter) for parameter in solver.test_parameters()] == [["in", "deep"], ["in", "test"]]
    assert solver.batch_size == 6


def test_a_relative_net_is_found_from_the_working_directory_first_then_above_the_solver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "examples" / "mnist"
    folder.mkdir(parents=True)
    (folder / "net.prototxt").write_text(NET)
    (folder / "s.prototxt").write_text(SOLVER + 'net: "examples/mnist/net.prototxt"')
    assert read(folder / "s.prototxt").net_path == folder / "net.prototxt"
    (tmp_path / "here" / "examples" / "mnist").mkdir(parents=True)
    (tmp_path / "here" / "examples" / "mnist" / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path / "here")
    assert read(folder / "s.prototxt").net_path == Path("examples/mnist/net.prototxt")


def test_a_missing_net_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "s.prototxt").write_text(SOLVER + 'net: "absent.prototxt"')
    solver = read(tmp_path / "s.prototxt")
    with pytest.raises(InputError, match=r's\.prototxt:4: the net file "absent.prototxt" is neither in'):
        solver.train_net()


def test_separate_test_nets_come_before_the_generic_one(tmp_path: Path) -> None:
    (tmp_path / "other.prototxt").write_text(NET.replace('name: "test"', 'name: "other"'))
    own = f'{SOLVER}net_param {{ {NET} }} test_net: "other.prototxt" test_iter: 1 test_iter: 1 test_interval: 1'
    (tmp_path / "s.prototxt").write_text(own)
    solver = read(tmp_path / "s.prototxt")
    assert solver.net_path is None
    assert [layers(parameter) for parameter in solver.test_parameters()] == [["in", "other"], ["in", "test"]]


def test_a_net_inside_the_solver_is_checked_too() -> None:
    solver = Solver.parse(SOLVER + 'net_param { layer { name: "a" type: "Conv" } }')
    with pytest.raises(InputError, match='layer "a": type "Conv" is unknown'):
        solver.train_net()
