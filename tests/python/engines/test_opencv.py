"""OpenCV's reader of Caffe nets, a second oracle for inference: our .caffemodel gives our probabilities there too."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from engine_support import Recorder

from lrpolicy import zoo
from lrpolicy.datasets import Examples, open_dataset, write_lmdb
from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.torch import TorchEngine
from lrpolicy.solver import read

INPUT = 'name: "deploy"\ninput: "data"\ninput_shape { dim: 100 dim: 1 dim: 28 dim: 28 }\n'
OUTPUT = 'layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }\n'


def enlarged(examples: Examples) -> Examples:
    """Digits of 8 x 8 pixels in MNIST's form: 28 x 28, 0 .. 255."""
    images = np.kron(examples.images * 15, np.ones((1, 1, 3, 3), np.uint8))
    return Examples(np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))), examples.labels, "large")


def deploy_text() -> str:
    """LeNet's layers between data and loss, by its own file."""
    text = (zoo.solver_path("mnist-lenet").parent / "mnist_lenet_train_test.prototxt").read_text()
    layers = ["layer" + part for part in text.split("\nlayer")[1:]]
    kept = [layer for layer in layers if '"label"' not in layer]
    assert len(kept) == 7, kept
    return INPUT + "\n".join(kept) + "\n" + OUTPUT


def test_opencv_reads_our_caffemodel(tmp_path: Path) -> None:
    data = open_dataset("digits")
    write_lmdb(tmp_path / "mnist_train_lmdb", enlarged(data.train))
    write_lmdb(tmp_path / "mnist_test_lmdb", enlarged(data.test))
    job = TrainingJob(
        read(zoo.solver_path("mnist-lenet")), data=tmp_path, max_iter=40, snapshot_prefix=tmp_path / "lenet", threads=1
    )
    trainer = TorchEngine().trainer(job, Recorder())
    trainer.run()
    trainer = TorchEngine().trainer(
        TrainingJob(job.solver, data=tmp_path, weights=tmp_path / "lenet_iter_40.caffemodel"), Recorder()
    )
    images = enlarged(data.test).images[:100].astype(np.float32) / 256
    with torch.inference_mode():
        scores = trainer.scorer.run({"data": torch.from_numpy(images), "label": torch.zeros(100, dtype=torch.int64)})
    ours = torch.softmax(scores.reshape(100, -1), 1).numpy()

    (tmp_path / "deploy.prototxt").write_text(deploy_text())
    net = cv2.dnn.readNetFromCaffe(str(tmp_path / "deploy.prototxt"), str(tmp_path / "lenet_iter_40.caffemodel"))
    net.setInput(images)
    theirs = net.forward().reshape(100, -1)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert np.ptp(theirs, axis=0).max() > 0.5, "the net has learned nothing, so nothing is compared"
