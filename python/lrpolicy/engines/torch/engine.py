"""The torch engine: a TrainingJob in, measurements and an outcome out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from lrpolicy.engines.base import Observer, TrainingJob
from lrpolicy.engines.description import LoadedData, Phases, load_data
from lrpolicy.engines.torch.data import transform_of
from lrpolicy.engines.torch.feed import Feed
from lrpolicy.engines.torch.layers import StepRandom
from lrpolicy.engines.torch.net import Definition, TorchNet, Weights
from lrpolicy.engines.torch.optimizers import Optimizer
from lrpolicy.engines.torch.scalars import Scalars
from lrpolicy.engines.torch.snapshots import Snapshots
from lrpolicy.engines.torch.trainer import LossRecord, Trainer
from lrpolicy.engines.torch.updater import Updater
from lrpolicy.engines.torch.windows import Windows
from lrpolicy.errors import InputError
from lrpolicy.live import LiveSchedule, LiveTlr, live
from lrpolicy.monitor import ScheduleMonitor
from lrpolicy.net import Shape, fingerprint, weight_count
from lrpolicy.prototxt.files import check_folder
from lrpolicy.records import NetworkInfo, Split, Task, TrialOutcome
from lrpolicy.schedules import Schedule
from lrpolicy.stateful import AdaptivePolicy


class TorchEngine:
    """Trains Caffe solvers with PyTorch, on a CPU or a CUDA device, with Caffe's meaning.

    Snapshots are written only for jobs with a `snapshot_prefix`: every `snapshot` iterations as the solver says, when
    the observer stops the training, and (snapshot_after_train) at the end.

    `dtype` is the type of weights, data and rates: float32, or float64 to compare with Caffe's double precision.
    """

    name = "torch"

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self._loaded: tuple[Any, _Data] | None = None

    def describe(self, job: TrainingJob) -> Task:
        """The task of a job. Raises InputError where files or shapes do not fit."""
        nets = _Nets.of(job.solver)
        data = self._data(job, nets)
        definition = nets.train_definition(data.examples)
        network = NetworkInfo(nets.train.name, fingerprint(nets.train), weight_count(definition.parameters))
        return Task(self.name, network, data.examples.info)

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        """Train a job. Raises InputError for wrong input and RunError for a failure."""
        if job.threads is not None:
            torch.set_num_threads(job.threads)
        return self.trainer(job, observer).run()

    def trainer(self, job: TrainingJob, observer: Observer) -> Trainer:
        """A job made ready: data read, nets built, weights filled or loaded. Raises InputError for wrong input."""
        device = _device(job.device)
        self._check_snapshots(job)
        nets = _Nets.of(job.solver)
        data = self._data(job, nets)
        train, test = nets.train_definition(data.examples), nets.test_definition(data.examples)
        nets.check_weights(train.parameters, test.parameters)
        scores = nets.scores(test.shapes, data.examples.info.class_count).blob
        weights, random = Weights(train, job.seed, device, self._dtype), StepRandom(job.seed, device)
        message = job.solver.message
        schedule = _schedule(job, nets, data.examples, weights)
        alive = schedule if isinstance(schedule, LiveSchedule) else None
        scalars = Scalars.of(self._dtype)
        per_tensor = alive is not None and alive.per_tensor
        optimizer = Optimizer(job.solver, weights.learned, scalars=scalars, per_tensor=per_tensor)
        net = TorchNet(train, weights, random, training=True)
        updater = Updater(net, data.train, nets.train_data.tops, optimizer, random, message.iter_size)
        if isinstance(alive, LiveTlr):
            updater.windows = Windows(alive, weights.learned, scalars, message.iter_size, updater.gradients)
        if device.type == "cuda":
            updater.graph(weights.learned)
        losses = LossRecord(message.average_loss, comparable=nets.other_loss is None)
        snapshots = Snapshots(job, nets.train_message, weights, optimizer, alive, updater.windows)
        start = _start(job, snapshots, losses)
        if updater.windows is not None and job.resume is None:
            updater.windows.begin()
        data.train.seed(job.seed)
        if job.snapshot_prefix is not None:
            check_folder(job.snapshot_prefix)
        return Trainer(
            updater=updater,
            weights=weights,
            scorer=TorchNet(test, weights, random, training=False, wanted=scores),
            scorer_tops=nets.test_data.tops,
            selection=data.validation or data.test,
            selection_split=Split.VALIDATION if data.validation else Split.TEST,
            test=data.test,
            monitor=_monitor(job, schedule, start, scalars),
            observer=observer,
            losses=losses,
            seconds=start.seconds,
            save=snapshots.save if job.snapshot_prefix is not None else None,
            save_at_end=message.snapshot_after_train,
            on_device=device.type != "cpu",
        )

    def _check_snapshots(self, job: TrainingJob) -> None:
        if self._dtype != torch.float32 and (job.snapshot_prefix is not None or job.resume is not None):
            rule = "snapshots hold float32 numbers, which a training in another type cannot go on from"
            raise InputError(rule, got=self._dtype, remedy="leave snapshot_prefix and resume out")

    def _data(self, job: TrainingJob, nets: _Nets) -> _Data:
        """The job's data, kept from the last job where it is the same."""
        layers = tuple(data.layer.SerializeToString() for data in (nets.train_data, nets.test_data))
        key = (job.data, job.protocol, job.device, nets.train.path, nets.test.path, layers)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # free the old data before the new is read
            self._loaded = key, _Data.of(nets, job, self._dtype)
        return self._loaded[1]


