"""Which examples a batch holds, and what the transform makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrpolicy.datasets import Examples
from lrpolicy.engines.torch.feed import Feed, Transform

CPU = torch.device("cpu")


def numbered(count: int = 7, side: int = 4) -> Examples:
    """Images whose pixels are all different within an image; labels count the images."""
    images = np.arange(count * 2 * side * side).reshape(count, 2, side, side) % 251
    return Examples(images.astype(np.uint8), np.arange(count), "numbered")


def feed(transform: Transform, batch: int = 3, *, training: bool = True, count: int = 7) -> Feed:
    return Feed.of(numbered(count), transform, batch, CPU, training=training)


def test_batches_follow_the_order_of_the_data_round_and_round() -> None:
    labels = [feed(Transform()).batch(step)[1].tolist() for step in range(4)]
    assert labels == [[0, 1, 2], [3, 4, 5], [6, 0, 1], [2, 3, 4]]
    assert feed(Transform(), 10, count=4).batch(0)[1].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_whole_gives_every_example_once_in_full_batches() -> None:
    parts = [(labels.tolist(), new) for _, labels, new in feed(Transform(), training=False).whole()]
    assert parts == [([0, 1, 2], 3), ([3, 4, 5], 3), ([6, 0, 1], 1)]


def test_the_mean_is_subtracted_before_scaling() -> None:
    mean = torch.rand(2, 4, 4)
    images, _ = feed(Transform(mean, 0.5)).batch(0)
    wanted = (numbered().images[:3].astype(np.float32) - mean.numpy()) * 0.5
    np.testing.assert_allclose(images, wanted, rtol=1e-6)
    assert images.dtype == torch.float32


def test_a_test_crop_lies_in_the_middle() -> None:
    images, _ = feed(Transform(crop_size=2), training=False).batch(0)
    assert np.array_equal(images, numbered().images[:3, :, 1:3, 1:3])


@pytest.mark.parametrize("mirror", [False, True])
def test_training_crops_and_mirrors_are_windows_of_the_normalized_image(mirror: bool) -> None:
    mean = torch.arange(32.0).view(2, 4, 4) / 7
    made = feed(Transform(mean, 2.0, crop_size=3, mirror=mirror), 7)
    whole = (numbered().images - mean.numpy()) * 2.0
    seen = set()
    for step in range(30):
        for image, original in zip(made.batch(step)[0].numpy(), whole, strict=True):
            windows = {
                (top, left, flip): original[:, top : top + 3, left : left + 3][:, :, :: -1 if flip else 1]
                for top in (0, 1)
                for left in (0, 1)
                for flip in (False, True)
            }
            seen.add(next(key for key, window in windows.items() if np.allclose(window, image)))
    assert len(seen) == (8 if mirror else 4)
    assert any(flip for _, _, flip in seen) == mirror


def test_randomness_is_a_function_of_seed_and_step() -> None:
    made = feed(Transform(crop_size=2, mirror=True), 7)
    made.seed(1)
    first, other = made.batch(0)[0].clone(), made.batch(1)[0].clone()
    assert torch.equal(made.batch(0)[0], first)
    assert not torch.equal(first, other)
    made.seed(2)
    assert not torch.equal(made.batch(0)[0], first)


def test_large_data_stays_bytes_until_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = Transform(torch.rand(2, 4, 4), 0.5, crop_size=2)
    ready = feed(transform, training=False).batch(2)[0]
    monkeypatch.setattr("lrpolicy.engines.torch.feed._LARGEST_KEPT", 0)
    assert torch.equal(feed(transform, training=False).batch(2)[0], ready)
