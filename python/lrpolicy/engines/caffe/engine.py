"""The caffe engine: a TrainingJob in, runs of the patched binary, measurements and an outcome out."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrpolicy.caffemodel import SolverState, read_state
from lrpolicy.engines.base import Observer, TrainingJob
from lrpolicy.engines.caffe import prototxts
from lrpolicy.engines.caffe.binary import Binary
from lrpolicy.engines.caffe.evaluation import measure
from lrpolicy.engines.caffe.process import CaffeProcess
from lrpolicy.engines.caffe.prototxts import TestNet
from lrpolicy.engines.caffe.served import Part, Served
from lrpolicy.engines.caffe.snapshots import Snapshots, check_fit, check_policy, check_weights
from lrpolicy.engines.caffe.training import Due, Training
from lrpolicy.engines.description import DataSource, Phases, describe_network, load_data
from lrpolicy.engines.identity import RENAME, weights_of
from lrpolicy.errors import InputError, RunError, did_you_mean
from lrpolicy.net import Parameter, infer, parameters
from lrpolicy.policies import Policy
from lrpolicy.prototxt.files import check_folder, check_name
from lrpolicy.prototxt.messages import enum_name
from lrpolicy.records import Evaluation, Measurement, Split, Task, TrialOutcome, TrialStatus
from lrpolicy.stateful import AdaptivePolicy, AnyPolicy

# Bytes: less is free where Caffe could not write a file to its end, and says no more than that.
_LITTLE = 1 << 20


class CaffeEngine:
    """Trains jobs with the patched `caffe` binary.

    Test passes while it trains are Caffe's own: they give loss, Top-1 and Top-5 in the six digits of its log, and NaN
    for the metrics of confidence. The best weights are measured again at the end, with every probability.

    Raises NotAvailableError where there is no patched binary.
    """

    name = "caffe"

    def __init__(self) -> None:
        self._binary = Binary.find()
        self._folder: Path | None = None
        self._served: tuple[Any, Served] | None = None

    def describe(self, job: TrainingJob) -> Task:
        """The task of a job. Raises InputError where files or shapes do not fit."""
        phases = Phases.of(job.solver)
        data = load_data(phases.train_data, phases.test_data, job.data, job.protocol)
        shapes = {phases.train_data.layer.name: data.train.shape}
        return Task(self.name, describe_network(phases.train, phases.train_message, shapes), data.info)

    def train(self, job: TrainingJob, observer: Observer) -> TrialOutcome:
        """Train a job. Raises InputError for wrong input and RunError where Caffe fails or is killed."""
        policy = _policy(job, self._binary)
        state, phases = _start(job, policy), Phases.of(job.solver)
        start = 0 if state is None else state.iter
        run = Path(tempfile.mkdtemp(dir=self._home()))
        try:
            served = self._serve(job, phases, start)
            policy = _with_epoch(
                policy, len(served.train.labels), phases.train_data.batch_size * job.solver.message.iter_size
            )
            blobs = _blobs(phases.train_data, phases.train_message, served.train)
            phases.check_weights(blobs, _blobs(phases.test_data, phases.test_message, served.test))
            if job.resume is not None and state is not None:
                learned = [blob for index, blob in enumerate(blobs) if blob.owner == index]
                check_fit(job.resume, state, job.solver.solver_type, policy, learned)
            for path in job.weight_files:
                check_weights(path, phases.train_message, blobs, RENAME)
            for path in _resumed_weights(job, state):
                check_weights(path, phases.train_message, blobs)
            return _Run(self._binary.path, job, policy, phases, served, state, run).train(observer)
        except RunError as error:
            if shutil.disk_usage(run).free >= _LITTLE:
                raise
            raise RunError(f"{error}; {run.parent} has no room left: set TMPDIR to a folder that has") from error
        finally:
            shutil.rmtree(run, ignore_errors=True)

    def _home(self) -> Path:
        """A folder for LMDBs and runs, removed with the engine."""
        if self._folder is None:
            check_name(Path(tempfile.gettempdir()))
            self._folder = Path(tempfile.mkdtemp(prefix="lrpolicy-caffe-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _serve(self, job: TrainingJob, phases: Phases, start: int) -> Served:
        """The job's data, kept from the last job where it is the same."""
        layers = tuple(data.layer.SerializeToString() for data in (phases.train_data, phases.test_data))
        done = start * job.solver.message.iter_size
        key = (job.data, job.protocol, phases.train.path, phases.test.path, layers, done)
        if self._served is None or self._served[0] != key:
            self._served = None
            folder = Path(tempfile.mkdtemp(dir=self._home()))
            self._served = key, Served.of(job, phases, folder, done)
        return self._served[1]


