"""The readers' variants: batch normalisation as notes and tutorials write it, each with one thing changed.

They exist to be measured beside :class:`~bnrepro.norm.ReferenceBatchNorm`; the package does not export them. Each
equals the reference layer except for what its docstring says, and takes (num_features, eps, momentum); the one without
eps takes num_features alone.
"""

from typing import cast

import torch
from torch import Tensor, nn

from bnrepro.norm.functional import (
    batch_norm_inference,
    batch_statistics,
    check_eps,
    check_momentum,
    values_per_channel,
)
from bnrepro.norm.reference import ReferenceBatchNorm, move_average


class WholeTensorNorm(nn.Module):
    """Wrong: one mean, variance, gamma and beta for the entire tensor; no feature is normalised by itself."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.num_features = num_features
        self.scalar = ReferenceBatchNorm(1, eps, momentum)

    def forward(self, input: Tensor) -> Tensor:
        return self.scalar(input.reshape(-1, 1)).reshape(input.shape)


class WholeTensorNormNoEps(nn.Module):
    """Wrong twice: one mean and variance for the entire tensor, always the batch's; no eps, so 0/0 gives NaN."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, input: Tensor) -> Tensor:
        var, mean = torch.var_mean(input, correction=0)
        return self.weight * ((input - mean) / var.sqrt()) + self.bias


class SwappedMomentum(ReferenceBatchNorm):
    """Another convention: new = momentum*old + (1-momentum)*batch; with 0.1, almost the last batch alone."""

    def batch_weight(self, dtype: torch.dtype) -> float | Tensor:
        return 1.0 - super().batch_weight(dtype)


class BiasedRunningVariance(ReferenceBatchNorm):
    """Wrong by (m-1)/m: the running variance averages the biased variances and underestimates Var[x]."""

    def variance_to_track(self, var: Tensor, m: int) -> Tensor:
        return var


class UnbiasedTrainingVariance(ReferenceBatchNorm):
    """Wrong by sqrt((m-1)/m): training normalises by the unbiased variance instead of Algorithm 1's."""

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = values_per_channel(x)
        mean, var = batch_statistics(x)
        y = batch_norm_inference(x, mean, var * (m / (m - 1)), self.weight, self.bias, self.eps)
        return y, mean, var


class PlainTensorAffine(ReferenceBatchNorm):
    """Wrong: gamma and beta are plain tensors, so no optimiser trains them and nothing saves or moves them."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(num_features, eps, momentum)
        del self.weight, self.bias
        self.weight, self.bias = torch.ones(num_features), torch.zeros(num_features)


class GraphedRunningMean(ReferenceBatchNorm):
    """Wrong: the running mean is not detached, so it keeps every batch's graph and cannot be deep-copied."""

    def update_running_stats(self, mean: Tensor, var: Tensor, m: int) -> None:
        before = cast(Tensor, self.running_mean)
        weight = self.batch_weight(mean.dtype)
        kept = (1.0 - weight) * before + weight * mean
        super().update_running_stats(mean, var, m)
        self.running_mean = kept


class DetachedStatistics(ReferenceBatchNorm):
    """Wrong: the gradient treats mu_B and sigma2_B as constants, the failure that §2 describes."""

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = batch_statistics(x.detach())
        return batch_norm_inference(x, mean, var, self.weight, self.bias, self.eps), mean, var


class NoAffine(ReferenceBatchNorm):
    """Right but weaker: no gamma and beta, so it cannot undo itself and keeps a sigmoid in its linear part."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(num_features, eps, momentum, affine=False)


class ZCAWhitening(nn.Module):
    """Right but expensive (§2): x_hat = (x - mu)(Cov + eps I)^(-1/2) also decorrelates the features.

    Inputs are (N, C). The inverse root is computed from the eigenvectors of the covariance. Its gradient divides by
    differences of eigenvalues: it loses digits where two of them are close, and does not exist where they are equal.
    With N <= C the covariance has repeated zeros, so training refuses such a batch. Evaluation uses the running mean
    and the running (unbiased) covariance.

    The call raises ``ValueError`` for an input that is not (N, C) and, in training, for N <= C.
    """

    running_mean: Tensor
    running_cov: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        check_eps(eps)
        check_momentum(momentum)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_cov", torch.eye(num_features))

    def forward(self, input: Tensor) -> Tensor:
        shape, m = tuple(input.shape), len(input)
        if input.dim() != 2 or shape[1] != self.num_features:
            raise ValueError(f"expected an input (N, {self.num_features}), got shape {shape}")
        if self.training and m <= self.num_features:
            raise ValueError(f"whitening needs more examples than features, got shape {shape}")
        mean, cov = self.running_mean, self.running_cov
        if self.training:
            mean = input.mean(0)
            centered = input - mean
            cov = centered.T @ centered / m
            with torch.no_grad():
                move_average(self.running_mean, mean, self.momentum)
                move_average(self.running_cov, cov * (m / (m - 1)), self.momentum)
        eigenvalues, eigenvectors = torch.linalg.eigh(cov)
        whiten = (eigenvectors * torch.rsqrt(eigenvalues + self.eps)) @ eigenvectors.T
        return self.weight * ((input - mean) @ whiten) + self.bias
