"""PolicySchedule as a citizen of Keras: every policy in a training, saved with its model, wrong input."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from keras_support import TRI2, rates_seen, small_model  # noqa: E402

from lrpolicy.compositions import cool_down, lasting, warm_up  # noqa: E402
from lrpolicy.errors import InputError  # noqa: E402
from lrpolicy.integrations.keras import PolicySchedule  # noqa: E402
from lrpolicy.policies import POLICIES, Policy  # noqa: E402
from lrpolicy.schedules import Schedule  # noqa: E402
from lrpolicy.sweeps import Sweep  # noqa: E402

_VALUES: dict[str, Any] = {
    "base_lr": 0.01, "max_lr": 0.06, "gamma": 0.97, "power": 0.75, "stepsize": 7, "stepvalue": (10, 30), "max_iter": 60,
}  # fmt: skip
EVERY = [Policy(name, **{field: _VALUES[field] for field in info.parameters}) for name, info in POLICIES.items()]
COUNT = 40


def expected(policy: Schedule, start: int = 0, stop: int = COUNT) -> list[float]:
    return policy.rates(range(start, stop)).astype(np.float32).tolist()


@pytest.fixture(params=[None, COUNT], ids=["asking", "table"])
def iterations(request: pytest.FixtureRequest) -> int | None:
    return request.param


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_every_policy_by_its_steps(policy: Policy, iterations: int | None) -> None:
    schedule = PolicySchedule(policy, iterations)
    assert [float(schedule(t)) for t in range(COUNT)] == expected(policy)
    assert [float(schedule(keras.ops.convert_to_tensor(t))) for t in range(COUNT)] == expected(policy)
    assert keras.backend.standardize_dtype(schedule(3).dtype) == "float32"


def test_a_training_moves_by_the_rates(iterations: int | None) -> None:
    """What the weights of a compiled training have moved by, not what the schedule says."""
    model = small_model(PolicySchedule(TRI2, iterations))
    assert rates_seen(model, COUNT) == expected(TRI2)
    assert int(model.optimizer.iterations) == COUNT


def test_beyond_the_table_is_its_last_rate() -> None:
    assert float(PolicySchedule(TRI2, 10)(2**31 - 1)) == np.float32(TRI2.rate(9))
    assert float(PolicySchedule(TRI2)(2**31 - 1)) == np.float32(TRI2.rate(2**31 - 1))


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)  # Keras's own, on NumPy 2.4
def test_a_saved_model_goes_on_in_the_middle(iterations: int | None, tmp_path: Path) -> None:
    model = small_model(PolicySchedule(TRI2, iterations))
    assert rates_seen(model, 13) == expected(TRI2, 0, 13)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert rates_seen(loaded, COUNT - 13) == expected(TRI2, 13)


def test_it_is_a_value(iterations: int | None) -> None:
    schedule = PolicySchedule(TRI2, iterations)
    again = [
        PolicySchedule.from_config(schedule.get_config()),
        keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule)),
        pickle.loads(pickle.dumps(schedule)),
        copy.deepcopy(schedule),
        PolicySchedule(TRI2.to_text(), iterations),
        PolicySchedule("TRI2", iterations, base_lr=0.01, max_lr=0.06, stepsize=7),
    ]
    assert {schedule, *again} == {schedule}
    assert schedule != PolicySchedule(TRI2, 7)
    assert schedule != TRI2
    assert all(float(each(5)) == expected(TRI2)[5] for each in again)
    assert "Policy('tri2', base_lr=0.01" in repr(schedule)


CHAIN = warm_up(5, start=0.001) >> lasting(TRI2, 20) >> cool_down(9, shape="cosine")
SWEEP = Sweep(1e-4, 1.0, 50, "log")


@pytest.mark.parametrize("schedule", [CHAIN, SWEEP], ids=["chain", "sweep"])
def test_any_function_of_the_iteration_will_do(schedule: Any, iterations: int | None) -> None:
    assert rates_seen(small_model(PolicySchedule(schedule, iterations)), COUNT) == expected(schedule)
    assert PolicySchedule(schedule) == PolicySchedule(schedule) != PolicySchedule(TRI2)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_a_model_is_saved_with_its_chain(tmp_path: Path) -> None:
    model = small_model(PolicySchedule(CHAIN))
    seen = rates_seen(model, 13)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert seen + rates_seen(loaded, COUNT - 13) == expected(CHAIN)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (SWEEP, "a model is saved with a Policy or a chain of them, got Sweep.*; save the weights alone"),
        (lasting(SWEEP, 5) >> TRI2, "the text of a chain is that of policies and ramps, got Sweep.*; save the weights"),
    ],
)
def test_what_cannot_be_saved_is_refused_where_it_is_saved(schedule: Any, message: str, tmp_path: Path) -> None:
    model = small_model(PolicySchedule(schedule))
    assert rates_seen(model, 3) == expected(schedule, 0, 3)
    with pytest.raises(InputError, match=message):
        model.save(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("tri3", {}, 'lr_policy "tri3" is unknown'),
        ("tri2", {"base_lr": 0.1, "max_lr": 1.0}, "stepsize"),
        ("tri2", {**TRI2.parameters, "gamma": 0.1}, 'policy "tri2" takes no gamma; it takes base_lr'),
        (TRI2, {"base_lr": 0.1}, "parameters go with a policy's name"),
        ("aslr", {"base_lr": 0.1}, '"aslr" observes the training: .*; use PolicyCallback'),
        (TRI2, {"iterations": -1}, "iterations must be a whole number from 1"),
    ],
)
def test_wrong_input_gets_one_clear_line(policy: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        PolicySchedule(policy, **options)
    assert "\n" not in str(caught.value)


def test_a_step_is_whole(iterations: int | None) -> None:
    with pytest.raises(InputError, match="whole numbers"):
        PolicySchedule(TRI2, iterations)(0.5)


def test_another_backend_needs_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    assert PolicySchedule(TRI2, 10).iterations == 10
    with pytest.raises(InputError, match=r"under the tensorflow backend .* give iterations"):
        PolicySchedule(TRI2)
