"""What observes a loss as optax transformations: ASLR, seq1 to seq4, plateau, switches. The core does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from lrpolicy.compositions import SwitchOnPlateau, SwitchState
from lrpolicy.errors import InputError
from lrpolicy.integrations.jax.leaves import scaled
from lrpolicy.integrations.jax.policy_schedule import PolicySchedule
from lrpolicy.integrations.policy_like import ObservingPolicy, name_of, text_of
from lrpolicy.stateful import (
    AdaptiveSchedule,
    Aslr,
    AslrState,
    DecayState,
    Plateau,
    PlateauState,
    TrainLoss,
)
from lrpolicy.stateful.values import State


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["count", "heard", "rate", "words"],
    meta_fields=["policy"],
)
@dataclass(frozen=True)
class FeedbackState:
    """A pytree: what a policy that observes a loss remembers in an optimizer's state.

    `count` updates were made and `heard` losses observed (int32); `rate` is the float32 rate (of a switch as of the
    last update or loss), or ASLR's centre; `words` is the state of `lrpolicy.stateful`, uint32, two for each field,
    because JAX has no 64-bit numbers by default. The policy is no array: under jit it is a constant, and the state of
    another policy another type.
    """

    policy: ObservingPolicy
    count: jax.Array
    heard: jax.Array
    rate: jax.Array
    words: jax.Array

    @property
    def value(self) -> State:
        """The state as `lrpolicy.stateful` has it: an AslrState, DecayState, PlateauState or SwitchState."""
        return _unpacked(schedule_of(self.policy), np.asarray(self.words))


@lru_cache(maxsize=256)
def schedule_of(policy: ObservingPolicy) -> AdaptiveSchedule | SwitchOnPlateau:
    """The policy's schedule, made once."""
    return policy if isinstance(policy, SwitchOnPlateau) else policy.schedule()


def scale_by_feedback(policy: ObservingPolicy, iterations: int | None = None) -> optax.GradientTransformationExtraArgs:
    """Updates times minus the rate: one rate for all tensors, or for aslr a draw for each, from the core.

    `iterations` is for the schedules of a switch. Raises InputError where they are not hashable.
    """
    schedules = _schedules_of(policy, iterations) if isinstance(policy, SwitchOnPlateau) else []

    def init(params: optax.Params) -> FeedbackState:
        schedule = schedule_of(policy)
        words, rate = _packed(schedule, schedule.init())
        count, heard = (jnp.zeros((), jnp.int32) for _ in range(2))  # no array twice: a caller may donate the state
        return FeedbackState(policy, count, heard, jnp.asarray(rate), jnp.asarray(words))

    def update(
        updates: optax.Updates, state: FeedbackState, params: optax.Params | None = None, **_: Any
    ) -> tuple[optax.Updates, FeedbackState]:
        check_state(state, FeedbackState, policy)
        tensors = len(jax.tree.leaves(updates))
        rate = _switched(schedules, state) if schedules else state.rate
        rates = [rate] * tensors
        if isinstance(schedule_of(policy), Aslr):
            drawn = jax.ShapeDtypeStruct((tensors,), jnp.float32)  # type: ignore[no-untyped-call]
            rates = list(_on_host(partial(_draw, policy, tensors), drawn, state.words, state.count))
        return scaled(updates, rates), replace(state, rate=rate, count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)


def _schedules_of(switch: SwitchOnPlateau, iterations: int | None) -> list[PolicySchedule]:
    try:
        hash(switch)
    except TypeError:
        raise InputError("JAX keeps a switch by its hash, and a schedule in it has none", got=repr(switch)) from None
    return [PolicySchedule(schedule, iterations) for schedule in switch.schedules]


def _switched(schedules: list[PolicySchedule], state: FeedbackState) -> jax.Array:
    """The rate of the schedule that holds. Counts are int32, so that the low words of `place` and `since` are all."""
    place, since = state.words[0].astype(jnp.int32), state.words[2].astype(jnp.int32)
    rate: jax.Array = jax.lax.switch(place, schedules, state.count - since)
    return rate


def check_state(state: object, kind: type[Any], policy: ObservingPolicy) -> None:
    """Raise InputError where `state` is not this policy's."""
    if not isinstance(state, kind):
        raise InputError(f"{name_of(policy)} needs a state of its own", got=f"a {type(state).__name__}")
    if state.policy != policy:
        rule = f'this is the state of another policy than "{text_of(policy)}"'
        raise InputError(rule, got=text_of(state.policy))


