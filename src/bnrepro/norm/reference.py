"""Algorithm 1 with the paper's own derivatives, and the layer built on it.

:class:`BatchNormFunction` writes the forward pass of Algorithm 1 and the backward pass of §3 beside their equations.
:class:`ReferenceBatchNorm` adds the parameters, the running statistics and the input checks, and replaces
``nn.BatchNorm1d`` and ``nn.BatchNorm2d``.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnrepro.norm.functional import (
    batch_norm_inference,
    check_batch,
    check_eps,
    check_input,
    check_momentum,
    per_channel,
    reduced_dims,
    statistics_dtype,
    values_per_channel,
)


class BatchNormFunction(torch.autograd.Function):
    """(x, gamma, beta, eps) -> (y, mu_B, sigma2_B), with the derivatives of §3.

    The two statistics are outputs like ``y``, so a loss may depend on them. The backward pass reads them as outputs and
    consists of differentiable operations, so it can itself be differentiated.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        dims = reduced_dims(x)
        # mu_B = 1/m sum x_i
        mean = x.mean(dims, dtype=statistics_dtype(x))
        centered = x - per_channel(mean, x)
        # sigma2_B = 1/m sum (x_i - mu_B)^2
        var = centered.square().mean(dims)
        # x_hat_i = (x_i - mu_B) / sqrt(sigma2_B + eps);  y_i = gamma x_hat_i + beta.
        # gamma and the root form one factor per channel, so that x_hat needs no memory of its own.
        inv_std = torch.rsqrt(var + eps)
        scale = inv_std if gamma is None else gamma * inv_std
        if beta is None:
            y = centered * per_channel(scale, x)
        else:
            y = torch.addcmul(per_channel(beta, x), centered, per_channel(scale, x))
        return y.to(x.dtype), mean, var

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        x, gamma, beta, eps = inputs
        _, mean, var = output
        # Only the input and per-channel values: recomputing x - mu_B is cheaper than keeping it.
        ctx.save_for_backward(x, gamma, beta, mean, var)
        ctx.eps = eps

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        grad_y, grad_mean, grad_var = grad_outputs
        x, gamma, beta, mean, var = ctx.saved_tensors
        dims, m = reduced_dims(x), values_per_channel(x)
        centered = x - per_channel(mean, x)
        inv_std = torch.rsqrt(var + ctx.eps)
        # gamma and sigma2_B are constant within a channel. Taken out of the paper's sums, they leave these three sums
        # over the batch.
        sum_dy = grad_y.sum(dims, dtype=mean.dtype)
        sum_dy_centered = (grad_y * centered).sum(dims)
        sum_centered = centered.sum(dims)

        # dl/dx_hat_i = dl/dy_i gamma
        sum_dx_hat = sum_dy if gamma is None else sum_dy * gamma
        sum_dx_hat_centered = sum_dy_centered if gamma is None else sum_dy_centered * gamma
        # dl/dsigma2_B = sum dl/dx_hat_i (x_i - mu_B) (-1/2) (sigma2_B + eps)^(-3/2)
        d_var = grad_var + sum_dx_hat_centered * (-0.5) * inv_std**3
        # dl/dmu_B = -sum dl/dx_hat_i / sqrt(sigma2_B + eps) + dl/dsigma2_B (-2/m) sum (x_i - mu_B).
        # The last sum is zero except for the rounding of mu_B; kept, it cancels the effect of that rounding on dl/dx.
        d_mean = grad_mean - sum_dx_hat * inv_std + d_var * (-2.0 / m) * sum_centered
        # dl/dx_i = dl/dx_hat_i / sqrt(sigma2_B + eps) + dl/dsigma2_B 2 (x_i - mu_B) / m + dl/dmu_B / m
        scale = inv_std if gamma is None else gamma * inv_std
        # Summed in place: allocating a third array of the input's size costs more than the arithmetic.
        d_x = centered * per_channel(d_var * (2.0 / m), x)
        del centered
        d_x.add_(per_channel(d_mean / m, x)).add_(grad_y * per_channel(scale, x))
        # dl/dgamma = sum dl/dy_i x_hat_i
        d_gamma = None if gamma is None else (sum_dy_centered * inv_std).to(gamma.dtype)
        # dl/dbeta = sum dl/dy_i
        d_beta = None if beta is None else sum_dy.to(beta.dtype)
        return d_x.to(x.dtype), d_gamma, d_beta, None


