"""Readers: what the layer does to noise when the samples of a mini-batch hardly differ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.norm import batch_norm_train

COLUMNS = ["epsilon", "deviation", "quantity", "size"]


def measure(
    deviations: Sequence[float],
    epsilons: Sequence[float],
    probe: float,
    noise: float,
    examples: int,
    features: int,
) -> pd.DataFrame:
    """Noise added to the inputs of BN, as it arrives in its outputs; samples lie around 1, ``deviation`` apart.

    Quantities, each a mean over features, in float64: ``gain of noise``, the standard deviation of the change of the
    output ÷ that of the noise, for noise of size ``probe``; ``gain of the gradient``, root mean square of the inputs'
    gradient ÷ that of the outputs'; ``noise in the output``, root mean square change of the output caused by noise of
    size ``noise``, to be read beside the output's own size, which is at most 1.
    """
    gen = generator(0, "similar_samples")

    def draw() -> Tensor:
        """Standard normal, then exactly mean 0 and variance 1 per feature: deviations are what they are called."""
        values = torch.randn(examples, features, dtype=torch.float64, generator=gen)
        return batch_norm_train(values, None, None, 1e-300)[0]

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
