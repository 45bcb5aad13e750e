"""Measuring a classifier: the metrics of a whole split, computed where the probabilities are."""

from __future__ import annotations

import torch
from torch import Tensor

from lrpolicy.engines.torch.feed import Feed
from lrpolicy.engines.torch.net import TorchNet
from lrpolicy.metrics import summarize
from lrpolicy.records import Evaluation


@torch.inference_mode()
def evaluate(net: TorchNet, feed: Feed, tops: tuple[str, ...]) -> Evaluation:
    """The metrics of every example of `feed`; `net` gives the scores (n, classes) before the softmax.

    Confidences and ranks are those of `lrpolicy.metrics.rank_labels`; NaN scores make every metric NaN.
    """
    confidences, ranks, classes = [], [], 0
    for images, labels, count in feed.whole():
        scores = net.run(dict(zip(tops, (images, labels), strict=False)))
        confidence, rank = _rank(scores.reshape(len(labels), -1)[:count], labels[:count])
        confidences.append(confidence)
        ranks.append(rank)
        classes = scores.numel() // len(labels)
    certainty, rank_of_label = torch.cat(confidences).double().cpu().numpy(), torch.cat(ranks).cpu().numpy()
    return summarize(certainty, rank_of_label, feed.labels.cpu().numpy(), classes)


def _rank(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    probabilities = torch.softmax(scores, 1)
    own = probabilities.gather(1, labels.unsqueeze(1))
    ranks = (probabilities >= own).sum(1) - 1
    finite = probabilities.sum(1).isfinite()
    return torch.where(finite, own.squeeze(1), torch.nan), ranks
