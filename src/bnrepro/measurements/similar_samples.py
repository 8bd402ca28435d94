"""Readers: what the layer does to noise when the examples of a mini-batch hardly differ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.measurements.layers import normal
from bnrepro.norm import batch_norm_train

COLUMNS = ["epsilon", "deviation", "quantity", "size"]


def measure(
    deviations: Sequence[float], epsilons: Sequence[float], probe: float, noise: float, examples: int, features: int
) -> pd.DataFrame:
    """Effect of noise in the inputs of BN on its outputs; the examples lie around 1, ``deviation`` apart.

    Quantities, each a mean over features, in float64: ``gain of noise``, the standard deviation of the change of the
    output ÷ that of the noise, for noise of size ``probe``; ``gain of the gradient``, the root mean square of the
    inputs' gradient ÷ that of the outputs'; ``noise in the output``, the root mean square change of the output under
    noise of size ``noise``, to be compared with the output itself, whose root mean square is at most 1.
    """
    gen = generator(0, "similar_samples")

    def draw() -> Tensor:
        """Normal numbers with mean 0 and variance 1 per feature exactly, so that ``deviation`` is exact too."""
        return batch_norm_train(normal(gen, examples, features), None, None, 1e-300)[0]

    signal, disturbance, dy = draw(), draw(), draw()
    rows = []
    for epsilon in epsilons:

        def layer(x: Tensor, eps: float = epsilon) -> Tensor:
            return batch_norm_train(x, None, None, eps)[0]

        for deviation in deviations:
            x = (1 + deviation * signal).requires_grad_()
            y = layer(x)
            [dx] = torch.autograd.grad(y, x, dy)
            with torch.no_grad():
                gain = ((layer(x + probe * disturbance) - y).std(0, correction=0) / probe).mean()
                passed_on = (layer(x + noise * disturbance) - y).square().mean(0).sqrt().mean()
                backward = (dx.square().mean(0).sqrt() / dy.square().mean(0).sqrt()).mean()
            rows.append((epsilon, deviation, "gain of noise", gain.item()))
            rows.append((epsilon, deviation, "gain of the gradient", backward.item()))
            rows.append((epsilon, deviation, "noise in the output", passed_on.item()))
    return pd.DataFrame(rows, columns=COLUMNS)
