"""Every state is a plain value, exact in JSON and pickle, and is refused where it does not belong."""

from __future__ import annotations

import doctest
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

import lrpolicy.stateful
from lrpolicy.errors import InputError
from lrpolicy.schedules import StatefulSchedule
from lrpolicy.stateful import Aslr, DecaySequence, Plateau, Tlr, TlrWindow, TrainLoss

Run = Callable[[int], Any]
CASES: dict[str, tuple[Any, Run]] = {
    "tlr": (Tlr(0.1, lr_mult=[1, 2, 0], per_tensor=True), lambda i: TlrWindow([i + 1 / 3] * 3, [0.1 + i] * 3)),
    "aslr": (Aslr(0.1, 3), lambda i: [math.nan, 0.7, 1 / 3, 0.9][i % 4]),
    "sequence": (DecaySequence("seq2", "by_cutoff", 0.1), lambda i: [1 / 3, 0.3, 0.3001, math.inf][i % 4]),
    "plateau": (Plateau(0.1, 0.3, [2, 2, 2]), lambda i: TrainLoss(i, 1 / (3 + i % 2))),
}


@pytest.mark.parametrize("name", CASES)
def test_states_survive_json_and_pickle_to_the_bit_at_every_point(name: str) -> None:
    schedule, observe = CASES[name]
    state = schedule.init()
    for i in range(9):
        for again in (type(state).from_json(state.to_json()), pickle.loads(pickle.dumps(state))):
            assert again == state
            assert hash(again) == hash(state)
            assert repr(again) == repr(state)
            assert schedule.rate(again, i, 1) == schedule.rate(state, i, 1)
            assert schedule.update(again, observe(i)) == schedule.update(state, observe(i))
        state = schedule.update(state, observe(i))
    assert state != schedule.init()


@pytest.mark.parametrize("name", CASES)
def test_updating_leaves_the_state_that_was_given(name: str) -> None:
    schedule, observe = CASES[name]
    state = schedule.init()
    written = state.to_json()
    assert schedule.update(state, observe(0)) == schedule.update(state, observe(0))
    schedule.rate(state, 3, 1)
    assert state.to_json() == written
    with pytest.raises(FrozenInstanceError):
        setattr(state, fields(state)[0].name, 5)


@pytest.mark.parametrize("name", CASES)
def test_json_is_strict_and_names_its_schedule(name: str) -> None:
    schedule, _ = CASES[name]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    values = json.loads(schedule.init().to_json(), parse_constant=refuse)
    assert values["schedule"] == name
    assert values["version"] == 1


@pytest.mark.parametrize("name", CASES)
def test_schedules_are_values_too(name: str) -> None:
    schedule, _ = CASES[name]
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.rate(schedule.init(), 5, 1) == schedule.rate(schedule.init(), 5, 1)


@pytest.mark.parametrize("name", CASES)
def test_a_state_of_another_schedule_is_refused(name: str) -> None:
    schedule, observe = CASES[name]
    for other, (stranger, _) in CASES.items():
        if other == name:
            continue
        with pytest.raises(InputError, match="needs a state of its own"):
            schedule.update(stranger.init(), observe(0))
        with pytest.raises(InputError, match=f"no state of schedule {name}, got schedule {other}"):
            type(schedule.init()).from_json(stranger.init().to_json())
    with pytest.raises(InputError, match="needs a state of its own"):
        schedule.rate(None, 0)


def test_a_damaged_state_is_refused_with_its_field() -> None:
    kind, values = type(Aslr(0.1).init()), Aslr(0.1).init().to_dict()
    for damaged, says in (
        (values | {"version": 2}, "no aslr state of version 1, got version 2"),
        ({key: value for key, value in values.items() if key != "digit"}, 'lacks the field "digit"'),
        (values | {"colour": 1}, 'no field "colour"'),
        (values | {"digit": "1"}, "digit must be a whole number"),
        (values | {"min_cost": "low"}, "min_cost must be a number"),
        (values | {"min_cost": math.nan}, "min_cost must be a number"),
        ([1], "is a mapping"),
    ):
        with pytest.raises(InputError, match=says):
            kind.from_dict(damaged)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="written in JSON"):
        kind.from_json("{")
    with pytest.raises(InputError, match="rates must be a list"):
        type(Tlr(0.1).init()).from_dict(Tlr(0.1).init().to_dict() | {"rates": 0.1})
    with pytest.raises(InputError, match="skipped must be true or false"):
        schedule = DecaySequence("seq1", "by_epoch", 0.1)
        type(schedule.init()).from_dict(schedule.init().to_dict() | {"skipped": 1})


