"""Cases of batch normalisation, and the measured disagreement of two layers on a case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Layer = Callable[..., Any]


def library(num_features: int, bias: bool = True, **kwargs) -> nn.Module:
    """The library layer for any rank: BatchNorm1d and BatchNorm2d differ in nothing but their rank check."""

    class AnyRank(nn.BatchNorm2d):
        def _check_input_dim(self, input: Tensor) -> None:
            pass

    layer = AnyRank(num_features, **kwargs)
    if not bias:
        # As the library's argument does, which its older versions lack.
        layer.register_parameter("bias", None)
    return layer


@dataclass(frozen=True)
class Case:
    """A layer, its state, and a mini-batch whose channels have an exact mean and standard deviation."""

    shape: tuple[int, ...] = (6, 3)
    dtype: torch.dtype = torch.float64
    parameter_dtype: torch.dtype | None = None
    memory_format: str = "contiguous"
    training: bool = True
    affine: bool = True
    bias: bool = True
    track: bool = True
    momentum: float | None = 0.1
    eps: float = 1e-5
    std: float = 1.0
    mean_over_std: float = 1.0
    seed: int = 0

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def layer(self, cls: Layer) -> Any:
        """A layer of ``cls`` whose parameters and running statistics are those of this case."""
        layer = cls(
            self.shape[1],
            eps=self.eps,
            momentum=self.momentum,
            affine=self.affine,
            track_running_stats=self.track,
            dtype=self.parameter_dtype or self.dtype,
            bias=self.bias,
        )
        rng = self.generator()
        with torch.no_grad():
            for parameter in (layer.weight, layer.bias):
                values = torch.randn(self.shape[1], generator=rng, dtype=torch.float64)
                if isinstance(parameter, Tensor):
                    parameter.copy_(values)
            if isinstance(layer.running_mean, Tensor) and isinstance(layer.running_var, Tensor):
                layer.running_mean.normal_(generator=rng)
                layer.running_var.uniform_(0.5, 2.0, generator=rng)
        return layer.train(self.training)

    def batch(self) -> Tensor:
        """(N, C, ...): standard normal values, standardised, then of the wanted mean and deviation."""
        dims = (0, *range(2, len(self.shape)))
        z = torch.randn(self.shape, generator=self.generator(), dtype=torch.float64)
        var, mean = torch.var_mean(z, dims, correction=0, keepdim=True)
        x = self.std * ((z - mean) / (var + 1e-12).sqrt() + self.mean_over_std)
        return self._laid_out(x.to(self.dtype))

    def output_gradient(self) -> Tensor:
        rng = torch.Generator().manual_seed(self.seed + 1)
        return self._laid_out(torch.randn(self.shape, generator=rng, dtype=torch.float64).to(self.dtype))

    def _laid_out(self, x: Tensor) -> Tensor:
        if self.memory_format == "channels_last" and x.dim() > 2:
            return x.movedim(1, -1).contiguous().movedim(-1, 1)
        if self.memory_format == "sliced":
            return torch.stack([x, x], dim=-1)[..., 0]
        return x


@dataclass
class Pass:
    """All that one forward and backward pass through a layer computed."""

    y: Tensor
    gradients: dict[str, Tensor]
    buffers: dict[str, Tensor]


def forward_backward(layer: nn.Module, x: Tensor, grad_y: Tensor) -> Pass:
    leaf = x.detach().requires_grad_()  # the strides of x are kept
    y = layer(leaf)
    y.backward(grad_y)
    gradients = {"x": leaf.grad} | {name: p.grad for name, p in layer.named_parameters()}
    return Pass(
        y.detach(),
        {name: g for name, g in gradients.items() if g is not None},
        {name: b.clone() for name, b in layer.named_buffers()},
    )


def gradient_scales(layer: Any, x: Tensor, grad_y: Tensor) -> dict[str, float]:
    """What a rounding error of each gradient is measured by.

    For x it is max|dy gamma / sqrt(var + eps)|; for gamma and beta, sums over the batch, it is the largest
    sum of absolute terms.
    """
    dims = (0, *range(2, x.dim()))
    shape = (1, -1) + (1,) * (x.dim() - 2)
    x, grad_y = x.double(), grad_y.double()
    var, mean = torch.var_mean(x, dims, correction=0)
    running_mean, running_var = layer.running_mean, layer.running_var
    if not layer.training and isinstance(running_mean, Tensor) and isinstance(running_var, Tensor):
        mean, var = running_mean.double(), running_var.double()
    inv_std = torch.rsqrt(var + layer.eps)
    gamma = layer.weight.detach().double() if isinstance(layer.weight, Tensor) else torch.ones_like(mean)
    x_hat = (x - mean.view(shape)) * inv_std.view(shape)
    return {
        "x": (grad_y * (gamma * inv_std).view(shape)).abs().max().item(),
        "weight": (grad_y * x_hat).abs().sum(dims).max().item(),
        "bias": grad_y.abs().sum(dims).max().item(),
    }


def buffer_scale(name: str, buffers: dict[str, Tensor]) -> float:
    """The buffer's largest value; of the running mean, which may be zero, added to the standard deviation."""
    values = buffers[name].double().abs()
    if name == "running_mean":
        values = values + buffers["running_var"].double().sqrt()
    return max(values.max().item(), 1e-30)


def relative(ours: Tensor, theirs: Tensor, scale: float) -> float:
    return (ours.double() - theirs.double()).abs().max().item() / scale


def disagreement(case: Case, ours: Layer, theirs: Layer, steps: int = 2, exact: bool = False) -> dict[str, float]:
    """The largest relative differences of two layers over a few mini-batches of a case.

    Outputs by max|y|, gradients by :func:`gradient_scales`, buffers by :func:`buffer_scale`. With ``exact``
    the second layer computes in float64 from the same values.
    """
    a, b = case.layer(ours), case.layer(theirs)
    b = b.double() if exact else b
    worst: dict[str, float] = {}
    for _ in range(steps):
        x, grad_y = case.batch(), case.output_gradient()
        scales = gradient_scales(b, x, grad_y)
        pass_a = forward_backward(a, x, grad_y)
        pass_b = forward_backward(b, x.double(), grad_y.double()) if exact else forward_backward(b, x, grad_y)
        a.zero_grad()
        b.zero_grad()
        assert pass_a.y.dtype == x.dtype
        assert pass_a.y.shape == pass_b.y.shape
        pairs = [("y", pass_a.y, pass_b.y, pass_b.y.double().abs().max().item())]
        assert pass_a.gradients.keys() == pass_b.gradients.keys()
        for name, gradient in pass_b.gradients.items():
            pairs.append((f"grad {name}", pass_a.gradients[name], gradient, scales[name]))
        assert pass_a.buffers.keys() == pass_b.buffers.keys()
        for name, buffer in pass_b.buffers.items():
            pairs.append((f"buffer {name}", pass_a.buffers[name], buffer, buffer_scale(name, pass_b.buffers)))
        for name, mine, other, scale in pairs:
            assert exact or mine.dtype == other.dtype, name
            error = relative(mine, other, scale)
            # NaN compares false with everything: it has to count as the worst.
            worst[name] = max(worst.get(name, 0.0), error if error == error else float("inf"))
    return worst
