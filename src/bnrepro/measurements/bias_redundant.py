"""§3.2: what a bias before the normalisation does to the output, and the gradient that it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.norm import batch_norm_train

Layer = Callable[[Tensor, Tensor, Tensor], Tensor]


def measure(epsilon: float, biases: Sequence[float], examples: int, features: int) -> pd.DataFrame:
    """Effect and gradient of a bias with and without BN behind it, for a linear and a convolutional layer, in float64.

    Columns: ``layer``, ``norm`` (``none``, ``batch``), ``bias`` (its standard deviation over the units), ``quantity``:
    ``change of the output`` (largest difference to the output without the bias ÷ largest such output) and ``gradient
    of the bias`` (largest entry ÷ that of the same layer without BN), ``size``.
    """
    gen = generator(0, "bias_redundant")

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=gen)

    layers: dict[str, tuple[Layer, Tensor, Tensor]] = {
        "linear": (F.linear, draw(examples, features), draw(features, features)),
        "convolution": (
            lambda u, w, b: F.conv2d(u, w, b, padding=1), draw(examples // 4, features // 4, 8, 8),
            draw(features // 4, features // 4, 3, 3),
        ),
    }  # fmt: skip
    rows = []
    for layer, (apply, inputs, weights) in layers.items():
        direction = draw(len(weights))
        target = draw(*apply(inputs, weights, direction).shape)

        def forward(bias: Tensor, norm: str, z: Layer = apply, u: Tensor = inputs, w: Tensor = weights) -> Tensor:
            return z(u, w, bias) if norm == "none" else batch_norm_train(z(u, w, bias), None, None, epsilon)[0]

        for size in biases:
            bias = (size * direction).requires_grad_()
            gradients = {}
            for norm in ("none", "batch"):
                without, y = forward(torch.zeros_like(direction), norm), forward(bias, norm)
                [gradients[norm]] = torch.autograd.grad((y * target).sum(), bias)
                change = ((y - without).abs().max() / without.abs().max()).item()
                ratio = (gradients[norm].abs().max() / gradients["none"].abs().max()).item()
                rows.append((layer, norm, size, "change of the output", change))
                rows.append((layer, norm, size, "gradient of the bias", ratio))
    return pd.DataFrame(rows, columns=["layer", "norm", "bias", "quantity", "size"])
