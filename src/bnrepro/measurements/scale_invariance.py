"""§3.3: what a scale of the weights changes in a normalised layer and its gradients, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.measurements.layers import Layer, layers, normal
from bnrepro.norm import batch_norm_train


def measure(scales: Sequence[float], epsilons: Sequence[float], examples: int, features: int) -> pd.DataFrame:
    """Relative errors of the three identities, for a linear and a convolutional layer, in float64.

    Columns: ``layer``, ``epsilon``, ``scale`` (a), ``identity`` (``output``, ``gradient of the input``, ``gradient of
    the weights``), ``error`` (largest difference ÷ largest value).
    """
    gen = generator(0, "scale_invariance")
    rows = []
    for layer, (apply, inputs, weights) in layers(gen, examples, features).items():
        target = normal(gen, *apply(inputs, weights).shape)
        for epsilon in epsilons:
            plain = _pass(apply, inputs, weights, 1.0, epsilon, target)
            for scale in scales:
                scaled = _pass(apply, inputs, weights, scale, epsilon, target)
                # The third identity: weights a times larger have a gradient a times smaller.
                expected = (plain[0], plain[1], plain[2] / scale)
                for identity, found, right in zip(
                    ("output", "gradient of the input", "gradient of the weights"), scaled, expected, strict=True
                ):
                    error = ((found - right).abs().max() / right.abs().max()).item()
                    rows.append((layer, epsilon, scale, identity, error))
    return pd.DataFrame(rows, columns=["layer", "epsilon", "scale", "identity", "error"])


def _pass(
    apply: Layer, inputs: Tensor, weights: Tensor, scale: float, epsilon: float, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Output of BN((aW)u), and the gradients of a fixed linear function of it with respect to u and to aW."""
    u = inputs.clone().requires_grad_()
    w = (scale * weights).requires_grad_()
    y, _, _ = batch_norm_train(apply(u, w), None, None, epsilon)
    du, dw = torch.autograd.grad((y * target).sum(), (u, w))
    return y.detach(), du, dw
