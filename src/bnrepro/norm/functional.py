"""Algorithm 1 and the inference transform of Algorithm 2 as plain tensor functions.

They are the formulas as printed, one operation a line, differentiated by autograd. The layer in ``reference.py``
computes the same values with the paper's own derivatives.

Shapes: ``x`` is (N, C), (N, C, L) or (N, C, H, W). A feature k of the paper is a channel: its mini-batch is every entry
of ``x[:, k]``, so m = N, N·L or N·H·W (§3.2).
"""

import math

import torch
from torch import Tensor


def reduced_dims(x: Tensor) -> tuple[int, ...]:
    """The dimensions that a channel's statistics are taken over: all but the second."""
    return (0, *range(2, x.dim()))


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """View ``values`` of shape (C,) so that it broadcasts against ``x`` along the channels."""
    return values if x.dim() == 2 else values.view(-1, *(1,) * (x.dim() - 2))


def values_per_channel(x: Tensor) -> int:
    """The effective mini-batch size m of §3.2: N times the number of positions."""
    return x.shape[0] * math.prod(x.shape[2:])


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The type that statistics are computed in: the type of ``x``, but float32 for half precision."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def check_input(x: Tensor) -> None:
    """Refuse inputs that no form of the layer can normalise.

    Raises ``ValueError`` if the rank is not 2, 3 or 4, or there are no channels, and ``TypeError`` if the entries are
    not real floating-point numbers.
    """
    if x.dim() not in (2, 3, 4):
        raise ValueError(f"expected a 2-D, 3-D or 4-D input (N, C, ...), got shape {tuple(x.shape)}")
    if x.shape[1] == 0:
        raise ValueError(f"expected at least one channel, got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"expected a floating-point input, got {x.dtype}")


def check_batch(x: Tensor) -> None:
    """Raise ``ValueError`` for a mini-batch without a variance: fewer than two values per channel."""
    if values_per_channel(x) < 2:
        raise ValueError(f"batch statistics need at least 2 values per channel, got shape {tuple(x.shape)}")


def check_eps(eps: float) -> None:
    """Raise ``ValueError`` unless ``eps`` is positive and finite and so keeps the square root away from 0."""
    if not 0.0 < eps < math.inf:
        raise ValueError(f"eps must be a positive finite number, got {eps}")


def check_momentum(momentum: float | None) -> None:
    """Raise ``ValueError`` unless ``momentum`` is None or, as the weight of a batch in an average, from 0 to 1."""
    if momentum is not None and not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must be None or in [0, 1], got {momentum}")


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean mu_B and biased variance sigma2_B, each (C,), over the mini-batch: lines 1 and 2 of Algorithm 1.

    Both are in :func:`statistics_dtype` of ``x``.
    """
    dims = reduced_dims(x)
    mean = x.mean(dims, dtype=statistics_dtype(x))
    var = (x - per_channel(mean, x)).square().mean(dims)
    return mean, var


def batch_norm_train(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 1: normalise each channel by the statistics of its mini-batch, then scale and shift.

    ``gamma`` (C,) is the scale, None for 1; ``beta`` (C,) is the shift, None for 0; ``eps`` is added to the variance.
    Returns y, of the shape and type of ``x``, then the mean and the *biased* variance of the batch, each (C,). All
    three are differentiable.

    Raises ``ValueError`` for a wrong rank, no channels, fewer than 2 values per channel, or an ``eps`` that is not
    positive and finite; ``TypeError`` if ``x`` is not floating-point.
    """
    check_input(x)
    check_batch(x)
    check_eps(eps)
    mean, var = batch_statistics(x)
    x_hat = (x - per_channel(mean, x)) / per_channel(torch.sqrt(var + eps), x)
    y = x_hat if gamma is None else per_channel(gamma, x) * x_hat
    y = y if beta is None else y + per_channel(beta, x)
    return y.to(x.dtype), mean, var


def batch_norm_inference(
    x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float = 1e-5
) -> Tensor:
    """Algorithm 2, step 11: the fixed affine map that replaces the layer once its statistics are given.

    y = gamma/sqrt(var + eps) * x + (beta - gamma*mean/sqrt(var + eps)). The map is applied as one scale and one shift,
    as printed, so that autograd keeps only ``x`` and per-channel values.

    ``mean`` and ``var`` are E[x] and Var[x], each (C,); ``gamma`` (C,) is the scale, None for 1; ``beta`` (C,) is the
    shift, None for 0; ``eps`` is added to the variance. N may be 0 or 1. Returns y, of the shape, type and memory
    format of ``x``.

    Raises ``ValueError`` for a wrong rank, no channels, or an ``eps`` that is not positive and finite; ``TypeError`` if
    ``x`` is not floating-point.
    """
    check_input(x)
    check_eps(eps)
    dtype = statistics_dtype(x)
    scale = torch.rsqrt(var.to(dtype) + eps)
    scale = scale if gamma is None else gamma * scale
    shift = -mean.to(dtype) * scale
    shift = shift if beta is None else beta + shift
    return torch.addcmul(per_channel(shift, x), x, per_channel(scale, x)).to(x.dtype)
