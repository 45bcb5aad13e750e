"""PolicyCallback: the core's rates reach the weights, resuming, TLR against NumPy, wrong input."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from keras_support import rates_seen, small_model  # noqa: E402

from lrpolicy.compositions import SwitchOnPlateau, warm_up  # noqa: E402
from lrpolicy.errors import InputError  # noqa: E402
from lrpolicy.integrations.keras import PolicyCallback, PolicySchedule  # noqa: E402
from lrpolicy.policies import Policy  # noqa: E402
from lrpolicy.stateful import AdaptivePolicy, Plateau, TlrWindow, TrainLoss  # noqa: E402

SEQUENCES = ["seq1:base_lr=0.1", "seq3:base_lr=0.1,strategy=by_oscillate", "seq4:base_lr=0.1,strategy=by_cutoff"]
PLATEAU = "plateau:base_lr=0.1,gamma=0.5,plateau_winsize=2,plateau_winsize=1"
ASLR = "aslr:base_lr=0.1,seed=7"
TLR = "tlr:base_lr=0.02,window=0.5"
RESTARTING_TLR = "tlr:base_lr=0.2,window=0.5,restart_below=0.17"  # in `regression`
FIXED, FALLING = Policy("fixed", base_lr=0.1), Policy("exp", base_lr=0.05, gamma=0.9)
SWITCH = SwitchOnPlateau([warm_up(4) >> FIXED, FALLING, FIXED], [6, 3])  # updates
LOSSES = [2.0, 1.5, 1.6, 1.6, 1.2, 1.3, 1.30001, 0.9]


class Losses(keras.callbacks.Callback):
    """Puts losses of ours into the logs of each epoch, in the place of the real ones."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses = losses

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["loss"] = logs["val_loss"] = self.losses[epoch]


def expected(text: str, losses: list[float], updates: int) -> list[float]:
    """The float32 rate of every update of epochs of so many."""
    schedule: Any = AdaptivePolicy.parse(text).schedule()
    state, found = schedule.init(), []
    for epoch, loss in enumerate(losses):
        found += [schedule.rate(state, epoch * updates + t) for t in range(updates)]
        state = schedule.update(state, TrainLoss(epoch, loss) if isinstance(schedule, Plateau) else loss)
    return np.array(found).astype(np.float32).tolist()


@pytest.mark.parametrize("text", [*SEQUENCES, PLATEAU, ASLR])
def test_the_weights_move_by_the_cores_rates(text: str) -> None:
    callback = PolicyCallback(text)
    seen = rates_seen(small_model(0.7), 3, len(LOSSES), callbacks=[Losses(LOSSES), callback])
    assert seen == expected(text, LOSSES, 3)
    assert len(set(seen)) >= 2
    assert (callback.iteration, callback.epochs) == (3 * len(LOSSES), len(LOSSES))


@pytest.mark.parametrize("text", [SEQUENCES[1], PLATEAU, ASLR])
def test_a_resumed_training_goes_on_to_the_bit(text: str) -> None:
    first = PolicyCallback(text)
    seen = rates_seen(small_model(0.7), 3, 4, callbacks=[Losses(LOSSES[:4]), first])
    second = PolicyCallback(text)
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    seen += rates_seen(small_model(0.7), 3, 4, callbacks=[Losses(LOSSES[4:]), second])
    assert seen == expected(text, LOSSES, 3)


def switched(losses: list[float], updates: int) -> list[float]:
    """The float32 rate of every update: an epoch's loss is observed with the count of updates made."""
    state, found = SWITCH.init(), []
    for epoch, loss in enumerate(losses):
        found += [SWITCH.rate(state, t) for t in range(epoch * updates, (epoch + 1) * updates)]
        state = SWITCH.update(state, TrainLoss((epoch + 1) * updates, loss))
    assert state.place == 2
    return np.array(found).astype(np.float32).tolist()


def test_the_weights_move_by_the_rates_of_a_switch_and_go_on_to_the_bit() -> None:
    """Winsizes of 6 and 3 updates end with the second epoch and with the first that bring no new minimum."""
    seen, state = [], None
    for losses in (LOSSES[:3], LOSSES[3:6], LOSSES[6:]):
        callback = PolicyCallback(SWITCH)
        if state is not None:
            callback.load_state_dict(pickle.loads(pickle.dumps(state)))
        seen += rates_seen(small_model(0.7), 3, len(losses), callbacks=[Losses(losses), callback])
        state = callback.state_dict()
    assert seen == switched(LOSSES, 3)


def regression() -> tuple[Any, Any, Any]:
    generator = np.random.default_rng(5)
    x = generator.standard_normal((48, 5)).astype(np.float32)
    y = (x @ generator.standard_normal((5, 2)) + generator.standard_normal((48, 2))).astype(np.float32)
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.7), "mse")
    return model, x, y


class Rates(keras.callbacks.Callback):
    def __init__(self, of: PolicyCallback) -> None:
        super().__init__()
        self.of, self.seen = of, []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(self.of.rate)