class ReferenceBatchNorm(_BatchNorm):
    """Batch Normalization of (N, C), (N, C, L) or (N, C, H, W) inputs (Algorithm 1; §3.2).

    A drop-in replacement for ``nn.BatchNorm1d`` and ``nn.BatchNorm2d``: same arguments, same ``state_dict``, same
    behaviour in training and evaluation. In training, and always if it keeps no running statistics, the layer
    normalises by the statistics of the mini-batch; otherwise by the running ones. Half-precision inputs are computed in
    float32 and may have float32 parameters. The layer can be differentiated in reverse any number of times; PyTorch
    refuses it in forward mode (``jvp``), which the paper does not derive. Under ``vmap`` it works where it has no
    running statistics to update, like PyTorch's layer.

    A NaN or an infinity in a channel makes that channel's output NaN and, in training, its running mean and variance
    too. An average never forgets it, so both stay NaN until ``reset_running_stats``. Other channels are unaffected.
    With ``track_running_stats=False`` nothing outlives the batch.

    The base class makes it known to the tools that look for batch normalisation by class, such as
    ``torch.optim.swa_utils.update_bn`` and ``nn.SyncBatchNorm.convert_sync_batchnorm`` (which puts PyTorch's own kernel
    in its place). It also reads old files and prints the layer; nothing that computes is inherited.

    ``num_features`` is C; ``eps`` is added to the variance. ``momentum`` is the weight of the new batch in the running
    statistics, new = (1 - momentum) * old + momentum * batch; None averages all batches so far. ``affine`` adds a
    learned gamma (``weight``) and, with ``bias``, a learned beta (``bias``). ``track_running_stats`` keeps
    ``running_mean``, ``running_var`` (of the *unbiased* batch variances) and ``num_batches_tracked``. ``device`` and
    ``dtype`` are those of the parameters and the running statistics.

    Raises ``ValueError`` for no features, ``eps`` <= 0 or not finite, or ``momentum`` outside [0, 1], and ``TypeError``
    if ``num_features`` is not an integer. The call raises ``ValueError`` for a wrong rank, a wrong number of channels,
    or one value per channel in training, and ``TypeError`` for an input that is not floating-point or whose type does
    not match that of the parameters.
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        nn.Module.__init__(self)  # not the base class's: parameters and statistics are made below
        if isinstance(num_features, bool) or not isinstance(num_features, int):
            raise TypeError(f"num_features must be an integer, got {num_features!r}")
        if num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {num_features}")
        check_eps(eps)
        check_momentum(momentum)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        kwargs: dict[str, Any] = {"device": device, "dtype": dtype}
        gamma = nn.Parameter(torch.empty(num_features, **kwargs)) if affine else None
        beta = nn.Parameter(torch.empty(num_features, **kwargs)) if affine and bias else None
        self.register_parameter("weight", gamma)
        self.register_parameter("bias", beta)
        tracked = track_running_stats
        self.register_buffer("running_mean", torch.empty(num_features, **kwargs) if tracked else None)
        self.register_buffer("running_var", torch.empty(num_features, **kwargs) if tracked else None)
        count = torch.empty((), device=device, dtype=torch.long) if tracked else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count of batches to 0."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            cast(Tensor, self.num_batches_tracked).zero_()

    def reset_parameters(self) -> None:
        """Set gamma to 1 and beta to 0 (§3: the layer starts as the plain normalisation); reset the statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        mean, var = self.running_mean, self.running_var
        if not self.training and mean is not None and var is not None:
            return batch_norm_inference(input, mean, var, self.weight, self.bias, self.eps)
        check_batch(input)
        y, mean, var = self.normalize(input)
        if self.training and self.track_running_stats:
            self.update_running_stats(mean, var, values_per_channel(input))
        return y

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Algorithm 1: y, and the mean and the biased variance of the batch, each (C,)."""
        return cast(tuple[Tensor, Tensor, Tensor], BatchNormFunction.apply(x, self.weight, self.bias, self.eps))

    def update_running_stats(self, mean: Tensor, var: Tensor, m: int) -> None:
        """Move the running statistics towards mean and biased variance, each (C,), of a batch of ``m`` values."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        with torch.no_grad():
            weight = self.batch_weight(mean.dtype)
            try:
                move_average(self.running_mean, mean, weight)
            except RuntimeError as error:
                if "vmap" not in str(error):
                    raise
                raise RuntimeError(
                    "under vmap the running statistics cannot be updated in place: "
                    "use track_running_stats=False, or evaluation mode"
                ) from error
            move_average(self.running_var, self.variance_to_track(var, m), weight)
            self.num_batches_tracked.add_(1)

    def batch_weight(self, dtype: torch.dtype) -> float | Tensor:
        """The weight of a new batch in the running statistics."""
        if self.momentum is not None:
            return self.momentum
        # It stays on the device: reading the count would stall a GPU and break a compiled graph at every step.
        return (cast(Tensor, self.num_batches_tracked) + 1).to(dtype).reciprocal()

    def variance_to_track(self, var: Tensor, m: int) -> Tensor:
        """The unbiased estimate, m/(m-1) times the biased one (Algorithm 2)."""
        return var * (m / (m - 1))

    def _check(self, x: Tensor) -> None:
        check_input(x)
        if x.shape[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} channels, got shape {tuple(x.shape)}")
        for values in (self.weight, self.running_mean):
            if values is not None and values.dtype not in (x.dtype, statistics_dtype(x)):
                raise TypeError(f"a layer of {values.dtype} cannot normalise an input of {x.dtype}")


def move_average(running: Tensor, batch: Tensor, weight: float | Tensor) -> None:
    """Set running = (1 - weight) * running + weight * batch in place, computed in the type of ``batch``."""
    running.copy_(torch.lerp(running.to(batch.dtype), batch, weight))
