"""§3.2: the effect of a bias before the normalisation on the output, and the gradient of that bias."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.measurements.kernels import KERNELS, normalise
from bnrepro.measurements.layers import Layer, layers, normal


def measure(epsilon: float, biases: Sequence[float], examples: int, features: int) -> pd.DataFrame:
    """Effect and gradient of a bias with and without BN after it, for a linear and a convolutional layer, in float64.

    Columns: ``layer``; ``norm`` (``none``, or BN ``from scratch`` or by the ``library``); ``bias``, its standard
    deviation over the units; ``quantity``: ``change of the output`` (largest difference from the output without the
    bias ÷ largest such output) or ``gradient of the bias`` (largest entry ÷ that of the same layer without BN);
    ``size``.
    """
    gen = generator(0, "bias_redundant")
    rows = []
    for layer, (apply, inputs, weights) in layers(gen, examples, features).items():
        direction = normal(gen, len(weights))
        target = normal(gen, *apply(inputs, weights, direction).shape)

        def forward(bias: Tensor, norm: str, z: Layer = apply, u: Tensor = inputs, w: Tensor = weights) -> Tensor:
            return z(u, w, bias) if norm == "none" else normalise(norm, z(u, w, bias), epsilon)

        for size in biases:
            bias = (size * direction).requires_grad_()
            gradients = {}
            for norm in ("none", *KERNELS):
                without, y = forward(torch.zeros_like(direction), norm), forward(bias, norm)
                [gradients[norm]] = torch.autograd.grad((y * target).sum(), bias)
                change = ((y - without).abs().max() / without.abs().max()).item()
                ratio = (gradients[norm].abs().max() / gradients["none"].abs().max()).item()
                rows.append((layer, norm, size, "change of the output", change))
                rows.append((layer, norm, size, "gradient of the bias", ratio))
    return pd.DataFrame(rows, columns=["layer", "norm", "bias", "quantity", "size"])