class _Nets(Phases):
    """The two phases of a job's net."""

    def train_definition(self, data: LoadedData) -> Definition:
        shapes: dict[str, Shape] = {self.train_data.layer.name: data.train.shape}
        return Definition.of(self.train, self.train_message, shapes)

    def test_definition(self, data: LoadedData) -> Definition:
        shapes: dict[str, Shape] = {self.test_data.layer.name: data.test.shape}
        return Definition.of(self.test, self.test_message, shapes)


@dataclass(frozen=True)
class _Data:
    """The examples of a job, and the feeds that serve them on its device."""

    examples: LoadedData
    train: Feed
    validation: Feed | None
    test: Feed

    @classmethod
    def of(cls, nets: _Nets, job: TrainingJob, dtype: torch.dtype) -> _Data:
        device = _device(job.device)
        examples = load_data(nets.train_data, nets.test_data, job.data, job.protocol)
        feeds = {}
        for split, layer, part in (
            (Split.TRAIN, nets.train_data, examples.train),
            (Split.VALIDATION, nets.test_data, examples.validation),
            (Split.TEST, nets.test_data, examples.test),
        ):
            if part is not None:
                transform = transform_of(layer, examples.train, part, job.data, dtype)
                training = split is Split.TRAIN
                feeds[split] = Feed.of(part, transform, layer.batch_size, device, training=training)
        return cls(examples, feeds[Split.TRAIN], feeds.get(Split.VALIDATION), feeds[Split.TEST])


class _Start(NamedTuple):
    """The updates done, the seconds they took, and whether Caffe did them."""

    iteration: int = 0
    seconds: float = 0.0
    by_caffe: bool = False


def _start(job: TrainingJob, snapshots: Snapshots, losses: LossRecord) -> _Start:
    """Load weights, or resume."""
    if job.weights is not None and job.resume is not None:
        raise InputError("weights and resume exclude each other", remedy="a snapshot to resume has its own weights")
    for path in job.weight_files:
        snapshots.load_weights(path)
    if job.resume is None:
        return _Start()
    resumed = snapshots.resume(job.resume)
    losses.restore(resumed.progress)
    return _Start(resumed.iteration, resumed.progress.seconds, resumed.by_caffe)


def _schedule(job: TrainingJob, nets: _Nets, data: LoadedData, weights: Weights) -> Schedule | LiveSchedule[Any]:
    """What the job's policy does in this training: itself, or set to work on the net's weights and the data's epoch."""
    policy = job.schedule or job.solver.policy
    if not isinstance(policy, AdaptivePolicy):
        return policy
    examples = nets.train_data.batch_size * job.solver.message.iter_size
    return live(policy, math.ceil(len(data.train) / examples), [weight.lr_mult for weight in weights.learned])


def _monitor(
    job: TrainingJob, schedule: Schedule | LiveSchedule[Any], start: _Start, scalars: Scalars
) -> ScheduleMonitor:
    message = job.solver.message
    interval = job.test_interval if job.test_interval is not None else message.test_interval
    max_iter = job.max_iter if job.max_iter is not None else message.max_iter
    if start.iteration >= max_iter:
        rule = f"nothing is left to train up to max_iter ({max_iter})"
        got, remedy = f"a snapshot of iteration {start.iteration}", "give a larger max_iter (--max-iter)"
        raise InputError(rule, where=str(job.resume), got=got, remedy=remedy)
    return ScheduleMonitor(
        schedule,
        max_iter,
        test_interval=interval,
        display=message.display,
        snapshot=message.snapshot if job.snapshot_prefix is not None else 0,
        start=start.iteration,
        test_initialization=message.test_initialization and interval > 0,
        untested=start.by_caffe and isinstance(schedule, LiveSchedule),
        precision=scalars.round,
    )


def _device(name: str) -> torch.device:
    """The PyTorch device of a name like cpu, cuda or cuda:1. Raises InputError where it is none or not there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f'device "{name}" is unknown', remedy="take cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f'device "{name}" is not there', got=f"{torch.cuda.device_count()} CUDA devices", remedy="take cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise InputError("the torch engine runs on cpu or cuda", got=name)
    return device
