"""§3: the layer's derivatives against finite differences, against autograd and against PyTorch's layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.functional import jacobian

from bnrepro.config.randomness import generator
from bnrepro.measurements.layers import normal
from bnrepro.norm.functional import batch_statistics, per_channel, reduced_dims, values_per_channel
from bnrepro.norm.pitfalls import DetachedStatistics
from bnrepro.norm.reference import BatchNormFunction

GRADCHECK, PRINTED, LIBRARY, CONSTANT = "gradcheck", "equations, autograd", "layer, library", "statistics constant"
INPUTS = ("x", "γ", "β")
EQUATIONS = ("x̂", "σ²", "μ", *INPUTS)
COLUMNS = ["check", "shape", "epsilon", "derivative", "error", "relative", "passed"]

Forward = Callable[..., Tensor]


def measure(
    epsilons: Sequence[float], shapes: Sequence[Sequence[int]], step: float, absolute: float, relative: float
) -> pd.DataFrame:
    """Errors of the derivatives in float64.

    Checks: ``gradcheck`` compares the Jacobians of the from-scratch layer with central differences; ``equations,
    autograd``, the six equations as printed with autograd through Algorithm 1; ``layer, library``, the layer's
    gradients with those of PyTorch's layer; ``statistics constant`` again uses central differences, for the wrong layer
    that treats μ and σ² as constants, to show what an error looks like.

    Columns: ``error`` is the largest difference ÷ gradcheck's tolerance (``absolute`` + ``relative`` · size);
    ``relative`` is the largest difference ÷ the largest value; ``passed`` is 0 or 1, for ``gradcheck`` the result of
    torch's function, which also checks the derivatives of μ and σ².
    """
    gen = generator(0, "backward_equations")
    rows = []

    def compare(check: str, derivative: str, found: Tensor, right: Tensor, passed: bool | None = None) -> None:
        difference = (found - right).abs()
        error = (difference / (absolute + relative * right.abs())).max().item()
        ok = error <= 1 if passed is None else passed
        shown = "×".join(map(str, shape))
        rows.append((check, shown, epsilon, derivative, error, (difference.max() / right.abs().max()).item(), int(ok)))

    for shape in shapes:
        x, dy = normal(gen, *shape), normal(gen, *shape)
        gamma, beta = normal(gen, shape[1]), normal(gen, shape[1])
        values = (x.requires_grad_(), gamma.requires_grad_(), beta.requires_grad_())
        for epsilon in epsilons:

            def every(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = epsilon) -> tuple[Tensor, ...]:
                return BatchNormFunction.apply(x, gamma, beta, eps)  # type: ignore[return-value]

            def layer(*values: Tensor, whole: Callable[..., tuple[Tensor, ...]] = every) -> Tensor:
                return whole(*values)[0]

            passed = gradcheck(every, values, eps=step, atol=absolute, rtol=relative, raise_exception=False)
            differences = _central_differences(layer, values, step)
            for name, found, right in zip(INPUTS, jacobian(layer, values), differences, strict=True):
                compare(GRADCHECK, name, found, right, passed)
            printed, automatic = _as_printed(x, gamma, dy, epsilon), _by_autograd(x, gamma, beta, dy, epsilon)
            for name in EQUATIONS:
                compare(PRINTED, name, printed[name], automatic[name])
            mine = torch.autograd.grad(layer(*values), values, dy)
            library = F.batch_norm(x, None, None, gamma, beta, training=True, eps=epsilon)
            for name, found, right in zip(INPUTS, mine, torch.autograd.grad(library, values, dy), strict=True):
                compare(LIBRARY, name, found, right)
            wrong = jacobian(_with_constant_statistics(epsilon), values)
            compare(CONSTANT, "x", wrong[0], differences[0])
    return pd.DataFrame(rows, columns=COLUMNS)


def _as_printed(x: Tensor, gamma: Tensor, dy: Tensor, eps: float) -> dict[str, Tensor]:
    """The six equations of §3, each as it stands in the paper, with nothing taken out of its sums."""
    with torch.no_grad():
        dims, m = reduced_dims(x), values_per_channel(x)
        mu, var = (per_channel(values, x) for values in batch_statistics(x))
        x_hat = (x - mu) / torch.sqrt(var + eps)
        d_x_hat = dy * per_channel(gamma, x)
        d_var = (d_x_hat * (x - mu) * (-1 / 2) * (var + eps) ** (-3 / 2)).sum(dims)
        d_mu = (d_x_hat * -1 / torch.sqrt(var + eps)).sum(dims) + d_var * (-2 * (x - mu)).sum(dims) / m
        d_x = (
            d_x_hat / torch.sqrt(var + eps)
            + per_channel(d_var, x) * 2 * (x - mu) / m
            + per_channel(d_mu, x) / m
        )  # fmt: skip
        d_gamma, d_beta = (dy * x_hat).sum(dims), dy.sum(dims)
    return dict(zip(EQUATIONS, (d_x_hat, d_var, d_mu, d_x, d_gamma, d_beta), strict=True))


def _by_autograd(x: Tensor, gamma: Tensor, beta: Tensor, dy: Tensor, eps: float) -> dict[str, Tensor]:
    """The same six derivatives by automatic differentiation of Algorithm 1, through its intermediate values."""
    mu, var = batch_statistics(x)
    x_hat = (x - per_channel(mu, x)) / per_channel(torch.sqrt(var + eps), x)
    y = per_channel(gamma, x) * x_hat + per_channel(beta, x)
    return dict(zip(EQUATIONS, torch.autograd.grad(y, (x_hat, var, mu, x, gamma, beta), dy), strict=True))


def _with_constant_statistics(eps: float) -> Forward:
    def forward(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        layer = DetachedStatistics(x.shape[1], eps).double()
        return torch.func.functional_call(layer, {"weight": gamma, "bias": beta}, (x,))

    return forward


def _central_differences(layer: Forward, values: Sequence[Tensor], step: float) -> list[Tensor]:
    """Jacobians of y with respect to each of ``values``, output dimensions first, as ``jacobian`` returns them."""
    found = []
    with torch.no_grad():
        for index, value in enumerate(values):
            columns = []
            for entry in range(value.numel()):
                shift = torch.zeros_like(value)
                shift.view(-1)[entry] = step
                ahead, behind = (layer(*values[:index], value + sign * shift, *values[index + 1 :]) for sign in (1, -1))
                columns.append((ahead - behind) / (2 * step))
            found.append(torch.stack(columns, -1).reshape(*columns[0].shape, *value.shape))
    return found
