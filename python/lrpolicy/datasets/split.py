"""Choosing examples by a seed: the validation split, and a shuffled order.

The choice is a pure function of (labels, size, seed). It draws on the raw output of Philox, which NumPy keeps the same
from version to version, and not on the methods of `numpy.random.Generator`, which it may change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrpolicy.datasets.examples import Examples
from lrpolicy.errors import InputError

VALIDATION_FRACTION = 0.1
"""The part of the training set that is held out for validation unless the user says otherwise."""


def split_validation(
    examples: Examples, size: int | float = VALIDATION_FRACTION, seed: int = 0
) -> tuple[Examples, Examples]:
    """Split a training set into (train, validation), the same for the same examples, size and seed.

    `size` is a count of examples (an int) or a fraction of them (a float in (0, 1), rounded to the nearest count).
    Every class keeps its share of the validation set to within one example, but never gives its last one: what a class
    cannot give, others do. Both parts keep the order of `examples`.

    Raises:
        InputError: the size leaves either part empty or a class without a training example, or the seed is negative.
    """
    held_out = stratified_choice(examples.labels, validation_size(examples, size), seed)
    return (
        examples.take(np.flatnonzero(~held_out), f"{examples.where} (without validation)"),
        examples.take(np.flatnonzero(held_out), f"{examples.where} (validation)"),
    )


def validation_size(examples: Examples, size: int | float = VALIDATION_FRACTION) -> int:
    """How many examples `split_validation` holds out, without splitting. Raises InputError as that does for a size."""
    count = len(examples)
    chosen = round(size * count) if isinstance(size, float) else size
    if not 0 < chosen < count:
        rule = f"the validation split must leave examples on both sides of {count}"
        remedy = "give a fraction in (0, 1) as a float, or a count of examples"
        raise InputError(rule, where=examples.where, got=f"size {size}", remedy=remedy)
    classes = len(np.unique(examples.labels))
    if chosen > count - classes:
        rule = f"{count} examples of {classes} classes spare {count - classes} for validation, so that each is trained"
        remedy = "give more examples, a smaller size, or none (--protocol paper)"
        raise InputError(rule, where=examples.where, got=f"a size of {chosen}", remedy=remedy)
    return chosen


def stratified_choice(labels: NDArray[np.int64], size: int, seed: int) -> NDArray[np.bool_]:
    """A mask (n,) of `size` examples, drawn class by class in proportion (largest remainders, low classes first).

    Each class keeps one example, for which `size` must leave room.
    """
    counts = np.bincount(labels)
    shares, remainders = np.divmod(counts * size, len(labels))
    by_remainder = np.argsort(-remainders, kind="stable")
    while missing := size - shares.sum():
        able = by_remainder[shares[by_remainder] < counts[by_remainder] - 1]
        shares[able[:missing]] += 1
    order = shuffled_order(len(labels), seed)
    chosen = np.zeros(len(labels), np.bool_)
    for name, share in enumerate(shares):
        chosen[order[labels[order] == name][:share]] = True
    return chosen


def shuffled_order(count: int, seed: int) -> NDArray[np.int64]:
    """A permutation (count,) of 0..count-1. Raises InputError when the seed is negative."""
    if seed < 0:
        raise InputError("a seed must be 0 or more", got=seed)
    return np.argsort(np.random.Philox(key=seed).random_raw(count), kind="stable")
