"""Algorithm 1: mean and variance of every feature after the layer, beside the readers' whole-tensor form."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from bnrepro.config.randomness import generator
from bnrepro.measurements.kernels import KERNELS
from bnrepro.measurements.layers import normal
from bnrepro.norm.functional import reduced_dims
from bnrepro.norm.pitfalls import WholeTensorNorm, WholeTensorNormNoEps

COLUMNS = ["case", "layer", "feature", "input_mean", "input_variance", "mean", "variance", "variance_error", "std",
           "finite"]  # fmt: skip


def measure(epsilon: float, examples: int, features: int, variances: Sequence[float]) -> pd.DataFrame:
    """Statistics of the outputs feature by feature, and of the whole output (``feature`` = ``all``), in float64.

    Layers: ``per feature``, ``from scratch`` and by the ``library``; ``whole tensor``, with and without an ε. Cases:
    ``linear`` (N, C); ``convolution`` (N, C, 8, 8); ``constant`` (every value the same); ``3x10``, the readers'
    example.

    Columns: ``mean``, ``variance`` (biased) and ``std`` (with Bessel's factor, torch's default) of the output;
    ``variance_error``, the difference of the variance from σ²/(σ²+ε); ``finite``, the share of finite outputs.
    """
    gen = generator(0, "normalized_activations")
    means = torch.linspace(-5, 5, features, dtype=torch.float64)
    low, high = (torch.tensor(value, dtype=torch.float64).log10().item() for value in variances)
    # Shuffled, so that a feature's variance does not follow its mean.
    spread = torch.logspace(low, high, features, dtype=torch.float64)[torch.randperm(features, generator=gen)].sqrt()

    def draw(*shape: int) -> Tensor:
        view = (1, -1, *(1,) * (len(shape) - 2))
        return means.view(view) + spread.view(view) * normal(gen, *shape)

    cases = {
        "linear": draw(examples, features),
        "convolution": draw(examples // 16, features, 8, 8),
        "constant": torch.full((examples, features), 2.5, dtype=torch.float64),
        "3x10": normal(gen, 3, 10),
    }
    rows = []
    for case, x in cases.items():
        width = x.shape[1]
        layers: dict[str, nn.Module] = {
            **{f"per feature, {name}": kernel(width, epsilon, affine=False) for name, kernel in KERNELS.items()},
            "whole tensor": WholeTensorNorm(width, epsilon),
            "whole tensor, no ε": WholeTensorNormNoEps(width),
        }
        for name, layer in layers.items():
            y = layer.double()(x).detach()
            rows += [(case, name, *row) for row in _statistics(x, y, epsilon)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _statistics(x: Tensor, y: Tensor, epsilon: float) -> list[tuple[object, ...]]:
    """A row for every feature, and one for the whole tensor."""
    dims = reduced_dims(x)
    found = []
    in_mean, in_var = x.mean(dims), x.var(dims, correction=0)
    mean, var = y.mean(dims), y.var(dims, correction=0)
    error, std = var - in_var / (in_var + epsilon), y.std(dims)
    finite = y.isfinite().double()
    for k, values in enumerate(torch.stack((in_mean, in_var, mean, var, error, std, finite.mean(dims)), 1).tolist()):
        found.append((str(k), *values))
    whole = (x.mean(), x.var(correction=0), y.mean(), y.var(correction=0), None, y.std(), finite.mean())
    return [*found, ("all", *(None if value is None else value.item() for value in whole))]
