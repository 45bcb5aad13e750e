"""A solver prototxt: what is read, what is said about it, and what is written."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from lrpolicy.errors import InputError
from lrpolicy.policies import POLICIES, Policy
from lrpolicy.prototxt import messages
from lrpolicy.solver import Solver, read

BASE = """\
net: "net.prototxt"
base_lr: 0.01
lr_policy: "step"
gamma: 0.1
stepsize: 100
max_iter: 1000
"""


def parse(old: str = "", new: str = "", **options: str) -> Solver:
    return Solver.parse(BASE.replace(old, new), **options)  # type: ignore[arg-type]


def test_float_fields_are_float32_as_in_caffe() -> None:
    assert parse().policy == Policy("step", base_lr=float(np.float32(0.01)), gamma=float(np.float32(0.1)), stepsize=100)
    assert parse().policy.rate(100) != Policy("step", base_lr=0.01, gamma=0.1, stepsize=100).rate(100)


def test_poly_takes_its_length_from_max_iter() -> None:
    assert parse('"step"', '"poly" power: 2').policy.parameters["max_iter"] == 1000


def test_multistep_and_start_and_floor_are_read() -> None:
    assert parse('"step"', '"multistep" stepvalue: 3 stepvalue: 5').policy.parameters["stepvalue"] == (3, 5)
    start = parse('"step"', '"tri" max_lr: 0.5 lr_policy_param { start: 7 }').policy
    assert start.parameters["start"] == 7 and start.rate(7) == float(np.float32(0.01))
    assert parse('"step"', '"step" min_lr: 0.00390625').policy.rate(900) == 0.00390625


def test_aliases_are_taken_with_a_note() -> None:
    solver = parse('"step"', '"triangular2"\nmax_lr: 0.5\nstart_lr_policy: 7')
    assert solver.policy.name == solver.message.lr_policy == "tri2"
    assert solver.policy.parameters["start"] == solver.message.lr_policy_param.start == 7
    assert solver.notes[0] == "solver.prototxt:5: start_lr_policy is read as lr_policy_param { start: 7 }"
    assert solver.notes[1].startswith('solver.prototxt:3: lr_policy "triangular2" is read as "tri2"')
    assert solver.notes[2] == 'solver.prototxt:6: lr_policy "tri2" does not use gamma'
    assert parse('"step"', '"exp_range" max_lr: 0.5').policy.name == "triexp"


def test_fields_without_effect_are_noted() -> None:
    solver = parse("gamma", "solver_mode: GPU\ndevice_id: 1 debug_info: true gamma")
    assert solver.notes == (
        "solver.prototxt:4: solver_mode has no effect: --device says where to train",
        "solver.prototxt:5: device_id has no effect: --device says where to train",
        "solver.prototxt:5: debug_info has no effect: no norms of blobs are shown",
    )
    assert parse("gamma", "solver_mode: CPU device_id: 0 debug_info: false gamma").notes == ()


def test_what_counts_otherwise_than_in_caffes_program_is_noted() -> None:
    tests = "test_iter: 3\ntest_iter: 4 test_interval: 2 test_net: 'a' test_net: 'b'"
    assert parse("gamma", f"train_state {{ stage: 'a'\nlevel: 2 }}\n{tests} gamma").notes == (
        "solver.prototxt:5: level 2 counts here; `caffe train` takes the one of its option --level",
        "solver.prototxt:7: of 2 test nets the first is measured",
    )


def test_foreign_fields_pass_with_a_note_when_asked() -> None:
    solver = parse("gamma", "wibble { x: 1 }\ngamma", foreign_fields="warn")
    assert solver.notes == ('solver.prototxt:4: SolverParameter has no field "wibble"; ignored',)
    assert solver.policy == parse().policy


def test_what_the_file_leaves_out_is_caffes_default() -> None:
    solver = parse()
    message = solver.message
    assert (message.test_interval, message.display, message.snapshot, message.iter_size) == (0, 0, 0, 1)
    assert (solver.solver_type, message.regularization_type, message.average_loss) == ("SGD", "L2", 1)
    assert solver.snapshot_prefix == "solver"


def test_the_old_solver_type_is_read() -> None:
    assert parse("gamma", "solver_type: ADADELTA gamma").solver_type == "AdaDelta"
    assert parse("gamma", 'type: "Nesterov" gamma').solver_type == "Nesterov"


def test_snapshot_prefix_in_a_folder_gets_the_solvers_name(tmp_path: Path) -> None:
    assert parse("gamma", f'snapshot_prefix: "{tmp_path}" gamma').snapshot_prefix == str(tmp_path / "solver")
    assert parse("gamma", 'snapshot_prefix: "here/it" gamma').snapshot_prefix == "here/it"


def sample(name: str) -> Policy:
    values: dict[str, object] = {"base_lr": 0.01, "max_lr": 0.06, "min_lr": 1e-4, "gamma": 0.5, "power": 0.75,
              "stepsize": 20, "stepvalue": (3, 9), "max_iter": 500, "start": 4}  # fmt: skip
    info = POLICIES[name]
    return Policy(name, **{key: values[key] for key in info.parameters + info.optional})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_survives_writing_and_reading(name: str, tmp_path: Path) -> None:
    policy = sample(name)
    solver = parse().with_policy(policy, test_iter=[3], test_interval=50)
    solver.write(tmp_path / "written.prototxt")
    again = read(tmp_path / "written.prototxt")
    assert again.message == solver.message and again.policy == solver.policy and again.notes == ()
    assert again.policy.name == name
    ts = np.arange(0, 400)
    np.testing.assert_allclose(again.policy.rates(ts), policy.rates(ts), rtol=1e-5)
    text = (tmp_path / "written.prototxt").read_text()
    assert "base_lr: 0.01\n" in text and ("gamma: 0.5\n" in text) == ("gamma" in policy.parameters)


def test_protobuf_reads_the_text_that_is_written() -> None:
    solver = parse("gamma", 'snapshot_prefix: "a\\"b\\n" train_state { stage: "s" } debug_info: true gamma')
    assert text_format.Parse(solver.to_text(), messages.SolverParameter()) == solver.message


def test_every_block_of_the_example_of_adaptive_policies_is_read() -> None:
    text = (Path(__file__).parents[3] / "examples" / "adaptive_solver.prototxt").read_text()
    head, *blocks = text.split("\n\n")
    read_back = [Solver.parse(head + "\n" + re.sub(r"(?m)^# (?=lr_|base_lr|gamma)", "", block)) for block in blocks]
    assert [solver.policy.name for solver in read_back] == ["tlr", "aslr", "seq3", "plateau"]
    assert all(solver.notes == () for solver in read_back)


def test_with_policy_changes_nothing_else() -> None:
    solver = parse("gamma", 'type: "Adam" momentum: 0.5 gamma')
    changed = solver.with_policy(Policy("poly", base_lr=0.5, power=1.0, max_iter=77))
    assert changed.message.max_iter == 77 and not changed.message.HasField("gamma")
    assert changed.solver_type == "Adam" and changed.message.momentum == 0.5
    assert solver.policy == parse().policy and solver.message.max_iter == 1000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_itr": 5}, 'a solver has no field "max_itr"'),
        ({"max_iter": "many"}, "max_iter cannot take this value"),
        ({"test_iter": 5}, "test_iter cannot take this value"),
        ({"max_iter": 0}, "solver.prototxt: max_iter must be 1 or more, got 0"),
    ],
)
def test_with_policy_checks_its_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse().with_policy(sample("step"), **fields)


def test_a_solver_travels_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "solver").write_bytes(pickle.dumps(parse('"step"', '"triangular" max_lr: 0.5')))
    code = """import pickle, sys
s = pickle.load(open(sys.argv[1], 'rb'))
print(s.policy.rate(7), s.message.max_lr, s.where('gamma'))"""
    command = [sys.executable, "-c", code, str(tmp_path / "solver")]
    rate = parse('"step"', '"tri" max_lr: 0.5').policy.rate(7)
    assert (
        subprocess.run(command, check=True, capture_output=True, text=True).stdout == f"{rate} 0.5 solver.prototxt:4\n"
    )
