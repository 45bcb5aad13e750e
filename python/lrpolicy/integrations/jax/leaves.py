"""The leaves of a tree of updates: what they must be, and their product with rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from lrpolicy.errors import InputError


def check_numbers(tree: Any, kind: Any = jnp.inexact, rule: str = "a rate scales floating-point tensors") -> None:
    """Raise InputError, naming the leaf, for one whose dtype is not of `kind`: a rate times integers would be 0."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        dtype = jnp.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, kind):
            raise InputError(f"{jax.tree_util.keystr(path) or 'the tensor'} is {dtype}; {rule}")


def scaled(updates: Any, rates: Iterable[jax.Array]) -> Any:
    """Each leaf times minus its rate, in the leaf's type; a product of a shorter type is float32 first.

    Raises InputError for a leaf of integers.
    """
    check_numbers(updates)
    leaves, shape = jax.tree.flatten(updates)
    products = [(-rate * leaf).astype(leaf.dtype) for leaf, rate in zip(map(jnp.asarray, leaves), rates, strict=True)]
    return jax.tree.unflatten(shape, products)
