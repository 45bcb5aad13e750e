"""policies, explain, plot and rate: what they print, and what they say to wrong input."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lrpolicy import POLICIES, Policy, cli
from lrpolicy.cli import specs
from lrpolicy.policies import ADAPTIVE_POLICIES
from lrpolicy.solver import Solver

SOLVER = """
net: "net.prototxt"
lr_policy: "inv"
base_lr: 0.01
gamma: 0.0001
power: 0.75
max_iter: 10000
"""


@pytest.fixture
def solver(tmp_path: Path) -> Path:
    path = tmp_path / "solver.prototxt"
    path.write_text(SOLVER)
    return path


def output(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert cli.run([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def output_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Any:
    return json.loads(output(capsys, *arguments, "--json"))


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert cli.run([str(argument) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if not line.startswith("note: ")]
    return line


def test_policies_lists_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = output_json(capsys, "policies")
    assert [row["name"] for row in rows] == [*POLICIES, *ADAPTIVE_POLICIES]
    assert [row["family"] for row in rows if row["name"] in ADAPTIVE_POLICIES] == 7 * ["adaptive"]
    text = output(capsys, "policies")
    for info in (*POLICIES.values(), *ADAPTIVE_POLICIES.values()):
        assert f" {info.name} " in text
        assert info.formula in text
    assert [row["name"] for row in output_json(capsys, "policies", "cyclic")] == [
        "tri", "tri2", "triexp", "sin", "sin2", "sinexp", "cos",
    ]  # fmt: skip


def test_an_unknown_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, "policies", "cycle") == (
        'family "cycle" is unknown; known: adaptive, cyclic, decaying, extra, fixed; did you mean "cyclic"?'
    )


@pytest.mark.parametrize("name", POLICIES)
def test_explain_shows_every_field_and_a_prototxt_that_parses(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "explain", name)
    info = POLICIES[name]
    assert info.formula in text
    for field in (*info.parameters, *info.optional):
        assert field in text
    lines = [line.strip() for line in text.splitlines()]
    shown = "\n".join(line for line in lines if line.startswith("lr_policy:") or line.split(":")[0] in info.parameters)
    read = Solver.parse(f'net: "n"\n{shown}' + ("" if "max_iter" in shown else "\nmax_iter: 10000"))
    example = specs.example(name)
    assert read.policy.name == name
    for t in (0, 1, 999, 1000, 5000, 9999):
        assert read.policy.rate(t) == pytest.approx(example.rate(t), rel=2e-3)  # float32 fields, gamma^9999


@pytest.mark.parametrize("name", POLICIES)
def test_examples_show_a_shape(name: str) -> None:
    rates = specs.example(name).rates(range(10_000))
    assert rates.max() > 0
    assert name == "fixed" or rates.max() > 2 * rates.min()


def test_prototxt_text_with_every_kind_of_field_is_read_back() -> None:
    for policy in (
        Policy("tri", base_lr=0.5, max_lr=0.25, stepsize=10, start=7),
        Policy("multistep", base_lr=0.5, gamma=0.5, stepvalue=(3, 9, 27), min_lr=0.125),
    ):
        assert Solver.parse(f'net: "n"\nmax_iter: 100\n{specs.prototxt(policy)}').policy == policy


def test_explain_by_alias_and_paper_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "triangular2", "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith('note: "triangular2" is read as "tri2"')
    assert json.loads(shown.out)["aliases"] == ["triangular2"]
    assert output_json(capsys, "explain", "NSTEP")["name"] == "multistep"


def test_explain_a_solver_shows_its_own_values(solver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output_json(capsys, "explain", solver)
    assert shown["policy"]["power"] == 0.75
    assert "gamma: 0.0001" in shown["prototxt"]
    assert "this solver" in output(capsys, "explain", solver)


def test_rate_prints_what_caffe_prints(solver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Caffe's log of its LeNet solver has `Iteration 100, lr = 0.00992565`."""
    assert output(capsys, "rate", solver, "0", "100", "5000") == (
        "Iteration 0, lr = 0.01\nIteration 100, lr = 0.00992565\nIteration 5000, lr = 0.00737788\n"
    )
    rows = output_json(capsys, "rate", solver, "5000")["rates"]
    assert rows[0]["rate"] == pytest.approx(0.01 * 1.5**-0.75, rel=1e-7)
    assert rows[0]["rate_float32"] != rows[0]["rate"]
    assert rows[0]["rate_float32"] == pytest.approx(rows[0]["rate"], rel=6e-8)


