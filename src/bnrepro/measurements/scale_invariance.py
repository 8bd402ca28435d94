"""§3.3: what a scale of the weights does, and does not do, to a normalised layer and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.norm import batch_norm_train


def measure(scales: Sequence[float], epsilons: Sequence[float], examples: int, features: int) -> pd.DataFrame:
    """Relative errors of the three identities, for a linear and a convolutional layer, in float64.

    Columns: ``layer``, ``epsilon``, ``scale`` (a), ``identity`` (``output``, ``gradient of the input``, ``gradient of
    the weights``), ``error`` (largest difference ÷ largest value).
    """
    gen = generator(0, "scale_invariance")

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=gen)

    layers: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]] = {
        "linear": (F.linear, draw(examples, features), draw(features, features)),
        "convolution": (
            lambda u, w: F.conv2d(u, w, padding=1), draw(examples // 4, features // 4, 8, 8),
            draw(features // 4, features // 4, 3, 3),
        ),
    }  # fmt: skip
    rows = []
    for layer, (apply, inputs, weights) in layers.items():
        target = draw(*apply(inputs, weights).shape)
        for epsilon in epsilons:
            plain = _pass(apply, inputs, weights, 1.0, epsilon, target)
            for scale in scales:
                scaled = _pass(apply, inputs, weights, scale, epsilon, target)
                # The third identity: the gradient of a times the weights is a times smaller.
                expected = (plain[0], plain[1], plain[2] / scale)
                for identity, found, right in zip(
                    ("output", "gradient of the input", "gradient of the weights"), scaled, expected, strict=True
                ):
                    error = ((found - right).abs().max() / right.abs().max()).item()
                    rows.append((layer, epsilon, scale, identity, error))
    return pd.DataFrame(rows, columns=["layer", "epsilon", "scale", "identity", "error"])


def _pass(
    apply: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    weights: Tensor,
    scale: float,
    epsilon: float,
    target: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output of BN((aW)u), and the gradients of a fixed linear function of it with respect to u and to aW."""
    u = inputs.clone().requires_grad_()
    w = (scale * weights).requires_grad_()
    z = apply(u, w)
    gamma, beta = torch.ones(z.shape[1], dtype=z.dtype), torch.zeros(z.shape[1], dtype=z.dtype)
    y, _, _ = batch_norm_train(z, gamma, beta, epsilon)
    du, dw = torch.autograd.grad((y * target).sum(), (u, w))
    return y.detach(), du, dw
