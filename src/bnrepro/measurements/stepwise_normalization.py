"""§2: one bias, one mini-batch, and a gradient that includes the statistics or treats them as constants."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.measurements.layers import normal
from bnrepro.norm import ReferenceBatchNorm
from bnrepro.norm.pitfalls import DetachedStatistics

Transform = Callable[[Tensor], Tensor]


def measure(
    epsilon: float, updates: int, every: int, learning_rate: float, examples: int, features: int
) -> pd.DataFrame:
    """Gradient descent on b alone, with x = u + b transformed into logits, on one fixed mini-batch, in float64.

    Transforms: ``none``; ``mean outside``, the example of §2, x − E[x] with E[x] treated as a constant; ``mean and
    variance outside``, the same with the whole normalisation; ``inside``, BN, differentiated through its statistics.

    Columns: ``transform``; ``update``; ``b``, its Euclidean norm; ``growth``, the smallest increase of this norm by one
    update since the previous row; ``gradient``, the norm of the gradient of b; ``loss``; ``change``, the largest
    |relative change| of the loss from its first value since the previous row.
    """
    gen = generator(0, "stepwise_normalization")
    u = normal(gen, examples, features)
    # A bias can learn the unequal sizes of the classes, so its gradient does not vanish by accident.
    shares = torch.arange(1, features + 1, dtype=torch.float64)
    labels = torch.multinomial(shares, examples, replacement=True, generator=gen)
    transforms: dict[str, Transform] = {
        "none": lambda x: x,
        "mean outside": lambda x: x - x.detach().mean(0),
        "mean and variance outside": DetachedStatistics(features, epsilon).double(),
        "inside": ReferenceBatchNorm(features, epsilon).double(),
    }
    rows = []
    for name, transform in transforms.items():
        b = torch.zeros(features, dtype=torch.float64, requires_grad=True)
        first, norm, growth, change = math.nan, 0.0, math.inf, 0.0
        for update in range(updates + 1):
            loss = F.cross_entropy(transform(u + b), labels)
            [gradient] = torch.autograd.grad(loss, b)
            if update == 0:
                first = loss.item()
            before, norm = norm, b.norm().item()
            growth = min(growth, norm - before) if update else growth
            change = max(change, abs(loss.item() - first) / first)
            if update % every == 0:
                smallest = growth if update else 0.0
                rows.append((name, update, norm, smallest, gradient.norm().item(), loss.item(), change))
                growth, change = math.inf, 0.0
            with torch.no_grad():
                b -= learning_rate * gradient
    return pd.DataFrame(rows, columns=["transform", "update", "b", "growth", "gradient", "loss", "change"])
