"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels that need no download.

The data comes from UCI's "Optical Recognition of Handwritten Digits" (its test part), pixel values 0..16. It has no
split of its own. Ours is fixed: one shuffle of all, then 360 examples in proportion to the classes for the test set;
the other 1,437 train, in shuffled order, so that neighbours in the order are of mixed classes and writers.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from lrpolicy.datasets.examples import Examples
from lrpolicy.datasets.located import Located
from lrpolicy.datasets.split import shuffled_order, stratified_choice
from lrpolicy.errors import NotAvailableError
from lrpolicy.records import Split

NAME = "digits"
TEST_SIZE = 360
_SHUFFLE_SEED = 1797
_SPLIT_SEED = 360


def find() -> Located:
    """The built-in data set; it is read from scikit-learn's installation when a part is asked for."""
    return Located(NAME, {split: partial(_part, split) for split in (Split.TRAIN, Split.TEST)}, class_count=10)


def _part(split: Split) -> Examples:
    examples = _shuffled()
    is_test = stratified_choice(examples.labels, TEST_SIZE, _SPLIT_SEED)
    return examples.take(np.flatnonzero(is_test == (split is Split.TEST)), f"{NAME} ({split})")


@cache
def _shuffled() -> Examples:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = 'the data set "digits" comes with scikit-learn, which is not installed: pip install "lrpolicy[data]"'
        raise NotAvailableError(message) from error
    bunch = load_digits()
    order = shuffled_order(len(bunch.target), _SHUFFLE_SEED)
    return Examples(bunch.images.astype(np.uint8)[order, None], bunch.target.astype(np.int64)[order], NAME)
