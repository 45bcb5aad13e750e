"""One policy's text in optax and in Keras, and rates that learn in both."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax

from lrpolicy.integrations.jax import PolicySchedule, scale_by_policy
from lrpolicy.integrations.keras import PolicyCallback
from lrpolicy.integrations.keras import PolicySchedule as KerasSchedule

TEXT = "tri2:base_lr=0.01,max_lr=0.06,stepsize=50"
EPOCH = 20

# The same float32 rates, traced and not.
rates = jax.jit(jax.vmap(PolicySchedule(TEXT)))(jnp.arange(200))
assert rates.tolist() == [float(KerasSchedule(TEXT)(t)) for t in range(200)]
print(f"{TEXT}: {rates[0]:g} at 0, {rates[50]:g} at 50, {rates[150]:g} at 150")

# TLR learns its rate inside one compiled scan.
generator = np.random.default_rng(1)
x = generator.standard_normal((EPOCH, 32, 6)).astype(np.float32)
y = (x @ generator.standard_normal((6, 1))).astype(np.float32)
optimizer = optax.chain(optax.trace(0.5), scale_by_policy("tlr", epoch_iterations=EPOCH, base_lr=0.001))


def mean_square(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """The loss of a linear model."""
    return jnp.mean((x @ weights - y) ** 2)


def step(carry: tuple, batch: tuple) -> tuple:
    """One update; what it shows is the loss and the rate."""
    weights, state = carry
    loss, gradient = jax.value_and_grad(mean_square)(weights, *batch)
    changes, state = optimizer.update(gradient, state, weights)
    return (optax.apply_updates(weights, changes), state), (loss, state[-1].rates[0])


weights = jnp.zeros((6, 1))
batches = np.tile(x, (10, 1, 1)), np.tile(y, (10, 1, 1))
_, (losses, learned) = jax.lax.scan(step, (weights, optimizer.init(weights)), batches)
print(f"TLR in optax: loss {losses[0]:.3f} to {losses[-1]:.2g}, rate {learned[0]:g} to {learned[-1]:.3f}")

# ASLR searches along with the validation loss of Keras.
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.1), "mse")
search = PolicyCallback("aslr:base_lr=0.01,seed=1")
flat = x.reshape(-1, 6), y.reshape(-1, 1)
history = model.fit(*flat, validation_split=0.1, batch_size=32, epochs=5, verbose=0, callbacks=[search])
centre = search.schedule.center(search.state)
print(f"ASLR in Keras: validation loss {history.history['val_loss'][-1]:.2g}, centre {centre:g}")
