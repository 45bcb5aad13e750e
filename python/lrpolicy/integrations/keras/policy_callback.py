"""Policies that observe the training, as a Keras callback that sets the optimizer's rate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from lrpolicy.compositions import SwitchOnPlateau
from lrpolicy.errors import InputError, did_you_mean
from lrpolicy.integrations.policy_like import AnyPolicyLike, as_any_policy, identity, is_identity_of, name_of
from lrpolicy.kernels import Plan
from lrpolicy.stateful import AdaptivePolicy, Aslr, Plateau, Tlr, TlrWindow, TrainLoss
from lrpolicy.stateful.values import whole

_VERSION = 1
_FIELDS = ("iteration", "epochs", "state", "start", "before")


class PolicyCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the rate of the model's optimizer as an adaptive policy says, and shows the policy what it observes.

    >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    >>> model.fit(x, y, validation_split=0.1, callbacks=[PolicyCallback("seq3", base_lr=0.1)])

    `policy` is an `AdaptivePolicy`, its name with its parameters, its text or a dict of them, or a `SwitchOnPlateau`.
    The rates are those of `lrpolicy.stateful`, rounded once to float32; the optimizer's own rate has no part in them.

    - seq1 to seq4 observe `monitor` ("val_loss") after every epoch.
    - aslr does so too, and draws a rate before every update. Keras has one rate for all tensors, so that all share the
      draw of the first.
    - plateau observes `monitor` ("loss") after every epoch, and its winsizes count epochs: Keras tells no loss of a
      single batch, only its mean since the epoch began.
    - A switch observes the same, but its winsizes count updates, as its schedules do: it switches at the end of the
      first epoch by which winsize updates have brought no new minimum.
    - tlr compares how far the weights have come in successive windows (source "displacement", the double sums of
      `lrpolicy.kernels`), one rate for all tensors. An epoch is as long as `fit` says, or the policy's `epoch`. Keras'
      SGD keeps the rate inside its momentum, as Caffe does: a displacement then also holds a little of the rates
      before. The weights are copied to the host once a window, and one by one after each epoch; two copies of them in
      memory. Where weights were set, loaded or restored between two calls of `fit`, the window begins again: that was
      no step of the optimizer. Where something changes them during `fit`, call `restart()`.

    aslr, tlr and a switch look at single updates: not with steps_per_execution or gradient_accumulation_steps above 1.
    Under the JAX backend a new rate makes the trainer write its state back; aslr and a switch do that in every update.

    `state_dict` and `load_state_dict` go on in the middle of a training, also in the middle of an epoch.

    Raises InputError for a policy of another kind (that is a `PolicySchedule`), and what Keras cannot do; in `fit` for
    an optimizer that follows a schedule, and logs without `monitor`.
    """

    def __init__(
        self,
        policy: AnyPolicyLike,
        monitor: str | None = None,
        **parameters: float | str | Sequence[int],
    ) -> None:
        super().__init__()
        known = as_any_policy(policy, parameters)
        if not isinstance(known, AdaptivePolicy | SwitchOnPlateau):
            raise InputError("PolicyCallback is for policies that observe the training", got=repr(known),
                             remedy="make a PolicySchedule of it")  # fmt: skip
        self.policy = known
        self.schedule: Any = self._made()
        self.monitor = monitor or ("loss" if isinstance(self.schedule, Plateau | SwitchOnPlateau) else "val_loss")
        self.state: Any = self.schedule.init()
        self.iteration, self.epochs = 0, 0
        self._start: list[NDArray[Any]] | None = None
        self._before: list[NDArray[Any]] | None = None
        self._since: int | None = None  # the iteration at which the window began; older states do not say
        self._mark: str | None = None  # a hash of the weights after the last update; "" during an epoch
        self._is_first = True  # of this fit, the next update

    @property
    def rate(self) -> float:
        """The rate of the next update."""
        return float(np.float32(self.schedule.rate(self.state, self.iteration)))

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Set the first rate. Raises InputError for an optimizer whose rate cannot be set, or whose updates hide."""
        self._check_model()
        if self._learns and isinstance(self.policy, AdaptivePolicy) and "epoch" not in self.policy.parameters:
            steps = self.params.get("steps")
            if not steps:
                raise InputError("tlr needs the length of an epoch", remedy="give epoch=, in updates")
            self.schedule = self._made(int(steps))
        self._is_first = True
        self._write()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """aslr draws, a switch's schedule goes on, and tlr begins its first window."""
        if isinstance(self.schedule, Aslr | SwitchOnPlateau):
            self._write()
        elif self._learns:
            self._begin()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count, and where a window of tlr is over learn from it."""
        if self._learns:
            self._mark = ""
            if self._start is not None and self.schedule.is_due(self.iteration):
                self._learn(self._start)
        self.iteration += 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Observe `monitor`. Raises InputError where the logs do not have it."""
        if self._learns:
            self._mark = self._hash()
            return
        if self.monitor not in (logs or {}):
            remedy = f"give validation_data, or a monitor of these; {did_you_mean(self.monitor, logs or {})}"
            raise InputError(f'the epoch has no "{self.monitor}"', remedy=remedy)
        loss = float((logs or {})[self.monitor])
        at = self.iteration if isinstance(self.schedule, SwitchOnPlateau) else self.epochs
        seen = TrainLoss(at, loss) if isinstance(self.schedule, Plateau | SwitchOnPlateau) else loss
        self.state = self.schedule.update(self.state, seen)
        self.epochs += 1
        self._write()

    def restart(self) -> None:
        """Begin tlr's window at the weights as they are: after they were changed by anything but the optimizer."""
        self._start = None

    def state_dict(self) -> dict[str, Any]:
        """Numbers, text and, for tlr, copies of the weights as NumPy arrays."""
        return {
            "version": _VERSION,
            "policy": identity(self.policy),
            "iteration": self.iteration,
            "epochs": self.epochs,
            "state": self.state.to_dict(),
            "start": self._start,
            "before": self._before,
            "since": self._since,
            "weights": self._hash() if self._mark == "" else self._mark,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; load the model's and its optimizer's state as well.

        Raises InputError for the state of another policy or version, or one that lacks a field; nothing has changed
        then.
        """
        version = state_dict.get("version") if isinstance(state_dict, Mapping) else None
        if version != _VERSION:
            got = f"a {type(state_dict).__name__} of version {version}"
            raise InputError(f"this is no state of a PolicyCallback, version {_VERSION}", got=got)
        if not is_identity_of(state_dict.get("policy"), self.policy):
            got = f"that of {state_dict.get('policy')} for {identity(self.policy)}"
            raise InputError("this is the state of another policy", got=got)
        for name in _FIELDS:
            if name not in state_dict:
                raise InputError(f'this state of a PolicyCallback lacks the field "{name}"')
        state = type(self.state).from_dict(state_dict["state"])
        counts = [whole(name, state_dict[name], 0) for name in ("iteration", "epochs")]
        arrays = [_kept(name, state_dict[name]) for name in ("start", "before")]
        since, mark = (state_dict.get(name) for name in ("since", "weights"))  # which older states do not have
        self._since = None if since is None else whole("since", since, 0, counts[0])
        self._mark = None if mark is None else str(mark)
        self.iteration, self.epochs = counts
        self.state, (self._start, self._before) = state, arrays

    @property
    def _learns(self) -> bool:
        return isinstance(self.schedule, Tlr)

    def _made(self, epoch_iterations: int = 1) -> Any:
        """The schedule. Raises InputError for a TLR that needs more than Keras shows to a callback."""
        if not isinstance(self.policy, AdaptivePolicy):
            return self.policy
        schedule = self.policy.schedule(epoch_iterations)
        if isinstance(schedule, Tlr):
            _check_possible(schedule)
        return schedule

    def _check_model(self) -> None:
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed_float16's LossScaleOptimizer
        if isinstance(getattr(optimizer, "_learning_rate", None), keras.optimizers.schedules.LearningRateSchedule):
            remedy = f"compile the model with a number, such as {self.rate:g}"
            raise InputError("the optimizer follows a schedule of its own", remedy=remedy)
        if not isinstance(self.schedule, Aslr | Tlr | SwitchOnPlateau):
            return
        for owner, name in ((self.model, "steps_per_execution"), (optimizer, "gradient_accumulation_steps")):
            if (getattr(owner, name, None) or 1) > 1:
                raise InputError(
                    f"{name_of(self.policy)} looks at every update: {name} must be 1", got=getattr(owner, name)
                )

    def _sync(self) -> None:
        """The JAX trainer keeps its state to itself during an epoch, until it is asked for."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()

    def _write(self) -> None:
        self._sync()
        self.model.optimizer.learning_rate = self.rate

    def _weights(self) -> list[NDArray[Any]]:
        """Copies of what is trained, at least float32."""
        self._sync()
        return [_copied(variable) for variable in self.model.trainable_variables]

    def _hash(self) -> str:
        self._sync()
        found = hashlib.sha256()
        for variable in self.model.trainable_variables:
            found.update(_copied(variable).tobytes())
        return found.hexdigest()

    def _begin(self) -> None:
        """A window, where none goes on; one of a fit before does only from the weights which that fit left.

        Not in `on_train_begin`, where other callbacks restore weights.
        """
        if self._is_first and self._start is not None and self._mark is not None and self._mark != self._hash():
            self.restart()
        self._is_first = False
        if self._start is None:
            self._start, self._since = self._weights(), self.iteration

    def _learn(self, start: list[NDArray[Any]]) -> None:
        now = self._weights()
        _check_shapes(start, now)
        _check_shapes(self._before or now, now)
        # NumPy's difference of arrays of no dimension is a number.
        moved = [np.asarray(before - after) for before, after in zip(start, now, strict=True)]
        gg, gp = _dots(moved, moved if self._before is None else self._before)
        updates = None if self._since is None else self.iteration + 1 - self._since
        self.state = self.schedule.update(self.state, TlrWindow([gg], [gp], updates))
        self._start, self._before, self._since = now, moved, self.iteration + 1
        self._write()


def _check_possible(schedule: Tlr) -> None:
    if schedule.source != "displacement":
        raise InputError("Keras shows a callback no gradients", got=f'source "{schedule.source}"',
                         remedy='use source "displacement", or lrpolicy.integrations.jax or .torch')  # fmt: skip
    if schedule.per_tensor:
        raise InputError("an optimizer of Keras has one rate for all tensors", got="per_tensor=True",
                         remedy="use lrpolicy.integrations.jax or .torch")  # fmt: skip


def _copied(variable: Any) -> NDArray[Any]:
    value = keras.ops.stop_gradient(variable.value)
    if keras.backend.standardize_dtype(value.dtype) not in ("float32", "float64"):
        value = keras.ops.cast(value, "float32")
    return np.asarray(value.cpu() if hasattr(value, "cpu") else value).copy()


def _kept(name: str, arrays: object) -> list[NDArray[Any]] | None:
    """Weights of a saved state."""
    if arrays is None or (isinstance(arrays, list) and all(isinstance(array, np.ndarray) for array in arrays)):
        return arrays
    raise InputError(f'"{name}" of this state must be a list of NumPy arrays, or None', got=repr(arrays)[:80])


def _check_shapes(start: list[NDArray[Any]], now: list[NDArray[Any]]) -> None:
    ours, theirs = ([array.shape for array in arrays] for arrays in (start, now))
    if ours != theirs:
        rule = "the model has other weights than at the window's beginning"
        raise InputError(rule, got=f"{theirs}, not {ours}", remedy="make a PolicyCallback for this model")


def _dots(now: list[NDArray[Any]], before: list[NDArray[Any]]) -> tuple[float, float]:
    """<now, now> and <now, before> over all tensors, in double and in their order."""
    gg = gp = 0.0
    for a, b in zip(now, before, strict=True):
        (own,), (other,) = Plan([a.size]).dot_pair([a], [b])
        gg, gp = gg + own, gp + other
    return gg, gp
