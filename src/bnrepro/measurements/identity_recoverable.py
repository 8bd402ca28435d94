"""§3: the learned scale and shift can undo the normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.measurements.kernels import KERNELS, normalise
from bnrepro.measurements.layers import normal


def measure(epsilon: float, deviations: Sequence[float], examples: int, features: int) -> pd.DataFrame:
    """Distance of BN with γ = √(σ²+ε), β = μ (``paper``) or γ = σ, β = μ (``readers``) from the identity, in float64.

    μ and σ² are NumPy's, not those that the layer normalises by: with the layer's own, any two constants in their place
    would be undone as well.

    Columns: ``kernel`` (``from scratch``, ``library``), ``layer``, ``deviation`` (σ of every feature), ``gamma``,
    ``error`` (largest difference ÷ largest deviation of an input from its feature's mean).
    """
    gen = generator(0, "identity_recoverable")
    shapes = {"linear": (examples, features), "convolution": (examples // 4, features, 8, 8)}
    rows = []
    for layer, shape in shapes.items():
        values = normal(gen, *shape).numpy()
        # Standardised, so that σ is known and equal for all features: the error of the readers' γ can then be derived.
        mean, variance = _statistics(values)
        standard = (values - mean) / np.sqrt(variance)
        means = _broadcast(3 * normal(gen, features).numpy(), values)
        for deviation in deviations:
            x = deviation * (standard + means)
            mean, variance = _statistics(x)
            largest = np.abs(x - mean).max(_positions(x), keepdims=True)
            for name, gamma in (("paper", np.sqrt(variance + epsilon)), ("readers", np.sqrt(variance))):
                for kernel in KERNELS:
                    y = normalise(kernel, torch.from_numpy(x), epsilon, (_flat(gamma), _flat(mean))).numpy()
                    rows.append((kernel, layer, deviation, name, (np.abs(y - x) / largest).max()))
    return pd.DataFrame(rows, columns=["kernel", "layer", "deviation", "gamma", "error"])


def _positions(x: np.ndarray) -> tuple[int, ...]:
    """The axes that a feature's statistics are taken over: all but the second."""
    return (0, *range(2, x.ndim))


def _statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of every feature, of a shape that broadcasts against ``x``."""
    return x.mean(_positions(x), keepdims=True), x.var(_positions(x), keepdims=True)


def _broadcast(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def _flat(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.reshape(-1))
