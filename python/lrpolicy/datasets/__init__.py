"""Labelled images for training and testing: built in, from MNIST's, CIFAR-10's and Caffe's files, and split.

`open_dataset` reads what a user names, `open_source` what a net's data layer names; `split_validation` holds
validation examples out of a training set. Packages that only one format needs are imported when it is read.
"""

from lrpolicy.datasets.caffe_lmdb import read_lmdb, write_lmdb
from lrpolicy.datasets.examples import Dataset, Examples
from lrpolicy.datasets.mean import mean_image, mean_values
from lrpolicy.datasets.opening import open_dataset, open_source
from lrpolicy.datasets.split import VALIDATION_FRACTION, split_validation, validation_size

__all__ = [
    "VALIDATION_FRACTION",
    "Dataset",
    "Examples",
    "mean_image",
    "mean_values",
    "open_dataset",
    "open_source",
    "read_lmdb",
    "split_validation",
    "validation_size",
    "write_lmdb",
]
