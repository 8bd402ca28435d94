"""§3: the learned scale and shift can undo the normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from bnrepro.config.randomness import generator
from bnrepro.measurements.layers import normal
from bnrepro.norm import batch_norm_train
from bnrepro.norm.functional import batch_statistics, per_channel, reduced_dims


def measure(epsilon: float, deviations: Sequence[float], examples: int, features: int) -> pd.DataFrame:
    """Distance of BN with γ = √(σ²+ε), β = μ (``paper``) or γ = σ, β = μ (``readers``) from the identity, in float64.

    Columns: ``layer``, ``deviation`` (σ of every feature), ``gamma``, ``error`` (largest difference ÷ largest deviation
    of an input from its feature's mean).
    """
    gen = generator(0, "identity_recoverable")
    shapes = {"linear": (examples, features), "convolution": (examples // 4, features, 8, 8)}
    rows = []
    for layer, shape in shapes.items():
        # Standardised, so that σ is known and equal for all features: the error of the readers' γ can then be derived.
        standard, _, _ = batch_norm_train(normal(gen, *shape), None, None, 1e-300)
        means = 3 * normal(gen, features)
        for deviation in deviations:
            x = deviation * (standard + per_channel(means, standard))
            mean, var = batch_statistics(x)
            largest = (x - per_channel(mean, x)).abs().amax(reduced_dims(x))
            for name, gamma in (("paper", torch.sqrt(var + epsilon)), ("readers", var.sqrt())):
                y, _, _ = batch_norm_train(x, gamma, mean, epsilon)
                error = ((y - x).abs().amax(reduced_dims(x)) / largest).max().item()
                rows.append((layer, deviation, name, error))
    return pd.DataFrame(rows, columns=["layer", "deviation", "gamma", "error"])
