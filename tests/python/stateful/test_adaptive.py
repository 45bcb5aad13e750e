"""Adaptive policies by name: the table, typed parameters, what is made of them, what they refuse."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from lrpolicy.errors import InputError
from lrpolicy.policies import ADAPTIVE_PARAMETERS, ADAPTIVE_POLICIES, POLICIES, Policy, canonical_name
from lrpolicy.solver import Solver
from lrpolicy.stateful import AdaptivePolicy, Aslr, DecaySequence, Plateau, Tlr, parse_policy, policy_from_dict, preview
from lrpolicy.stateful.decay import SEQUENCES, STRATEGIES
from lrpolicy.stateful.tlr import SOURCES, VARIANTS

EVERY = [
    AdaptivePolicy("tlr", base_lr=0.5, variant="newton", window=0.5, per_tensor=True, epoch=12, max_lr=2.0),
    AdaptivePolicy("aslr", base_lr=0.5, seed=2**64 - 1),
    *(AdaptivePolicy(name, base_lr=0.5, strategy="by_cutoff", min_lr=0.25) for name in SEQUENCES),
    AdaptivePolicy("plateau", base_lr=0.5, gamma=0.25, plateau_winsize=[3, 4]),
]


def test_the_table_names_what_the_machines_know() -> None:
    assert {policy.name for policy in EVERY} == set(ADAPTIVE_POLICIES)
    assert not set(ADAPTIVE_POLICIES) & set(POLICIES)
    used = {field for info in ADAPTIVE_POLICIES.values() for field in (*info.parameters, *info.optional)}
    assert used == set(ADAPTIVE_PARAMETERS)
    rules = {"variant": VARIANTS, "source": SOURCES, "strategy": STRATEGIES}
    for field, names in rules.items():
        assert all(name in ADAPTIVE_PARAMETERS[field].rule for name in names)
        assert ADAPTIVE_PARAMETERS[field].default in names
    for name, (formula, _) in SEQUENCES.items():
        assert formula.replace("1/", "").strip("()")[-4:] in ADAPTIVE_POLICIES[name].formula
    defaults = AdaptivePolicy("tlr", base_lr=0.1).schedule()
    for field in ("variant", "source", "bound", "min_lr", "divergence"):
        assert str(getattr(defaults, field)) == str(type(getattr(defaults, field))(ADAPTIVE_PARAMETERS[field].default))
    assert canonical_name("TLR")[0] == "tlr"


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_a_policy_is_a_value(policy: AdaptivePolicy) -> None:
    for again in (policy_from_dict(json.loads(json.dumps(policy.to_dict()))), pickle.loads(pickle.dumps(policy))):
        assert again == policy and hash(again) == hash(policy)
    assert parse_policy(policy.to_text()) == AdaptivePolicy.parse(policy.to_text()) == policy
    other = AdaptivePolicy.from_dict(policy.to_dict() | {"base_lr": 0.75})
    assert other != policy and str(policy).startswith(f"AdaptivePolicy('{policy.name}', base_lr=0.5")
    assert policy != Policy("fixed", base_lr=0.5)


def test_a_text_names_a_policy_of_either_kind() -> None:
    assert parse_policy("fixed:base_lr=0.5") == Policy("fixed", base_lr=0.5)
    assert parse_policy("TLR:base_lr=0.5,per_tensor=true") == AdaptivePolicy("tlr", base_lr=0.5, per_tensor=True)
    with pytest.raises(InputError, match=r"^seq1:base_lr=0: base_lr must be .* above 0"):
        parse_policy("seq1:base_lr=0")
    with pytest.raises(InputError, match=r'^fixed:base_lr=1: "fixed" is a function of the iteration; make a Policy'):
        AdaptivePolicy.parse("fixed:base_lr=1")


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: policy.name)
def test_a_solver_holds_every_parameter(policy: AdaptivePolicy) -> None:
    solver = Solver.parse('net: "n" max_iter: 9 test_interval: 3 lr_policy: "step" base_lr: 1 gamma: 2 stepsize: 3')
    written = solver.with_policy(policy)
    again = Solver.parse(written.to_text())
    assert again.policy == policy and again.message == written.message and again.notes == ()
    back = again.with_policy(solver.policy)
    assert not back.message.HasField("lr_policy_param") and back.policy == solver.policy


def test_what_a_training_makes_of_them() -> None:
    tlr, aslr, seq1, *_, plateau = (policy.schedule(99, (1.0, 0.0, 2.0)) for policy in EVERY)
    assert isinstance(tlr, Tlr) and (tlr.window_updates, tlr.lr_mult, tlr.source) == (6, (1, 0, 2), "displacement")
    assert isinstance(aslr, Aslr) and aslr.seed == 2**64 - 1
    assert isinstance(seq1, DecaySequence) and (seq1.sequence, seq1.strategy) == ("seq1", "by_cutoff")
    assert isinstance(plateau, Plateau) and plateau.plateau_winsize == (3, 4)
    counted = AdaptivePolicy("tlr", base_lr=0.5).schedule(99)
    assert isinstance(counted, Tlr) and counted.window_updates == 33


def test_numbers_are_counted_and_names_are_not() -> None:
    assert [policy.parameter_count for policy in EVERY] == [4, 2, 2, 2, 2, 2, 4]


def test_a_prototxts_third_of_an_epoch_is_a_third() -> None:
    field = "lr_policy_param { window: 0.33333334 epoch: 999999 }"
    policy = Solver.parse(f'net: "n" max_iter: 9 base_lr: 1 lr_policy: "tlr" {field}').policy
    assert isinstance(policy, AdaptivePolicy)
    schedule = policy.schedule()
    assert isinstance(schedule, Tlr) and schedule.window_updates == 333333


def test_both_kinds_take_the_same_names_and_lists() -> None:
    """Whoever makes a policy of a dict, a table or a command line need not know which kind it is."""
    for name in ("TLR", "tlr"):
        assert policy_from_dict({"lr_policy": name, "base_lr": 0.1}) == AdaptivePolicy(name="tlr", base_lr=0.1)
    assert policy_from_dict({"lr_policy": "FIX", "base_lr": 0.1}) == Policy(name="fixed", base_lr=0.1)
    with pytest.raises(InputError, match="a policy needs lr_policy"):
        policy_from_dict({"base_lr": 0.1})
    wins = np.array([5, 6])
    plateau = AdaptivePolicy("plateau", base_lr=0.1, gamma=0.5, plateau_winsize=wins)
    assert plateau.parameters["plateau_winsize"] == (5, 6) == Plateau(0.1, 0.5, wins).plateau_winsize
    assert plateau == AdaptivePolicy.parse(plateau.to_text())


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("tri2", {}, '"tri2" is a function of the iteration; make a Policy of it'),
        ("seq9", {}, 'lr_policy "seq9" is unknown; known: aslr, cos'),
        (7, {}, "a policy's name is a text, got 7"),
        ("tlr", {}, 'policy "tlr" needs base_lr (the rate to start from; above 0)'),
        ("tlr", {"base_lr": 1, "gama": 1}, 'policy "tlr" has no parameter "gama"; known: base_lr, bound'),
        ("tlr", {"base_lr": 1, "per_tensor": 1}, "per_tensor must be true or false, got 1"),
        ("tlr", {"base_lr": 1, "variant": 1}, "variant must be one of efficient, naive"),
        ("tlr", {"base_lr": 1, "epoch": 0}, "epoch must be a whole number from 1 to"),
        (
            "tlr",
            {"base_lr": 1, "variant": "naive", "eta": 1},
            'variant "naive" compares two gradients of one batch, and',
        ),
        ("aslr", {"base_lr": 1, "seed": 2**64}, "seed must be a whole number from 0 to 18446744073709551615"),
        ("plateau", {"base_lr": 1, "gamma": 0.5, "plateau_winsize": "77"}, "plateau_winsize must be a whole number"),
        ("plateau", {"base_lr": 1, "gamma": 0.5, "plateau_winsize": []}, "plateau_winsize must name at least one"),
    ],
)
def test_what_is_refused(name: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        AdaptivePolicy(name, **values)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_a_policy_is_not_made_of_an_adaptive_one() -> None:
    with pytest.raises(InputError, match='"seq3" observes the training: its rates are no function of the iteration'):
        Policy("seq3", base_lr=0.1)


def test_a_preview_is_what_the_states_give() -> None:
    policy = AdaptivePolicy("seq4", base_lr=1.0)
    schedule, shown = policy.schedule(), preview(policy, 7)
    assert isinstance(schedule, DecaySequence)
    state, expected = schedule.init(), []
    for t in range(200):
        if t and t % 7 == 0:
            state = schedule.update(state, 1.0)
        expected.append(schedule.rate(state))
    assert shown.rates(range(200)).tolist() == expected == [shown.rate(t) for t in range(200)]
    assert shown.rates(np.arange(6).reshape(2, 3)).shape == (2, 3)
    with pytest.raises(InputError, match="test_interval, the updates of an epoch, must be 1 or more"):
        preview(policy, 0)
    for wrong in (-1, 0.5):
        for ask in (shown.rate, lambda t: shown.rates([t])):
            with pytest.raises(InputError, match=r"iterations? (is a|are) whole number"):
                ask(wrong)  # type: ignore[arg-type]
