"""The metrics against scikit-learn, against numpy on hand cases, and against the bugs of earlier implementations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

from lrpolicy.errors import InputError
from lrpolicy.metrics import Evaluator, evaluate, iterations_at_best, loss_difference, rank_labels, summarize

EVEN = [0.25, 0.25, 0.25, 0.25]


def softmax(seed: int, count: int, classes: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = np.exp(2 * generator.standard_normal((count, classes)))
    return (scores / scores.sum(axis=1, keepdims=True)).astype(dtype), generator.integers(0, classes, count)


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (500, 6), (2000, 10), (300, 1000)])
def test_accuracies_and_loss_equal_scikit_learn(count: int, classes: int) -> None:
    probabilities, labels = softmax(count, count, classes)
    names = range(classes)
    evaluation = evaluate(probabilities, labels)
    assert evaluation.top1 == accuracy_score(labels, probabilities.argmax(axis=1))
    assert evaluation.loss == pytest.approx(log_loss(labels, probabilities, labels=names), rel=1e-13)
    if classes > 5:
        assert evaluation.top5 == top_k_accuracy_score(labels, probabilities, k=5, labels=names)
    assert evaluation.example_count == count


def test_confidences_equal_numpy_on_the_correctly_classified() -> None:
    probabilities, labels = softmax(3, 4000, 7)
    correct = probabilities.argmax(axis=1) == labels
    certain = probabilities[np.arange(4000), labels][correct]
    by_class = [certain[labels[correct] == name].mean() for name in range(7)]
    evaluation = evaluate(probabilities, labels)
    assert evaluation.average_confidence == pytest.approx(np.mean(certain), rel=1e-14)
    assert evaluation.confidence_deviation == pytest.approx(np.std(certain), rel=1e-14)
    assert evaluation.confidence_deviation_across_classes == pytest.approx(np.std(by_class), rel=1e-13)
    assert evaluation.classes_without_hit == 0


def test_a_case_by_hand() -> None:
    # Hits: 0.5 and 0.75 in class 0, 0.5 in class 2; class 1 is missed, class 3 never occurs.
    probabilities = [
        [0.5, 0.25, 0.25, 0.0],
        [0.75, 0.125, 0.125, 0],
        [0.25, 0.25, 0.5, 0],
        [0.5, 0.25, 0.125, 0.125],
    ]
    evaluation = evaluate(np.array(probabilities, np.float32), [0, 0, 2, 1])
    assert evaluation.top1 == 0.75
    assert evaluation.average_confidence == pytest.approx(1.75 / 3)
    assert evaluation.confidence_deviation == pytest.approx(math.sqrt(1 / 72))
    assert evaluation.confidence_deviation_across_classes == pytest.approx(0.0625)
    assert evaluation.classes_without_hit == 2
    assert evaluation.loss == pytest.approx(-(math.log(0.5) * 2 + math.log(0.75) + math.log(0.25)) / 4)


def test_cdac_leaves_absent_classes_out_instead_of_counting_them_as_zero() -> None:
    evaluation = evaluate(np.array([[0.8, 0.1, 0.1], [0.8, 0.2, 0.0]]), [0, 0])
    assert evaluation.confidence_deviation_across_classes == 0
    assert evaluation.classes_without_hit == 2


def test_loss_difference_is_test_minus_train() -> None:
    assert loss_difference(test_loss=0.75, train_loss=0.25) == 0.5


def test_ties_count_against_the_label() -> None:
    assert evaluate(np.array([EVEN]), [0]).top1 == 0
    ranks = rank_labels(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.5, 0.3, 0.2]]), [1, 0, 1])[1]
    assert ranks.tolist() == [1, 2, 1]


@pytest.mark.parametrize("classes", [1, 2, 4, 5])
def test_top5_of_at_most_five_classes_is_one(classes: int) -> None:
    assert evaluate(np.full((3, classes), 1 / classes), [0, 0, classes - 1]).top5 == 1


def test_no_hit_at_all_has_no_confidence() -> None:
    evaluation = evaluate(np.array([[0.9, 0.1]]), [1])
    assert math.isnan(evaluation.average_confidence)
    assert math.isnan(evaluation.confidence_deviation)
    assert math.isnan(evaluation.confidence_deviation_across_classes)
    assert evaluation.top1 == 0
    assert evaluation.classes_without_hit == 2


def test_the_loss_of_an_impossible_label_is_caffes_largest() -> None:
    assert evaluate(np.array([[1.0, 0.0]], np.float32), [1]).loss == pytest.approx(87.3365, abs=1e-4)


def test_a_loss_given_replaces_the_cross_entropy() -> None:
    assert evaluate(np.array([[0.5, 0.5]]), [0], loss=2.5).loss == 2.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_diverged_net_has_no_metrics(value: float, dtype: type) -> None:
    probabilities = np.array([[0.75, 0.25], [0.5, value]], dtype)
    evaluation = evaluate(probabilities, [0, 0])
    numbers = dataclasses.asdict(evaluation)
    assert numbers.pop("classes_without_hit") == 2
    assert numbers.pop("example_count") == 2
    assert all(math.isnan(number) for number in numbers.values())


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 299), max_size=6), dtype=st.sampled_from([np.float32, np.float64]))
def test_batches_give_the_same_bits_as_one_call(cuts: list[int], dtype: type) -> None:
    probabilities, labels = softmax(5, 300, 12, dtype)
    evaluator = Evaluator()
    for rows, names in zip(np.split(probabilities, sorted(cuts)), np.split(labels, sorted(cuts)), strict=True):
        if len(names):
            evaluator.update(rows, names)
    assert evaluator.result() == evaluate(probabilities, labels)


def test_the_evaluator_keeps_no_reference_to_a_batch_that_the_caller_reuses() -> None:
    probabilities, labels = softmax(7, 50, 4)
    expected = evaluate(probabilities, labels)
    evaluator = Evaluator()
    evaluator.update(probabilities, labels)
    probabilities[:], labels[:] = 0.25, 0
    assert evaluator.result() == expected


def test_summarize_is_the_second_half_of_evaluate() -> None:
    probabilities, labels = softmax(11, 200, 9)
    confidences, ranks = rank_labels(probabilities, labels)
    assert summarize(confidences, ranks, labels, class_count=9) == evaluate(probabilities, labels)


def test_iterations_at_best_takes_the_first_on_ties() -> None:
    assert iterations_at_best([100, 200, 300, 400], [0.5, 0.9, 0.9, math.nan]) == 200
    assert iterations_at_best([100], [0.0]) == 100


@pytest.mark.parametrize(("iterations", "top1"), [([], []), ([1, 2], [0.5]), ([1], [math.nan])])
def test_iterations_at_best_refuses_nothing_to_choose_from(iterations: list[int], top1: list[float]) -> None:
    with pytest.raises(InputError):
        iterations_at_best(iterations, top1)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.array([EVEN, EVEN]), [0, 4], r"example 1: labels must lie in 0..3, got 4"),
        (np.array([EVEN]), [-1], "example 0: labels must lie in 0..3, got -1"),
        (np.array([EVEN]), [0, 1], r"labels must be integers of shape \(1,\), got int64 \(2,\)"),
        (np.array([EVEN]), [0.0], "labels must be integers"),
        (np.array(EVEN), [0], r"probabilities must be floats of shape \(n, classes\), got float64 \(4,\)"),
        (np.array([[1, 0]]), [0], "probabilities must be floats"),
        (np.zeros((0, 4)), np.zeros(0, int), "at least one example, got 0"),
        (np.array([EVEN, [3.5, -1.0, 0.0, 2.0]]), [0, 0], "example 1: probabilities must sum to 1, got 4.5; apply"),
        (np.array([EVEN, [1.5, -0.5, 0, 0]]), [0, 0], "example 1: probabilities must not be below 0, got -0.5; apply"),
    ],
)
def test_wrong_input_is_named(probabilities: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(probabilities, labels)


def test_an_example_far_down_is_named_by_its_own_number() -> None:
    probabilities = np.full((400, 1000), 1e-3)
    probabilities[321] = 1
    with pytest.raises(InputError, match="example 321: probabilities must sum to 1, got 1000"):
        evaluate(probabilities, np.zeros(400, int))


def test_batches_must_agree_and_count_on() -> None:
    evaluator = Evaluator()
    with pytest.raises(InputError, match="at least one example"):
        evaluator.result()
    evaluator.update(np.array([EVEN, EVEN]), [0, 1])
    with pytest.raises(InputError, match="every batch must have 4 classes, got 2"):
        evaluator.update(np.array([[0.5, 0.5]]), [0])
    with pytest.raises(InputError, match=r"example 3: labels must lie in 0\.\.3, got 9"):
        evaluator.update(np.array([EVEN, EVEN]), [0, 9])
    assert evaluator.result().example_count == 2
