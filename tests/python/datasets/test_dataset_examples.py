"""What holds examples together: shapes, padding, fingerprints, the record for the database, the mean."""

from __future__ import annotations

import numpy as np
import pytest

from lrpolicy.datasets import Dataset, Examples, mean_image, mean_values
from lrpolicy.errors import InputError


@pytest.fixture
def examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    return Examples(images, labels, "x")


def test_padding_is_a_border_of_zeros(examples: Examples) -> None:
    padded = examples.padded(4)
    np.testing.assert_array_equal(padded.images, np.pad(examples.images, ((0, 0), (0, 0), (4, 4), (4, 4))))
    assert padded.shape == (1, 14, 13)
    assert padded.content_shape == examples.shape == (1, 6, 5)
    assert padded.padded(1).padding == 5
    assert examples.padded(0) is examples


def test_the_fingerprint_is_of_the_content_alone(examples: Examples) -> None:
    images, labels = examples.images, examples.labels
    same = Examples(np.asfortranarray(images), labels[::-1].copy()[::-1], "another name")
    assert same.fingerprint == examples.fingerprint == examples.padded(2).fingerprint
    others = [
        Examples(images.astype(np.float32), labels, "x"),
        Examples(images.reshape(30, 1, 5, 6), labels, "x"),
        Examples(images[::-1], labels, "x"),
        Examples(images, (labels + 1) % 10, "x"),
        examples.take(np.arange(29)),
        # The border of a padded set is content where nobody says that it is padding.
        Examples(examples.padded(2).images, labels, "x"),
    ]
    assert len({examples.fingerprint, *(other.fingerprint for other in others)}) == 7


def test_one_changed_pixel_anywhere_changes_the_fingerprint() -> None:
    images = np.zeros((5000, 1, 2, 2), np.uint8)
    before = Examples(images.copy(), np.zeros(5000, np.int64), "x").fingerprint
    images[4999, 0, 1, 1] = 1
    assert Examples(images, np.zeros(5000, np.int64), "x").fingerprint != before


def test_take_keeps_the_order_asked_for(examples: Examples) -> None:
    taken = examples.padded(1).take(np.array([3, 0]))
    assert taken.labels.tolist() == [3, 0]
    assert taken.padding == 1
    np.testing.assert_array_equal(taken.images[:, :, 1:-1, 1:-1], examples.images[[3, 0]])


def test_the_record_counts_the_parts_and_leaves_padding_out(examples: Examples) -> None:
    dataset = Dataset("name", examples.padded(4), examples.take(np.arange(12)), class_count=10)
    info = dataset.info(validation_size=6)
    assert (info.train_size, info.validation_size, info.test_size) == (24, 6, 12)
    assert (info.channels, info.height, info.width) == (1, 6, 5)
    assert (info.name, info.class_count, info.fingerprint) == ("name", 10, dataset.fingerprint)
    assert dataset.fingerprint == Dataset("other", examples, examples.take(np.arange(12)), class_count=10).fingerprint
    assert dataset.fingerprint != Dataset("name", examples, examples, class_count=10).fingerprint


def test_the_class_count_comes_from_the_training_set(examples: Examples) -> None:
    assert Dataset.of("name", examples, examples).class_count == 10


@pytest.mark.parametrize(
    ("images", "labels", "padding", "message"),
    [
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int64), 0, r"x: images must be .*, got uint8 \(2, 3, 3\)"),
        (np.zeros((2, 1, 3, 3)), np.zeros(2, np.int64), 0, "images must be uint8 or float32 .*, got float64"),
        (np.zeros((2, 1, 3, 3), np.uint8), np.zeros(3, np.int64), 0, r"one for each image, got int64 \(3,\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2, np.int32), 0, "labels must be int64 .*, got int32"),
        (np.zeros((0, 1, 3, 3), np.uint8), np.zeros(0, np.int64), 0, "must not be empty"),
        (np.zeros((2, 1, 0, 3), np.uint8), np.zeros(2, np.int64), 0, "must not be empty"),
        (np.zeros((2, 1, 8, 3), np.uint8), np.zeros(2, np.int64), 2, "a padding of 2 does not fit"),
        (np.zeros((2, 1, 3, 3), np.uint8), np.array([0, -3]), 0, "x: example 1: a label must be 0 or more, got -3"),
    ],
)
def test_wrong_arrays_are_refused(images: np.ndarray, labels: np.ndarray, padding: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Examples(images, labels, "x", padding)


def test_both_sets_have_one_shape(examples: Examples) -> None:
    with pytest.raises(InputError, match=r"training images' shape \(1, 6, 5\), got \(1, 8, 7\)"):
        Dataset("name", examples, Examples(examples.padded(1).images, examples.labels, "test"), class_count=10)


def test_the_mean_is_numpys() -> None:
    images = np.random.default_rng(6).integers(0, 256, (700, 3, 4, 5), dtype=np.uint8)
    examples = Examples(images, np.zeros(700, np.int64), "x")
    np.testing.assert_array_equal(mean_image(examples), images.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(mean_values(examples), images.mean(axis=(0, 2, 3)), rtol=1e-7)
    assert mean_image(examples).dtype == mean_values(examples).dtype == np.float32
    floats = Examples(images.astype(np.float32), examples.labels, "x")
    np.testing.assert_array_equal(mean_image(floats), mean_image(examples))


def test_the_mean_is_caffes_float32_running_sum() -> None:
    images = np.random.default_rng(7).integers(0, 256, (3000, 1, 2, 2), dtype=np.uint8)
    total = np.zeros((1, 2, 2), np.float32)
    for image in images:
        total += image
    expected = total / np.float32(3000)
    np.testing.assert_array_equal(mean_image(Examples(images, np.zeros(3000, np.int64), "x")), expected)
