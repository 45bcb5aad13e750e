"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels that need no download.

The data comes from UCI's "Optical Recognition of Handwritten Digits" (its test part), pixel values 0..16. It has no
split of its own. Ours is fixed: one shuffle of all, then 360 examples in proportion to the classes for the test set;
the other 1,437 train, in shuffled order, so that neighbours in the order are of mixed classes and writers.
"""

from __future__ import annotations

import importlib.util
from functools import cache, partial
from pathlib import Path

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
    # One line an image: 64 pixels and the label. Importing scikit-learn to read it would take a second.
    table = np.loadtxt(_file(), delimiter=",").astype(np.int64)
    table = table[shuffled_order(len(table), _SHUFFLE_SEED)]
    return Examples(table[:, :-1].reshape(-1, 1, 8, 8).astype(np.uint8), np.ascontiguousarray(table[:, -1]), NAME)


def _file() -> Path:
    spec = importlib.util.find_spec("sklearn")
    for place in [] if spec is None else spec.submodule_search_locations or []:
        path = Path(place, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return path
    message = 'the data set "digits" comes with scikit-learn, which is not installed: pip install "lrpolicy[data]"'
    raise NotAvailableError(message)