@dataclass(frozen=True)
class _Run:
    """One training, with `folder` for its files."""

    binary: Path
    job: TrainingJob
    policy: AnyPolicy
    phases: Phases
    served: Served
    state: SolverState | None
    folder: Path

    def train(self, observer: Observer) -> TrialOutcome:
        job, message = self.job, self.job.solver.message
        selection = self._test_net(self.served.selection)
        interval = message.test_interval if job.test_interval is None else job.test_interval
        if interval and selection.rest:
            observer.noted(
                f"no batch near the net's own divides the {len(self.served.selection.labels)} examples of the "
                f"{self.served.selection_split} split: while training, {selection.rest} of them count twice"
            )
        training = self._training(selection, observer)
        solver = self._solver(selection, interval, training)
        arguments = ["train", f"--solver={solver}"]
        if job.resume is not None and self.state is not None:
            (weights,) = _resumed_weights(job, self.state)
            arguments.append(f"--snapshot={training.snapshots.moved(job.resume, self.state, weights)}")
        with CaffeProcess(self.binary, arguments, job.threads) as process:
            training.follow(process)
        return self._outcome(training, selection, interval, observer)

    def _training(self, selection: TestNet, observer: Observer) -> Training:
        job, message = self.job, self.job.solver.message
        hdf5 = enum_name(message, "snapshot_format") == "HDF5"
        return Training(
            Due(
                0 if self.state is None else self.state.iter,
                _max_iter(job),
                message.display,
                message.snapshot,
                message.snapshot_after_train,
            ),
            self.served.selection_split,
            selection.outputs,
            len(self.served.selection.labels),
            1 if self._shows_smoothed_losses else message.average_loss,
            self.phases.other_loss is None,
            Snapshots(self.folder, ".h5" if hdf5 else "", job.snapshot_prefix),
            observer,
        )

    @property
    def _shows_smoothed_losses(self) -> bool:
        """Whether Caffe's log must show losses smoothed: where the policy may hear them."""
        return isinstance(self.policy, AdaptivePolicy)

    def _solver(self, selection: TestNet, interval: int, training: Training) -> Path:
        """The solver's file, which has Caffe log every loss, and save whatever may be the best weights."""
        message = self.job.solver.message
        net = prototxts.training_net(self.phases, self.served.train)
        train_net = prototxts.write(self.folder / "train.prototxt", net)
        fields: dict[str, Any] = {"snapshot": math.gcd(interval, message.snapshot if self.job.snapshot_prefix else 0)}
        if interval:
            label = self.phases.test_data.layer.top[1]
            test_net = prototxts.write(self.folder / "test.prototxt", selection.with_means(label))
            fields |= {"test_net": [str(test_net)], "test_iter": [selection.batches], "test_interval": interval}
        solver = prototxts.solver_message(
            self.job, self.policy, train_net, max_iter=_max_iter(self.job), display=1, **fields,
            snapshot_prefix=str(training.snapshots.stem), snapshot_after_train=True,
        )  # fmt: skip
        if not self._shows_smoothed_losses:
            solver.average_loss = 1
        return prototxts.write(self.folder / "solver.prototxt", solver)

    def _outcome(self, training: Training, selection: TestNet, interval: int, observer: Observer) -> TrialOutcome:
        """Measure the last weights where no test pass did, and the best ones with all metrics."""
        status, message = training.status, training.message
        if status is TrialStatus.INTERRUPTED:
            return TrialOutcome(status, training.iterations, training.seconds, training.best, message=message)
        best = training.best
        last = training.iterations
        if status is not TrialStatus.DIVERGED and training.done and (not interval or last % interval):
            found = self._measure(selection, self.served.selection, training.snapshots.weights(last))
            if not math.isfinite(found.loss):
                status, message = TrialStatus.DIVERGED, f"the scores are not finite after {last} iterations"
            else:
                measurement = Measurement(
                    last, self.served.selection_split, training.rate, training.train_loss, found, training.seconds
                )
                observer.measured(measurement)
                if best is None or found.top1 > best.evaluation.top1:
                    best = measurement
        if best is None:
            return TrialOutcome(status, last, training.seconds, message=message)
        best, test = self._measure_best(best, selection, training.snapshots, observer)
        return TrialOutcome(status, last, training.seconds, best, test, message)

    def _measure_best(
        self, best: Measurement, selection: TestNet, snapshots: Snapshots, observer: Observer
    ) -> tuple[Measurement, Measurement]:
        weights = snapshots.weights(best.iteration)
        if best.iteration == 0:
            self._save_first_weights(snapshots)
        best = replace(best, evaluation=self._measure(selection, self.served.selection, weights))
        if self.served.selection_split is Split.TEST:
            return best, best
        found = self._measure(self._test_net(self.served.test), self.served.test, weights)
        test = replace(best, split=Split.TEST, evaluation=found)
        observer.measured(test)
        return best, test

    def _save_first_weights(self, snapshots: Snapshots) -> None:
        """Caffe saves none before the first update, but the same seed fills the same weights again."""
        solver = prototxts.solver_message(
            self.job,
            Policy("fixed", base_lr=1.0),
            self.folder / "train.prototxt",
            max_iter=0,
            snapshot_prefix=str(snapshots.stem),
        )
        path = prototxts.write(self.folder / "first.prototxt", solver)
        with CaffeProcess(self.binary, ["train", f"--solver={path}"], self.job.threads) as process:
            for _ in process.lines():
                pass
            if failure := process.failure():
                raise RunError(f"saving the first weights: {failure}")

    def _measure(self, net: TestNet, part: Part, weights: Path) -> Evaluation:
        return measure(self.binary, self.job, net, part, weights)

    def _test_net(self, part: Part) -> TestNet:
        return TestNet.of(self.phases, part, self.served.info.class_count)