def fit_tlr(model: Any, x: Any, y: Any, callback: PolicyCallback, epochs: int) -> list[float]:
    rates = Rates(callback)
    model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[callback, rates])
    return rates.seen


def learned_in_numpy(
    text: str, model: Any, x: Any, y: Any, count: int, doubled_at: int | None = None
) -> tuple[list[float], Any]:
    """The rates after each update of least squares by plain SGD in double, with the core's machine, and its last state.

    Before the update `doubled_at` something else doubles the weights, and TLR's window begins again there.
    """
    kernel, bias = (np.asarray(weight, float) for weight in model.get_weights())
    schedule: Any = AdaptivePolicy.parse(text).schedule(6)
    state, found = schedule.init(), []
    start, since, before = np.append(kernel, bias), 0, np.zeros(12)
    for t in range(count):
        if t == doubled_at:
            kernel, bias, since = 2 * kernel, 2 * bias, t
            start = np.append(kernel, bias)
        rows = slice(8 * (t % 6), 8 * (t % 6) + 8)
        error = 2 * (x[rows] @ kernel + bias - y[rows]) / (8 * 2)
        kernel, bias = kernel - schedule.rate(state) * x[rows].T @ error, bias - schedule.rate(state) * error.sum(0)
        if schedule.is_due(t):
            now = np.append(kernel, bias)
            window = TlrWindow((start - now) @ (start - now), (start - now) @ before, t + 1 - since)
            state = schedule.update(state, window)
            start, since, before = now, t + 1, start - now
        found.append(schedule.rate(state))
    return found, state


KERAS_WARNS = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"  # Keras's get_weights
)


@KERAS_WARNS
@pytest.mark.parametrize("text", [TLR, RESTARTING_TLR])
def test_tlr_learns_the_rates_of_a_training_in_numpy(text: str) -> None:
    """Within 1e-4 in float32 over 20 windows, whose displacements do not die out: the targets are noisy."""
    model, x, y = regression()
    found, state = learned_in_numpy(text, model, x, y, 60)
    callback = PolicyCallback(text)
    seen = fit_tlr(model, x, y, callback, 10)
    assert len(set(found)) >= 19 if text == TLR else state.restarts[0] >= 5
    assert callback.state.restarts == state.restarts
    np.testing.assert_allclose(seen, found, rtol=1e-4)


