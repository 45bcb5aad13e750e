"""Whatever the text is, the readers answer with a value or one InputError: no crash, no hang."""

from __future__ import annotations

import contextlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lrpolicy import zoo
from lrpolicy.errors import InputError
from lrpolicy.net import Net, infer, parameters
from lrpolicy.prototxt import messages, text
from lrpolicy.solver import Solver

SOURCES = [zoo.solver_path(name).read_text() for name in ("digits", "cifar10-cnn3")]
NETS = [
    path.read_text()
    for path in zoo.solver_path("digits").parent.glob("*_train_test.prototxt")
    if path.stat().st_size < 5000
]
NAMES = [field.name for field in messages.SolverParameter.DESCRIPTOR.fields] + ["layer", "input_param", "shape", "dim"]
PIECES = st.sampled_from(
    [
        "{",
        "}",
        "<",
        ">",
        "[",
        "]",
        ":",
        ";",
        ",",
        "#",
        "\n",
        '"',
        "'",
        "\\",
        '"\\xff"',
        "-",
        "1",
        "-1",
        "0",
        "1e400",
        "0x",
        "1" * 400,
        "nan",
        "inf",
        "TRAIN",
        '"tri2"',
        "true",
        "\x00",
        "é",
        "\u2028",
        "[a.b]",
        "net_param {",
        *NAMES,
    ]
)
NESTED = messages.LearningRatePolicyParameter.DESCRIPTOR.fields_by_name
NAMED = ['"efficient"', '"naive"', '"gradient"', '"by_epoch"', '""', "true", '"\\377"', "{}", "[1, 2]", "[]"]
NUMBERS = ["0", "1", "-1", "0.5", "1e30", "1e-50", "nan", "18446744073709551615", "2147483648"]
VALUES = st.sampled_from([*NAMED, *NUMBERS])
ADAPTIVE = st.sampled_from(["tlr", "aslr", "seq1", "seq4", "plateau", "step", "tri2"])
quick = settings(max_examples=150, deadline=2000)


def read_solver(source: str) -> None:
    with contextlib.suppress(InputError):
        solver = Solver.parse(source, foreign_fields="warn")
        assert Solver.parse(solver.to_text()).message == solver.message


def read_net(source: str) -> None:
    with contextlib.suppress(InputError):
        net = Net.parse(source)
        for phase in ("TRAIN", "TEST"):
            filtered = net.for_state(phase)  # type: ignore[arg-type]
            shapes = infer(filtered, {"mnist": (1, 28, 28), "digits": (1, 8, 8), "cifar": (3, 32, 32)}, net.where)
            parameters(filtered, shapes, net.where)


@quick
@given(st.text(max_size=300))
@example("a:" + "[" * 60_000)
@example("a" * 200_000)
@example('net: "' + "\\" * 50_001)
@example("net_param { layer { " * 40)
def test_any_text(source: str) -> None:
    read_solver(source)
    read_net(source)


@quick
@given(st.lists(PIECES, max_size=60).map(" ".join))
@example("net_param [ { layer [ { name: 'a' } ] } ]")
@example("[a.b] { c: 1 } base_lr: 1")
def test_any_words_of_the_language(source: str) -> None:
    read_solver(source)
    read_net(source)


@quick
@given(st.data())
def test_damaged_files(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(SOURCES + NETS))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(source)))
        stop = data.draw(st.integers(start, min(len(source), start + 40)))
        source = source[:start] + data.draw(PIECES | st.just("")) + source[stop:]
    (read_solver if "base_lr" in source else read_net)(source)


@quick
@given(ADAPTIVE, st.lists(st.tuples(st.sampled_from(sorted(NESTED)), VALUES), max_size=4), VALUES)
@example("tlr", [("variant", '"naive"'), ("eta", "1e-50"), ("source", '"gradient"')], "1e-50")
@example("aslr", [("seed", "18446744073709551615")], "0.5")
def test_any_parameters_of_an_adaptive_policy(name: str, fields: list[tuple[str, str]], base_lr: str) -> None:
    own = " ".join(f"{field}: {value}" for field, value in fields)
    read_solver(
        f'net: "n" max_iter: 9 test_interval: 3 gamma: 0.5 stepsize: 3 max_lr: 2 base_lr: {base_lr} '
        f'lr_policy: "{name}" lr_policy_param {{ {own} }}'
    )


@quick
@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    with contextlib.suppress(InputError):
        text.parse(content.decode("utf-8", "replace"), messages.NetParameter(), "bytes")
