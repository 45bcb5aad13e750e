"""A model whose weight shows the rate of every update."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lrpolicy.policies import Policy

TRI2 = Policy("tri2", base_lr=0.01, max_lr=0.06, stepsize=7)


def mean_output(target: Any, output: Any) -> Any:
    """A loss whose gradient is the mean of the inputs, whatever the weights."""
    return keras.ops.mean(output, axis=-1)


def small_model(learning_rate: Any, **options: Any) -> Any:
    """A model with one weight, 0 at first, whose gradient is 1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    keras.saving.register_keras_serializable("lrpolicy_tests")(mean_output)
    model.compile(keras.optimizers.SGD(learning_rate, **options), mean_output)
    return model


class _Weights(keras.callbacks.Callback):
    """Sets the weight to 0 before each update, and keeps what it was after."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        sync(self.model)
        self.model.layers[0].kernel.assign(np.zeros((1, 1)))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        sync(self.model)
        self.seen.append(-float(keras.ops.stop_gradient(self.model.layers[0].kernel.value)[0, 0]))


def sync(model: Any) -> None:
    """The JAX trainer keeps the state of a training elsewhere until someone asks."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def rates_seen(model: Any, updates: int, epochs: int = 1, **options: Any) -> list[float]:
    """How far the weight moves in each update of `fit`; options are those of `fit`."""
    weights = _Weights()
    inputs = np.ones((updates, 1), np.float32)
    callbacks = [*options.pop("callbacks", []), weights]
    model.fit(inputs, inputs, batch_size=1, epochs=epochs, verbose=0, callbacks=callbacks, **options)
    return weights.seen
