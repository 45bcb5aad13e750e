"""The LR policy evaluator (LRBench paper, section IV): finds the range, tries candidates, measures the best again."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import InitVar, dataclass, field
from functools import partial

from lrpolicy.database import Database, Setting, StoredTrial
from lrpolicy.engines.base import TrainingJob
from lrpolicy.errors import InputError
from lrpolicy.evaluator.budget import Speed
from lrpolicy.evaluator.halving import (
    Candidate,
    Climbed,
    NotPromoted,
    climbed,
    finalists,
    in_turn,
    leaders_first,
    not_promoted,
    turns,
)
from lrpolicy.evaluator.optuna_search import asked_and_told, new_study
from lrpolicy.evaluator.plan import (
    Layout,
    Plan,
    Rung,
    after_search,
    expected,
    lay_out,
    paid_for,
    scan_iterations,
)
from lrpolicy.evaluator.stages import Stages, StageStarted
from lrpolicy.executors.base import Event, Executor
from lrpolicy.policies import Policy
from lrpolicy.range_test.fix_scan import Unlearned, coarse_rates, finer_rates, fix_range, learned_top1
from lrpolicy.ranking import RankedPolicy, Result, rank
from lrpolicy.records import Measurement, Protocol, Split, Task, TrialStatus
from lrpolicy.search import RateRange, SearchSpace, observes_tests
from lrpolicy.stateful import AnyPolicy, policy_from_dict


@dataclass(frozen=True)
class Planned:
    """Search and finals are laid out: what follows, in numbers."""

    layout: Layout


Step = StageStarted | Planned | Event
Steps = Generator[Step, None, None]
Search = Generator[Step, None, list[Climbed]]


@dataclass
class Evaluator:
    """One tuning run: its job (the solver, net and data all trials share), its plan, where it runs and is stored.

    `setting` is what the trials are stored under; by default it is read from the job's solver. `places` is how many
    trials run at a time. After `evaluate`, `not_promoted` lists the functions that have no place in the ranking.
    """

    job: TrainingJob
    task: Task
    plan: Plan
    executor: Executor
    database: Database
    run: int
    engine: str = "torch"
    setting: InitVar[Setting | None] = None
    places: int = 1
    not_promoted: list[NotPromoted] = field(default_factory=list, init=False)

    def __post_init__(self, setting: Setting | None) -> None:
        found = setting or setting_of(self.job)
        self._stages = Stages(self.job, found, self.executor, self.database, self.run, self.engine)
        self.iterations_per_epoch = iterations_per_epoch(self.task, found)

    def evaluate(self) -> Steps:
        """Run the stages; yields what happens. What an earlier run finished is read, not repeated.

        Raises InputError, before anything trains, where the budget is too small.
        """
        expected(self.plan, self.iterations_per_epoch)
        found = self.plan.range
        if found is None:
            found = yield from self._scan()
        space = self._space(found, self.plan.max_iter)
        layout = yield from self._lay_out(found)
        search = self._ask_optuna if self.plan.search == "optuna" else self._halve
        rungs = yield from search(found, layout)
        chosen = yield from self._train_finalists(rungs, space, layout)
        self.not_promoted = not_promoted(rungs, self.plan.functions, chosen)

    def ranking(self, stage: str = "final", max_iter: int | None = None) -> list[RankedPolicy]:
        """The ranked table of a stage (of its trials of this length), read from the database."""
        return rank(map(self._result, self._stages.results(stage, max_iter)), self.plan.goal)

    def measurements(self, stage: str = "final") -> dict[AnyPolicy, list[Measurement]]:
        """What the first finished trial of each policy measured on the split that steers, in order of iteration."""
        found: dict[AnyPolicy, list[Measurement]] = {}
        for trial in self._stages.results(stage):
            policy = policy_from_dict(trial.spec.policy)
            if trial.status is TrialStatus.COMPLETED and policy not in found:
                found[policy] = self._measured(trial.id)
        return found

    def spent(self) -> dict[str, int]:
        """Stage -> the iterations of its trials, as far as they are done."""
        spent: dict[str, int] = {}
        for trial in self.database.trials(run=self.run):
            if trial.outcome is not None:
                spent[trial.spec.stage] = spent.get(trial.spec.stage, 0) + trial.outcome.iterations
        return spent

    def _halve(self, found: RateRange, layout: Layout) -> Search:
        rungs = [(yield from self._enter(found, layout.rungs[0]))]
        for rung in layout.rungs[1:]:
            goes_on = rungs[-1].order[: rung.candidates]
            yield from self._train_rung(found, goes_on, rung.iterations)
            rungs.append(self._judged(found, goes_on, rung.iterations))
        return rungs

    def _enter(self, found: RateRange, rung: Rung) -> Generator[Step, None, Climbed]:
        """The first rung: all candidates where they fit, else turn by turn, the leaders' first."""
        all_turns = turns(self._space(found, self.plan.max_iter), self.plan.functions, self.plan.candidates)
        if sum(map(len, all_turns)) <= rung.candidates:
            all_turns = [[candidate for turn in all_turns for candidate in turn]]
        entered: list[Candidate] = []
        order: Sequence[Candidate] = ()
        for turn in all_turns:
            entered += leaders_first(turn, order)[: rung.candidates - len(entered)]
            yield from self._train_rung(found, entered, rung.iterations)
            reached = self._judged(found, entered, rung.iterations)
            order = reached.order
            if len(entered) == rung.candidates:
                break
        return reached

    def _ask_optuna(self, found: RateRange, layout: Layout) -> Search:
        lengths = [rung.iterations for rung in layout.rungs]
        name = f"lrpolicy run {self.run}"
        candidates = self._candidates(found)
        train, judge = partial(self._train_rung, found), partial(self._judged, found)
        with new_study(self.database, name, candidates, lengths, self.plan.first_seed) as study:
            return (yield from asked_and_told(study, layout.rungs, self.places, train, judge))

    def _candidates(self, found: RateRange) -> list[Candidate]:
        """Every candidate of the plan, the first of each function first."""
        return in_turn(self._space(found, self.plan.max_iter), self.plan.functions, self.plan.candidates)

    def _train_rung(self, found: RateRange, candidates: Sequence[Candidate], length: int) -> Steps:
        """Train candidates, fitted to the rung's length, with the seed that all of the search share."""
        policies = self._fitted(candidates, self._space(found, length))
        yield from self._train("search", list(policies.values()), [self.plan.first_seed], length)

    def _judged(self, found: RateRange, candidates: Sequence[Candidate], length: int) -> Climbed:
        """How the candidates did at this length, beside one another alone: what entered later changes nothing."""
        policies = self._fitted(candidates, self._space(found, length))
        results = self._results_of("search", policies.values(), length)
        ranking = rank(map(self._result, results), self.plan.goal)
        return climbed(length, policies, ranking, self.plan, _cost(results))

    def _train_finalists(
        self, rungs: Sequence[Climbed], space: SearchSpace, layout: Layout
    ) -> Generator[Step, None, list[Candidate]]:
        """The finals; where finalists diverge early, the next ones train for what is left. Returns all of them."""
        searched = sum(rung.cost for rung in rungs)
        layout = after_search(self.plan, layout, searched)
        seeds = [self.plan.first_seed + 1 + extra for extra in range(layout.seeds)]
        trained: dict[Candidate, AnyPolicy] = {}
        saved = 0
        while new := self._fitted(finalists(rungs, paid_for(layout, searched - saved))[len(trained) :], space):
            yield from self._train("final", list(new.values()), seeds, self.plan.max_iter)
            trained |= new
            results = self._results_of("final", trained.values())
            saved = len(results) * self.plan.max_iter - _cost(results)
        return list(trained)

    def _scan(self) -> Generator[Step, None, RateRange]:
        reached = yield from self._try_rates(coarse_rates())
        if not all(map(math.isnan, reached.values())):
            reached |= yield from self._try_rates(finer_rates(reached))
        seen = (m for trial in self._stages.results("range") for m in self._measured(trial.id))
        classes = self.task.dataset.class_count
        return fix_range(reached, classes, Unlearned.of(seen, classes, self._split_size))

    def _try_rates(self, rates: Iterable[float]) -> Generator[Step, None, dict[float, float]]:
        """Rate -> best Top-1 of its range trial after its first update, NaN where it diverged; failed are left out."""
        exact = self._exact(Policy("fixed", base_lr=rate) for rate in rates)
        policies = [policy for policy in exact if isinstance(policy, Policy)]
        length = scan_iterations(self.plan, self.iterations_per_epoch)
        yield from self._train("range", policies, [self.plan.first_seed], length)
        trials = {policy_from_dict(trial.spec.policy): trial for trial in self._stages.results("range")}
        return {
            policy.rate(0): math.nan if trial.status is TrialStatus.DIVERGED else learned_top1(self._measured(trial.id))
            for policy in policies
            if (trial := trials.get(policy)) is not None
        }

    def _lay_out(self, found: RateRange) -> Generator[Step, None, Layout]:
        """Divide what is left of the budget; time needs the speed first, taken from stored trials, so that a resumed
        run comes to the same numbers.
        """
        budget, epoch = self.plan.budget, self.iterations_per_epoch
        if budget is None:
            layout = lay_out(self.plan, epoch)
        else:
            if budget.needs_speed and self.plan.range is not None:
                yield from self._first_trial(found)
            speed = Speed(epoch, self._speed() if budget.needs_speed else math.nan)
            layout = lay_out(self.plan, epoch, budget.iterations(speed) - _cost(self._stages.results("range")))
        yield Planned(layout)
        return layout

    def _first_trial(self, found: RateRange) -> Steps:
        """The first trial of the search, ahead of the others: without a range stage it is what shows the speed."""
        length = lay_out(self.plan, self.iterations_per_epoch).rungs[0].iterations
        space = self._space(found, length)
        first = self._exact([space.candidate(self.plan.functions[0], 0)])
        yield from self._train("search", first, [self.plan.first_seed], length)

    def _speed(self) -> float:
        """Iterations per second of all workers together."""
        trials = self._stages.results("range") or self._stages.results("search")[:1]
        outcomes = [trial.outcome for trial in trials if trial.outcome is not None]
        seconds = sum(outcome.seconds for outcome in outcomes)
        if not seconds:
            raise InputError("the speed could not be measured", remedy="give the budget in iterations or epochs")
        return self.places * sum(outcome.iterations for outcome in outcomes) / seconds

    def _train(self, name: str, policies: Sequence[AnyPolicy], seeds: Sequence[int], length: int) -> Steps:
        interval = self.job.test_interval or self.job.solver.message.test_interval
        # When a target is reached must be seen in short trials too, and a policy that observes test passes must have as
        # many of them. All trials of a length share an interval: the best of more measurements is better by chance.
        if self.plan.goal.target is not None or any(map(observes_tests, self.plan.functions)):
            interval = min(interval, max(1, interval * length // self.plan.max_iter))
        yield from self._stages.train(name, list(dict.fromkeys(policies)), seeds, length, interval)

    def _space(self, found: RateRange, max_iter: int) -> SearchSpace:
        return SearchSpace(found, max_iter, self.iterations_per_epoch)

    def _fitted(self, candidates: Iterable[Candidate], space: SearchSpace) -> dict[Candidate, AnyPolicy]:
        return {candidate: self._exact([candidate.policy(space)])[0] for candidate in candidates}

    def _exact(self, policies: Iterable[AnyPolicy]) -> list[AnyPolicy]:
        """The policies as a prototxt holds them: float32 fields, so that what was tried is what can be written."""
        return [self.job.solver.with_policy(policy).policy for policy in policies]

    def _results_of(self, stage: str, policies: Iterable[AnyPolicy], max_iter: int | None = None) -> list[StoredTrial]:
        among = set(policies)
        return [t for t in self._stages.results(stage, max_iter) if policy_from_dict(t.spec.policy) in among]

    def _result(self, trial: StoredTrial) -> Result:
        assert trial.outcome is not None
        needed = self.plan.goal.target is not None
        return Result(trial.spec, trial.outcome, self._measured(trial.id) if needed else ())

    def _measured(self, trial: int) -> list[Measurement]:
        split = Split.TEST if self.job.protocol is Protocol.PAPER else Split.VALIDATION
        return [m for m in self.database.measurements(trial) if m.split is split]

    @property
    def _split_size(self) -> int:
        """How many examples the split that steers has; 0 where that is not known."""
        dataset = self.task.dataset
        return dataset.test_size if self.job.protocol is Protocol.PAPER else dataset.validation_size


def _cost(trials: Iterable[StoredTrial]) -> int:
    """The iterations that the trials took."""
    return sum(trial.outcome.iterations for trial in trials if trial.outcome is not None)


def iterations_per_epoch(task: Task, setting: Setting) -> int:
    """The updates that see the training data once; at least 1."""
    return max(1, math.ceil(task.dataset.train_size / setting.batch_size))


def setting_of(job: TrainingJob) -> Setting:
    """How the trials of a job train, as its solver says. Raises InputError where its net cannot be read."""
    message = job.solver.message
    return Setting(
        max_iter=job.max_iter or message.max_iter,
        batch_size=job.solver.batch_size * int(message.iter_size),
        optimizer=job.solver.solver_type,
        momentum=message.momentum,
        weight_decay=message.weight_decay,
    )