class Scaled(keras.layers.Layer):
    """Has one weight, of whatever shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.factor = self.add_weight(shape=shape, initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor


def test_tlr_learns_from_weights_without_dimensions() -> None:
    seen = []
    for shape in ((), (1,)):
        model, x, y = regression()
        model.add(Scaled(shape))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        first, second = PolicyCallback(TLR), PolicyCallback(TLR)
        rates = fit_tlr(model, x, y, first, 2)
        second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
        seen.append(rates + fit_tlr(model, x, y, second, 2))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 3


class Doubling(keras.callbacks.Callback):
    """Doubles the weights where a training begins or ends, as EarlyStopping restores the best ones there."""

    def on_train_begin(self, logs: Any = None) -> None:
        if self.params.get("epochs") == 2:
            self.model.set_weights([2 * weight for weight in self.model.get_weights()])

    def on_train_end(self, logs: Any = None) -> None:
        if self.params.get("epochs") == 1:
            self.model.set_weights([2 * weight for weight in self.model.get_weights()])


@KERAS_WARNS
@pytest.mark.parametrize("how", ["between", "at the end", "at the beginning", "loaded", "restart"])
def test_weights_that_were_set_are_no_displacement(how: str) -> None:
    """In the middle of a window of four updates, whose other two count alone then."""
    text = TLR + ",epoch=8"
    model, x, y = regression()
    found, state = learned_in_numpy(text, model, x, y, 18, doubled_at=6)
    callback = PolicyCallback(text)

    def fit(epochs: int, *others: Any) -> None:
        model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[callback, *others])

    fit(1, *[Doubling()] * (how == "at the end"))
    if how in ("between", "loaded", "restart"):
        model.set_weights([2 * weight for weight in model.get_weights()])
    if how == "restart":  # a state that does not say which weights it belongs to is believed
        saved = callback.state_dict()
        saved = {key: value for key, value in saved.items() if key not in ("since", "weights")}
        callback.load_state_dict(saved)
        callback.restart()
    if how == "loaded":
        saved, callback = callback.state_dict(), PolicyCallback(text)
        callback.load_state_dict(pickle.loads(pickle.dumps(saved)))
    fit(2, *[Doubling()] * (how == "at the beginning"))
    np.testing.assert_allclose(callback.rate, found[-1], rtol=1e-5)
    np.testing.assert_allclose(callback.state.squared, state.squared, rtol=1e-4)


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("text", [TLR, RESTARTING_TLR])
def test_tlr_goes_on_in_the_middle_of_a_window(text: str, older: bool) -> None:
    model, x, y = regression()
    whole = fit_tlr(model, x, y, PolicyCallback(text + ",epoch=8"), 12)
    model, x, y = regression()
    first = PolicyCallback(text + ",epoch=8")
    seen = fit_tlr(model, x, y, first, 9)  # 54 updates, in windows of four
    second = PolicyCallback(text + ",epoch=8")
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    if older:
        saved = {key: value for key, value in saved.items() if key not in ("since", "weights")}
    second.load_state_dict(saved)
    assert seen + fit_tlr(model, x, y, second, 3) == whole
    assert len(set(whole)) > 3
    if text != TLR:
        assert 1 <= first.state.restarts[0] < second.state.restarts[0]


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("fixed:base_lr=0.1", {}, "is for policies that observe the training.*make a PolicySchedule"),
        ("seq3", {"base_lr": 0.1, "gamma": 1.0}, 'policy "seq3" has no parameter "gamma"'),
        ("seq9", {"base_lr": 0.1}, 'lr_policy "seq9" is unknown'),
        (TLR + ",source=gradient", {}, "Keras shows a callback no gradients.*lrpolicy.integrations.jax"),
        (SWITCH, {"base_lr": 0.01}, "parameters go with a policy's name"),
        (TLR + ",restart_below=0.02", {}, "restart_below must lie between min_lr and base_lr.*got 0.02"),
        (TLR + ",per_tensor=true", {}, "one rate for all tensors.*lrpolicy.integrations.jax"),
    ],
)
def test_wrong_policies_get_one_clear_line(policy: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        PolicyCallback(policy, **options)
    assert "\n" not in str(caught.value)


def test_what_a_fit_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="follows a schedule of its own; compile the model with a number"):
        rates_seen(small_model(PolicySchedule("fixed", base_lr=0.1)), 2, callbacks=[PolicyCallback(ASLR)])
    with pytest.raises(InputError, match='no "val_loss"; give validation_data, or a monitor of these; known: loss'):
        rates_seen(small_model(0.1), 2, callbacks=[PolicyCallback(ASLR)])
    with pytest.raises(InputError, match="aslr looks at every update: gradient_accumulation_steps must be 1, got 2"):
        rates_seen(small_model(0.1, gradient_accumulation_steps=2), 2, callbacks=[PolicyCallback(ASLR)])
    with pytest.raises(InputError, match="switch_on_plateau looks at every update: gradient_accumulation_steps"):
        rates_seen(small_model(0.1, gradient_accumulation_steps=2), 2, callbacks=[PolicyCallback(SWITCH)])


def test_what_a_loss_scale_wraps_is_looked_at() -> None:
    """Keras puts an optimizer into a LossScaleOptimizer by itself under mixed_float16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(InputError, match="follows a schedule of its own; compile the model with a number"):
            rates_seen(small_model(PolicySchedule("fixed", base_lr=0.1)), 2, callbacks=[PolicyCallback(ASLR)])
        with pytest.raises(InputError, match="aslr looks at every update: gradient_accumulation_steps must be 1"):
            rates_seen(small_model(0.1, gradient_accumulation_steps=2), 2, callbacks=[PolicyCallback(ASLR)])
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", ["start", "before"])
def test_the_window_of_another_model_is_refused(name: str) -> None:
    model, x, y = regression()
    callback = PolicyCallback(TLR + ",epoch=8")
    fit_tlr(model, x, y, callback, 9)
    saved = callback.state_dict()
    other = PolicyCallback(TLR + ",epoch=8")
    other.load_state_dict({**saved, name: [array[:1] for array in saved[name]]})
    with pytest.raises(InputError, match=r"other weights than at the window.s beginning.*for this model"):
        fit_tlr(model, x, y, other, 3)


def test_states_that_do_not_fit_are_refused() -> None:
    callback = PolicyCallback(PLATEAU)
    saved = callback.state_dict()
    with pytest.raises(InputError, match="this is the state of another policy"):
        PolicyCallback(ASLR).load_state_dict(saved)
    with pytest.raises(InputError, match="this is the state of another policy"):
        PolicyCallback(TLR + ",restart_below=0.01").load_state_dict(PolicyCallback(TLR).state_dict())
    with pytest.raises(InputError, match="this is the state of another policy"):
        PolicyCallback(SWITCH).load_state_dict(saved)
    with pytest.raises(InputError, match=r"this is no state of a PolicyCallback, version 1, got a dict of version 2$"):
        callback.load_state_dict({**saved, "version": 2})
    with pytest.raises(InputError, match='lacks the field "epochs"'):
        callback.load_state_dict({key: value for key, value in saved.items() if key != "epochs"})
    with pytest.raises(InputError, match="this is no state of schedule plateau"):
        callback.load_state_dict({**saved, "state": PolicyCallback(ASLR).state.to_dict()})
    for name in ("start", "before"):
        with pytest.raises(InputError, match=f'"{name}" of this state must be a list of NumPy arrays, or None, got '):
            callback.load_state_dict({**saved, name: [[1.0, 2.0]]})
    assert callback.state_dict() == saved
