"""The validation split: in proportion, in order, and the same for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from lrpolicy.datasets import VALIDATION_FRACTION, Examples, open_dataset, split_validation
from lrpolicy.errors import InputError


def numbered(labels: list[int] | np.ndarray) -> Examples:
    """Examples whose image is their own number, in four bytes."""
    numbers = np.arange(len(labels), dtype=np.uint32).view(np.uint8).reshape(-1, 1, 2, 2)
    return Examples(numbers, np.asarray(labels, np.int64), "x")


def numbers_of(examples: Examples) -> np.ndarray:
    return examples.images.reshape(len(examples), 4).copy().view(np.uint32)[:, 0]


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 6), min_size=8, max_size=80), seed=st.integers(0, 2**64), data=st.data())
def test_a_split_is_a_partition_in_order_and_in_proportion(labels: list[int], seed: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(labels) - len(set(labels))))
    train, validation = split_validation(numbered(labels), size, seed)
    kept, held_out = numbers_of(train), numbers_of(validation)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert len(held_out) == size
    assert np.all(np.diff(kept.astype(int)) > 0)
    assert np.all(np.diff(held_out.astype(int)) > 0)
    assert train.labels.tolist() == [labels[number] for number in kept]
    assert validation.labels.tolist() == [labels[number] for number in held_out]
    assert set(train.labels) == set(labels), "every class is trained"
    counts = np.bincount(labels)
    shares, given = counts * size / len(labels), np.bincount(validation.labels, minlength=len(counts))
    assert np.all(given > shares - 1)
    spared = np.maximum(counts - 1, 0)
    if np.all(np.ceil(shares) <= spared):
        assert np.all(given < shares + 1)


def test_a_class_never_gives_its_last_example() -> None:
    labels = [0, 1, 2, 3, 3, 3, 3, 4, 4, 4]
    train, validation = split_validation(numbered(labels), 5)
    assert sorted(validation.labels) == [3, 3, 3, 4, 4] and set(train.labels) == set(range(5))
    rule = "x: 20 examples of 20 classes spare 0 for validation, so that each is trained, got a size of 2; give more"
    with pytest.raises(InputError, match=rule):
        split_validation(numbered(list(range(20))))
    with pytest.raises(InputError, match="10 examples of 5 classes spare 5"):
        split_validation(numbered(labels), 6)


def split_hash(labels: np.ndarray) -> str:
    """Of the held-out examples' numbers, as stored results were measured on them."""
    return hashlib.sha256(numbers_of(split_validation(numbered(labels))[1]).astype(np.int64).tobytes()).hexdigest()[:16]


def test_the_validation_split_of_digits_never_changes() -> None:
    assert split_hash(open_dataset("digits").train.labels) == "ff52e638e5c411c4"


@pytest.mark.parametrize(("name", "wanted"), [("mnist", "636fe03d06ac8d6f"), ("cifar10", "39d5c62136b82d80")])
def test_the_validation_split_of_real_data_never_changes(real_data: Path, name: str, wanted: str) -> None:
    assert split_hash(open_dataset(real_data / name).train.labels) == wanted


def test_the_split_is_a_function_of_the_seed() -> None:
    examples = numbered(np.arange(1000) % 10)
    first, again, other = (numbers_of(split_validation(examples, seed=seed)[1]).tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(first) == VALIDATION_FRACTION * 1000
    assert len(set(first) & set(other)) < 30


def test_the_split_of_a_seed_never_changes() -> None:
    held_out = numbers_of(split_validation(numbered(np.arange(40) % 4), 8, seed=5)[1])
    assert held_out.tolist() == [2, 9, 10, 12, 20, 21, 27, 31]


def test_a_fraction_is_rounded_to_a_count() -> None:
    assert len(split_validation(numbered([0] * 17), 0.2)[1]) == 3


@pytest.mark.parametrize("size", [0, 10, -1, 11, 0.0, 1.0, 0.01, 0.99, 1.5])
def test_a_split_that_leaves_nothing_is_refused(size: float) -> None:
    with pytest.raises(InputError, match=rf"x: .* both sides of 10, got size {size}; give a fraction"):
        split_validation(numbered([0] * 10), size)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="a seed must be 0 or more, got -1"):
        split_validation(numbered([0] * 10), seed=-1)


def test_digits_are_scikit_learns_each_once() -> None:
    bunch, dataset = load_digits(), open_dataset("digits")
    images = np.concatenate([dataset.train.images, dataset.test.images])[:, 0]
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    expected = np.column_stack([bunch.images.reshape(1797, 64), bunch.target])
    got = np.column_stack([images.reshape(1797, 64), labels])
    np.testing.assert_array_equal(got[np.lexsort(got.T)], expected[np.lexsort(expected.T)])
    assert dataset.train.images.shape == (1437, 1, 8, 8)
    assert dataset.test.images.shape == (360, 1, 8, 8)
    assert dataset.train.images.max() == 16


def test_digits_are_split_in_proportion_and_mixed() -> None:
    dataset = open_dataset("digits")
    assert np.bincount(dataset.test.labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    for start in range(0, 1400, 100):
        assert len(set(dataset.train.labels[start : start + 100])) == 10


def test_the_split_of_digits_never_changes() -> None:
    assert open_dataset("digits").fingerprint == "e8b55f8fc67fd60454e19b5d05b48a77"
