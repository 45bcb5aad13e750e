"""Ranks the policies for a training function of your own: a small PyTorch net that tells benign tumours from malignant.

The data is the breast cancer set that scikit-learn carries: 569 cases, 30 numbers each.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import lrpolicy
from lrpolicy.database import connect

BATCH = 32
X, Y = (torch.tensor(table) for table in load_breast_cancer(return_X_y=True))
X = ((X - X.mean(0)) / X.std(0)).float()
# 369 cases to train on, 100 to choose a policy with, 100 that only the report sees.
TRAIN, VALIDATION, TEST = torch.randperm(len(X), generator=torch.Generator().manual_seed(0)).split((369, 100, 100))


def train(schedule, trial):
    """One training: update t uses schedule.rate(t), and all randomness comes from trial.seed."""
    torch.manual_seed(trial.seed)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    for t in range(trial.max_iter):
        batch = TRAIN[torch.randint(len(TRAIN), (BATCH,))]
        optimizer.param_groups[0]["lr"] = schedule.rate(t)
        loss = nn.functional.cross_entropy(model(X[batch]), Y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (t + 1) % 25 == 0 or t + 1 == trial.max_iter:
            trial.report(t + 1, loss.item(), split="train")
            trial.report(t + 1, *measured(model, VALIDATION))
            trial.report(t + 1, *measured(model, TEST), split="test")


@torch.no_grad()
def measured(model, cases):
    """The loss and the accuracy on some cases."""
    scores = model(X[cases])
    right = scores.argmax(1) == Y[cases]
    return nn.functional.cross_entropy(scores, Y[cases]).item(), right.float().mean().item()


def main() -> None:
    """Tune, and say what came of it. The database is thrown away; leave `database` out to keep it with all others."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home, connect(home=Path(home)) as database:
        result = lrpolicy.tune(
            train,
            max_iter=300,
            train_size=len(TRAIN),
            batch_size=BATCH,
            class_count=2,
            dataset="breast cancer",
            validation_size=len(VALIDATION),
            test_size=len(TEST),
            optimizer="SGD",
            momentum=0.9,
            budget="15000 iterations",
            database=database,
        )
    print(result)
    best = result.ranking[0]
    print(f"on the test cases: {100 * best.test.top1.mean:.2f} %; iterations spent: {sum(result.iterations.values())}")
    print(f"its first rates: {', '.join(f'{rate:.4g}' for rate in result.best.rates(range(0, 300, 60)))}")


if __name__ == "__main__":
    main()