@pytest.mark.parametrize(
    ("name", "field", "value", "says"),
    [
        ("tlr", "rates", [-1, 1, 1], "a rate must be a number from 0 to 1e100"),
        ("tlr", "rates", ["inf", 1, 1], "a rate must be a number from 0 to 1e100"),
        ("tlr", "rates", [0, 1, 1], "a rate of 0 belongs to fixed_eta, hypergradient or naive"),
        ("tlr", "rates", [1, 1], "this state has 2 rates and the schedule has 3"),
        ("tlr", "events", [0], "this state has 1 rates and the schedule has 3"),
        ("tlr", "events", [0, -1, 0], "events must be sums of 1, 2, 4 and 8"),
        ("tlr", "events", [0, 2**40, 0], "events must be sums of 1, 2, 4 and 8"),
        ("tlr", "scales", [1, -1, 1], "scales, squared and first must be numbers, 0 or more"),
        ("tlr", "squared", ["inf", 1, 1], "scales, squared and first must be numbers, 0 or more"),
        ("tlr", "first", [-1, 1, 1], "scales, squared and first must be numbers, 0 or more"),
        ("tlr", "windows", 2**63 - 1, "windows must be a whole number from 0 to 2\\^50"),
        ("aslr", "digit", 2**32 + 1, "the centre must be a digit from 1 to 9 and an exponent from -22 to 22"),
        ("aslr", "search_direction", 2**40, "search_direction must be 1 or -1"),
        ("aslr", "min_cost", -math.inf, "min_cost must be a number"),
        ("aslr", "search_range", 2**63 - 1, "search_range must be a whole number from 1 to 2\\^50"),
        ("sequence", "advances", -1, "advances and losses must be whole numbers"),
        ("sequence", "losses", 2**63 - 1, "advances and losses must be whole numbers"),
        ("sequence", "loss", "inf", "loss must be a number"),
        ("sequence", "cutoff", -1, "cutoff must be a number, 0 or more"),
        ("plateau", "lowered", -1, "lowered and last_event must be whole numbers"),
        ("plateau", "last_event", 2**63 - 1, "lowered and last_event must be whole numbers"),
    ],
)
def test_a_state_that_no_run_reaches_is_refused_by_update(name: str, field: str, value: object, says: str) -> None:
    schedule, observe = CASES[name]
    state = schedule.update(schedule.init(), observe(1))
    damaged = type(state).from_dict(state.to_dict() | {field: value})
    with pytest.raises(InputError, match=says):
        schedule.update(damaged, observe(2))


@pytest.mark.parametrize("rate", [-1.0, math.inf, math.nan, 1e101])
def test_a_damaged_rate_is_not_handed_out(rate: float) -> None:
    state = replace(Tlr(0.1).init(), rates=(rate,))
    with pytest.raises(InputError, match="a rate must be a number from 0 to 1e100"):
        Tlr(0.1).rate(state)


@pytest.mark.parametrize("field", ["min_cost", "minimum", "loss", "cutoff"])
def test_what_is_not_a_number_in_a_state_is_refused(field: str) -> None:
    """from_json refuses it too; a state made by hand comes here."""
    schedule, observe = next(case for case in CASES.values() if hasattr(case[0].init(), field))
    with pytest.raises(InputError, match=f"{field} must be a number"):
        schedule.update(replace(schedule.init(), **{field: math.nan}), observe(1))


def test_the_example_of_the_package_holds() -> None:
    assert doctest.testmod(lrpolicy.stateful) == (0, 5)


def test_machines_have_the_shape_of_the_protocol() -> None:
    members = {name for name in vars(StatefulSchedule) if not name.startswith("_")}
    assert members >= {"init", "update", "rate"}
    assert all(callable(getattr(schedule, name)) for schedule, _ in CASES.values() for name in members)