def _policy(job: TrainingJob, binary: Binary) -> AnyPolicy:
    """The job's policy. Raises InputError where a solver has no name for it, or the binary does not know it."""
    policy = job.schedule or job.solver.policy
    if not isinstance(policy, Policy | AdaptivePolicy):
        rule = "the caffe engine trains with policies that a solver prototxt can name"
        raise InputError(rule, got=f"a {type(policy).__name__}", remedy="take another, or --engine torch")
    if policy.name not in binary.policies:
        rule = f'the caffe binary {binary.path} does not know lr_policy "{policy.name}"'
        raise InputError(rule, remedy=did_you_mean(policy.name, binary.policies))
    return policy


def _with_epoch(policy: AnyPolicy, examples: int, batch: int) -> AnyPolicy:
    """The policy, told the iterations of an epoch where Caffe needs them and the user left them to be counted."""
    if not isinstance(policy, AdaptivePolicy) or policy.name != "tlr" or "epoch" in policy.parameters:
        return policy
    parameters: dict[str, Any] = policy.parameters
    return AdaptivePolicy(policy.name, **parameters, epoch=math.ceil(examples / batch))


def _blobs(source: DataSource, message: Any, part: Part) -> list[Parameter]:
    """The parameter blobs of a phase; those of TRAIN that own their memory are what Caffe's solver learns."""
    where = source.net.where
    return parameters(message, infer(message, {source.layer.name: part.shape}, where), where)


def _start(job: TrainingJob, policy: AnyPolicy) -> SolverState | None:
    """The snapshot to resume, if any. Raises InputError for options that Caffe or this machine would not take."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", job.device):
        raise InputError(f'device "{job.device}" is unknown', remedy="take cpu, cuda or cuda:N")
    if job.weights is not None and job.resume is not None:
        raise InputError("weights and resume exclude each other", remedy="a snapshot to resume has its own weights")
    if job.snapshot_prefix is not None:
        check_folder(job.snapshot_prefix)
    if job.resume is None:
        return None
    state, end = read_state(job.resume), _max_iter(job)
    check_policy(job.resume, state, policy)
    if state.iter >= end:
        rule = f"nothing is left to train up to max_iter ({end})"
        got, remedy = f"a snapshot of iteration {state.iter}", "give a larger max_iter (--max-iter)"
        raise InputError(rule, where=str(job.resume), got=got, remedy=remedy)
    return state


def _resumed_weights(job: TrainingJob, state: SolverState | None) -> list[Path]:
    """The weights of the snapshot to resume, if any."""
    return [] if job.resume is None or state is None else [weights_of(job.resume, state.learned_net)]


def _max_iter(job: TrainingJob) -> int:
    return int(job.solver.message.max_iter if job.max_iter is None else job.max_iter)