@pytest.mark.parametrize(
    ("t", "part"),
    [("-1", "No such option"), ("1.5", "not a valid integer"), ("99999999999999999999", "not in the range")],
)
def test_rate_of_a_wrong_iteration(t: str, part: str, solver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert part in complaint(capsys, "rate", solver, t)


def test_rate_of_a_solver_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.prototxt"
    path.write_text(SOLVER.replace('"inv"', '"imv"'))
    assert complaint(capsys, "rate", path, "1").startswith(f'{path}:3: lr_policy "imv" is unknown')
    assert "no_such.prototxt" in complaint(capsys, "rate", "no_such.prototxt", "1")
    assert "digits" in complaint(capsys, "rate", "digit", "1")


def test_plot_writes_a_picture(tmp_path: Path, solver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "p.png"
    text = output(capsys, "plot", "tri2", "exp:base_lr=0.01,gamma=0.999", solver, "-o", target, "--max-iter", "500")
    assert text == f"{target}: 3 policies, 500 iterations\n"
    assert target.read_bytes().startswith(b"\x89PNG")


def test_plot_draws_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plot", "tri", "tri2", "--set", "stepsize=50", "--set", "max_lr=0.5"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("o tri   x tri2\nlearning rate\n")
    assert " 0.5┤" in shown.out
    assert "499" in shown.out
    assert "note: tri: base_lr=0.001 (an example; use --set)" in shown.err


def test_plot_as_json_has_the_rates(capsys: pytest.CaptureFixture[str]) -> None:
    shown = output_json(capsys, "plot", "cos:base_lr=0,max_lr=1,stepsize=400", "--max-iter", "1000")
    (curve,) = shown["curves"]
    assert shown["max_iter"] == 1000
    assert curve["iterations"] == list(range(1000))
    for t in (0, 100, 200, 333):
        assert curve["rates"][t] == pytest.approx((1 + math.cos(2 * math.pi * t / 400)) / 2, abs=1e-15)


@pytest.mark.parametrize(("length", "points"), [(1, 1), (1000, 1000), (1001, 501), (1999, 1000), (123456, 996)])
def test_plot_as_json_has_at_most_1000_points(length: int, points: int, capsys: pytest.CaptureFixture[str]) -> None:
    (curve,) = output_json(capsys, "plot", "tri2", "--max-iter", str(length))["curves"]
    assert len(curve["iterations"]) == len(curve["rates"]) == points
    assert curve["iterations"][-1] < length


def test_plot_takes_repeated_values_as_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    spec = "multistep:base_lr=1,gamma=0.1,stepvalue=10,stepvalue=20"
    (curve,) = output_json(capsys, "plot", spec)["curves"]
    assert curve["policy"] == {"lr_policy": "multistep", "base_lr": 1.0, "gamma": 0.1, "stepvalue": [10, 20]}


@pytest.mark.parametrize(
    ("policy", "field", "is_there"),
    [
        ("cos", "stepsize", "(cos) a period"),
        ("sigmoid", "stepsize", "the midpoint of sigmoid"),
        ("sigmoid", "gamma", "the steepness of inv and sigmoid"),
        ("inv", "gamma", "the steepness of inv"),
        ("exp", "gamma", "the factor of a step or an iteration"),
        ("sigmoid", "base_lr", "the rate where g(t) = 1"),
        ("multistep", "stepvalue", "the iterations of the steps"),
    ],
)
def test_explain_says_what_a_parameter_is_in_this_policy(
    policy: str, field: str, is_there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {each["name"]: each["meaning"] for each in output_json(capsys, "explain", policy)["fields"]}
    assert is_there in fields[field]


def test_explain_shows_a_solvers_numbers_as_they_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.prototxt"
    path.write_text('net: "n" max_iter: 9 lr_policy: "triexp" base_lr: 0.1 max_lr: 0.3 gamma: 0.9961697 stepsize: 3')
    shown = output_json(capsys, "explain", str(path))["prototxt"]
    assert shown.splitlines()[1:] == ["base_lr: 0.1", "max_lr: 0.3", "gamma: 0.9961697", "stepsize: 3"]


@pytest.mark.parametrize("name", ADAPTIVE_POLICIES)
def test_explain_shows_what_an_adaptive_policy_needs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "explain", name)
    info = ADAPTIVE_POLICIES[name]
    assert info.formula in text and info.meaning in text
    for field in (*info.parameters, *info.optional):
        assert field in text
    lines = text[text.index("In a solver prototxt") :].splitlines()[1:]
    shown = "\n".join(lines[: lines.index("")])
    assert Solver.parse(f'net: "n" max_iter: 9 {shown}').policy.name == name
    assert ("No curve" in text) == (not name.startswith("seq"))
    fields = output_json(capsys, "explain", name)["fields"]
    assert [field["name"] for field in fields] == [*info.parameters, *info.optional]


@pytest.mark.parametrize(
    ("lines", "rates"),
    [
        ('lr_policy: "seq3" base_lr: 0.5', [0.5, 0.5, 0.45, 0.405]),
        ('lr_policy: "seq1" base_lr: 0.5', [0.5, 0.5, 0.25, 0.5 / 3]),
        ('lr_policy: "seq2" base_lr: 0.5 min_lr: 0.3', [0.5, 0.5, 0.5 / 2**0.5, 0.3]),
    ],
)
def test_rates_of_sequences_by_epoch(
    lines: str, rates: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.prototxt"
    path.write_text(f'net: "n" max_iter: 400 test_interval: 100 {lines}')
    printed = output_json(capsys, "rate", path, "0", "99", "100", "299")["rates"]
    assert [row["rate"] for row in printed] == pytest.approx(rates, rel=1e-7)
    curve = output_json(capsys, "plot", path)["curves"][0]
    assert [curve["rates"][t] for t in (0, 99, 100, 299)] == pytest.approx(rates, rel=1e-7)


@pytest.mark.parametrize("name", [name for name in ADAPTIVE_POLICIES if not name.startswith("seq")])
def test_rates_that_only_a_training_shows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, "plot", name)
    assert said.startswith(f'the rates of "{name}" depend on the ')
    assert "only a training shows them; it starts from 0." in said


def test_values_of_adaptive_policies_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = output_json(capsys, "explain", "tlr:variant=newton,per_tensor=true,epoch=9")
    assert shown["policy"] == {"lr_policy": "tlr", "base_lr": 0.1, "variant": "newton", "per_tensor": True, "epoch": 9}
    assert 'lr_policy_param { variant: "newton" per_tensor: true epoch: 9 }' in shown["prototxt"]
    wrong = complaint(capsys, "explain", "tlr:per_tensor=yes")
    assert wrong.startswith('tlr:per_tensor=yes: per_tensor must be true or false, got "yes"; `lrpolicy explain tlr`')
    assert "by_oscillate" in complaint(capsys, "plot", "seq3", "--set", "strategy=by_ocillate")


def test_how_long_a_picture_is() -> None:
    assert specs.parse("tri:stepsize=70").length == 700
    assert specs.parse("poly:max_iter=123").length == 123
    assert specs.parse("multistep:stepvalue=100,stepvalue=200").length == 250
    assert specs.parse("fixed").length == 10_000
    assert specs.parse(f"tri:stepsize={2**50}").length == 2**50  # no rate is known beyond


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trii"], 'lr_policy "trii" is unknown; known: aslr, cos, exp, fixed'),
        (["tri2", "--set", "stepsiz=3"], '--set: parameter "stepsiz" is unknown;'),
        (
            ["tri2", "--set", "power=3"],
            '--set: no policy named here has "power"; known: base_lr, max_lr, start, stepsize',
        ),
        (["tri2:power=3"], 'policy "tri2" takes no power; it takes base_lr'),
        (["tri2:stepsize"], 'tri2:stepsize: a setting reads key=value, got "stepsize"; for example stepsize=2000'),
        (["tri2:stepsize=0"], "stepsize must be"),
        (["tri2:stepsize=2.5"], 'tri2:stepsize=2.5: stepsize must be a whole number, got "2.5"'),
        (["tri2:stepsize=1,stepsize=2"], "stepsize is given twice, got 1 and 2"),
        (
            ["tri2:max_lr=nan"],
            "tri2:max_lr=nan: max_lr must be a number from 0 to 1e100, got nan; `lrpolicy explain tri2`",
        ),
        (["tri2", "--set", "max_lr=nan"], "tri2 --set max_lr=nan: max_lr must be a number"),
        ([""], '"": lr_policy "" is unknown'),
        (["digits", "--set", "base_lr=1"], '--set: no policy named here has "base_lr"; name a policy'),
        (["tri", "--max-iter", "9" * 20], "--max-iter"),
        (
            ["fixed:base_lr=nan >> fixed"],
            "fixed:base_lr=nan: base_lr must be a number from 0 to 1e100, got nan; `lrpolicy plot",
        ),
        (["tri2:max_lr=x"], 'max_lr must be a number, got "x"'),
        (["tri", "tri"], '"tri" is named twice; give each its own values, as in tri:base_lr=0.01'),
        (["multistep:stepvalue=20,stepvalue=10"], "stepvalue"),
        (["tri", "-o", "p.jpg"], "p.jpg: a picture is a .png, .svg or .pdf file, got jpg"),
        (["tri", "-o", "no/p.png"], "no: no such folder"),
        (["missing.prototxt"], "missing.prototxt"),
    ],
)
def test_plot_with_wrong_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in complaint(capsys, "plot", *arguments)
