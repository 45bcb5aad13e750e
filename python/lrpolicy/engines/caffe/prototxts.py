"""The prototxt files that a run of `caffe` is given: the job's solver and nets, with its data and our own outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrpolicy.engines.base import TrainingJob
from lrpolicy.engines.caffe.served import Part, whole_batches
from lrpolicy.engines.description import Phases
from lrpolicy.errors import InputError
from lrpolicy.net import infer
from lrpolicy.prototxt import files, messages
from lrpolicy.prototxt.text import to_text
from lrpolicy.stateful import AnyPolicy

LOSS, TOP1, TOP5 = "lrpolicy_loss", "lrpolicy_top1", "lrpolicy_top5"
PROBABILITIES = "lrpolicy_probabilities"

# What the files made here say anew.
_REPLACED = (
    *("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param", "train_state", "test_state"),
    *("test_iter", "test_interval", "snapshot", "snapshot_prefix", "snapshot_after_train", "display", "random_seed"),
    *("max_iter", "solver_mode", "device_id"),
)


@dataclass(frozen=True)
class TestNet:
    """The test phase over one split, `batches` minibatches in a pass.

    Where no batch size near the net's own goes into the split without a rest, `rest` examples are counted twice.
    """

    __test__ = False  # no test, whatever pytest thinks of the name

    message: Any
    scores: str
    classes: int
    batches: int
    rest: int

    @classmethod
    def of(cls, phases: Phases, part: Part, class_count: int) -> TestNet:
        """The test phase, reading `part`. Raises InputError for a net that is no classifier or does not fit."""
        own, count = phases.test_data.batch_size, len(part.labels)
        even = whole_batches(count, own)
        for size in (even, own) if 4 * even >= own else (own,):
            message = _served(phases.test_message, part, phases.test_data.layer.name)
            data = next(layer for layer in message.layer if layer.name == phases.test_data.layer.name)
            data.data_param.batch_size = size
            try:
                shapes = infer(message, {data.name: part.shape}, phases.test.where)
            except InputError:
                if size == own:
                    raise
                continue  # a layer is made for the net's own batch size
            break
        scores = phases.scores(shapes, class_count)
        batches = -(-count // size)
        return cls(message, scores.blob, scores.classes, batches, batches * size - count)

    def with_means(self, label: str) -> Any:
        """The net with outputs whose mean over a pass is the loss, the Top-1 and, of more than 5 classes, the Top-5."""
        net = _copy(self.message)
        net.layer.add(name=LOSS, type="SoftmaxWithLoss", bottom=[self.scores, label], top=[LOSS])
        for name, k in ((TOP1, 1), (TOP5, 5)):
            if name in self.outputs:
                accuracy = net.layer.add(name=name, type="Accuracy", bottom=[self.scores, label], top=[name])
                accuracy.accuracy_param.top_k = k
        return net

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs that `with_means` adds."""
        return (LOSS, TOP1, TOP5) if self.classes > 5 else (LOSS, TOP1)

    def with_probabilities(self) -> Any:
        """The net with an output of every probability."""
        net = _copy(self.message)
        net.layer.add(name=PROBABILITIES, type="Softmax", bottom=[self.scores], top=[PROBABILITIES])
        return net


def training_net(phases: Phases, part: Part) -> Any:
    """The training phase, reading `part`."""
    return _served(phases.train_message, part, phases.train_data.layer.name)


def solver_message(job: TrainingJob, policy: AnyPolicy, train_net: Path, **fields: Any) -> Any:
    """The job's solver, as Caffe's SolverParameter, on the net in a file; `fields` replace its own."""
    named = job.solver.with_policy(policy) if policy is not job.solver.policy else job.solver
    message = _copy(named.message)
    for field in _REPLACED:
        message.ClearField(field)
    device, _, number = job.device.partition(":")
    message.solver_mode = {"cpu": 0, "cuda": 1}[device]
    message.device_id = int(number or 0)
    if job.weights is not None or job.resume is not None:
        message.ClearField("weights")
    if job.weights is not None:
        message.weights.append(str(job.weights.absolute()))
    message.train_net, message.random_seed = str(train_net), job.seed
    message.MergeFrom(messages.SolverParameter(**fields))
    return message


def write(path: Path, message: Any) -> Path:
    """Write a message as prototxt; returns the path."""
    files.write_bytes(path, to_text(message).encode())
    return path


def _served(message: Any, part: Part, data_layer: str) -> Any:
    """A filtered net whose data layer reads `part`; the rules that filtered it are not asked again."""
    net = _copy(message)
    for layer in net.layer:
        layer.ClearField("include")
        layer.ClearField("exclude")
        if layer.name == data_layer:
            _serve(layer, part)
    return net


def _serve(layer: Any, part: Part) -> None:
    own = _copy(layer)
    layer.Clear()
    layer.name, layer.type = own.name, "Data"
    layer.top.extend(own.top)
    layer.transform_param.CopyFrom(own.transform_param)
    if part.mean is not None:
        layer.transform_param.mean_file = str(part.mean)
    blocks = [value for _, value in own.ListFields() if hasattr(value, "batch_size")]
    layer.data_param.source, layer.data_param.batch_size = str(part.lmdb), blocks[0].batch_size
    layer.data_param.backend = layer.data_param.LMDB


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
