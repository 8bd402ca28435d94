"""§3.3: what a scale of the weights changes in a normalised layer and its gradients, and what it does not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.measurements.kernels import KERNELS, normalise
from bnrepro.measurements.layers import Layer, layers, normal

IDENTITIES = ("output", "gradient of the input", "gradient of the weights")


def measure(scales: Sequence[float], epsilons: Sequence[float], examples: int, features: int) -> pd.DataFrame:
    """Relative errors of the three identities, for a linear and a convolutional layer, in float64.

    Every scale is tried with both signs. The deviation |a|σ that normalises (aW)u has no sign, so a negative a turns
    the sign of the output and of the input's gradient, and the weights' gradient is divided by |a|.

    Columns: ``kernel`` (``from scratch``, ``library``), ``layer``, ``epsilon``, ``scale`` (a), ``identity`` (one of
    ``IDENTITIES``), ``error`` (largest difference ÷ largest value), and ``printed``, the same for the identities as the
    paper prints them, without regard to the sign.
    """
    gen = generator(0, "scale_invariance")
    rows = []
    for layer, (apply, inputs, weights) in layers(gen, examples, features).items():
        target = normal(gen, *apply(inputs, weights).shape)
        for kernel, epsilon in itertools.product(KERNELS, epsilons):
            run = partial(_pass, kernel, apply, inputs, weights, epsilon, target)
            y, du, dw = run(1.0)
            for scale in (sign * size for size in scales for sign in (1, -1)):
                sign = math.copysign(1, scale)
                signed, printed = (sign * y, sign * du, dw / abs(scale)), (y, du, dw / scale)
                for identity, found, right, literal in zip(IDENTITIES, run(scale), signed, printed, strict=True):
                    errors = (_relative(found, right), _relative(found, literal))
                    rows.append((kernel, layer, epsilon, scale, identity, *errors))
    return pd.DataFrame(rows, columns=["kernel", "layer", "epsilon", "scale", "identity", "error", "printed"])


def _relative(found: Tensor, right: Tensor) -> float:
    return ((found - right).abs().max() / right.abs().max()).item()


def _pass(
    kernel: str, apply: Layer, inputs: Tensor, weights: Tensor, epsilon: float, target: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output of BN((aW)u), and the gradients of a fixed linear function of it with respect to u and to aW."""
    u = inputs.clone().requires_grad_()
    w = (scale * weights).requires_grad_()
    y = normalise(kernel, apply(u, w), epsilon)
    du, dw = torch.autograd.grad((y * target).sum(), (u, w))
    return y.detach(), du, dw