def observe(opt_state: optax.OptState, loss: ArrayLike) -> optax.OptState:
    """The optimizer's state after a loss: of every policy in it that observes one.

    ASLR and seq1 to seq4 observe the validation loss, once after every epoch; plateau the smoothed training loss, after
    every update or at any other pace in which its winsizes are counted. Works outside of jit, and under it through a
    call back to the host. A Python number keeps its 64 bits; a traced one has its own.

    `SwitchOnPlateau` observes the smoothed training loss too, at any pace: its winsizes count the updates made.

    Raises InputError where no policy in the state observes a loss, and where the loss is no single number.
    """
    if not isinstance(loss, int | float | np.generic | np.ndarray | jax.Array) or np.ndim(loss):
        raise InputError("a loss is a single number", got=repr(loss))
    found = [state for state in _states(opt_state) if isinstance(state, FeedbackState)]
    if not found:
        raise InputError("no policy in this state observes a loss", got=f"a {type(opt_state).__name__}")
    return jax.tree.map(
        lambda state: _after(state, loss) if isinstance(state, FeedbackState) else state,
        opt_state,
        is_leaf=lambda node: isinstance(node, FeedbackState),
    )


def _states(opt_state: optax.OptState) -> list[Any]:
    return jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, FeedbackState))


def _after(state: FeedbackState, loss: ArrayLike) -> FeedbackState:
    shapes = jax.eval_shape(lambda: (state.words, state.rate))
    at = state.count if isinstance(state.policy, SwitchOnPlateau) else state.heard
    words, rate = _on_host(partial(_hear, state.policy), shapes, state.words, at, loss)
    return replace(state, words=words, rate=rate, heard=optax.safe_increment(state.heard))


def _on_host(function: Callable[..., Any], shapes: Any, *arguments: ArrayLike) -> Any:
    """What a function of NumPy arrays gives; under a trace, a call back from the compiled program."""
    if any(isinstance(argument, jax.core.Tracer) for argument in arguments):
        return jax.pure_callback(function, shapes, *arguments, vmap_method="sequential")
    return jax.tree.map(jnp.asarray, function(*map(np.asarray, arguments)))


def _draw(policy: ObservingPolicy, tensors: int, words: Any, count: Any) -> NDArray[np.float32]:
    schedule = schedule_of(policy)
    assert isinstance(schedule, Aslr)
    state = _unpacked(schedule, np.asarray(words))
    assert isinstance(state, AslrState)
    return schedule.rates(state, int(count), tensors).astype(np.float32)


def _hear(policy: ObservingPolicy, words: Any, at: Any, loss: Any) -> tuple[NDArray[np.uint32], np.float32]:
    schedule: Any = schedule_of(policy)
    seen = TrainLoss(int(at), float(loss)) if isinstance(schedule, Plateau | SwitchOnPlateau) else float(loss)
    return _packed(schedule, schedule.update(_unpacked(schedule, np.asarray(words)), seen), int(at))


def _packed(schedule: Any, state: Any, at: int = 0) -> tuple[NDArray[np.uint32], np.float32]:
    """The state's fields as 64-bit words in halves, and its rate."""
    words = [
        np.float64(value).view(np.int64) if isinstance(value, float) else np.int64(value) for value in state.to_tuple()
    ]
    rate = schedule.center(state) if isinstance(schedule, Aslr) else schedule.rate(state, at)
    return np.array(words, np.int64).view(np.uint32), np.float32(rate)


def _unpacked(schedule: AdaptiveSchedule | SwitchOnPlateau, words: NDArray[np.uint32]) -> State:
    kind = _kind(schedule)
    types = [str(field.type) for field in fields(kind)]
    if words.size != 2 * len(types):
        raise InputError(f"this is no state of {kind.schedule}", got=f"{words.size} words")
    whole = np.ascontiguousarray(words, np.uint32).view(np.int64)
    values: list[Any] = [_field(name, word) for name, word in zip(types, whole, strict=True)]
    return kind(*values)


def _kind(schedule: AdaptiveSchedule | SwitchOnPlateau) -> type[AslrState | DecayState | PlateauState | SwitchState]:
    if isinstance(schedule, Aslr):
        return AslrState
    if isinstance(schedule, SwitchOnPlateau):
        return SwitchState
    return PlateauState if isinstance(schedule, Plateau) else DecayState


def _field(kind: str, word: np.int64) -> float | int | bool:
    if kind == "float":
        return float(word.view(np.float64))
    return bool(word) if kind == "bool" else int(word)
