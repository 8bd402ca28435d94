"""Whitening (§2) by other ways than eigenvectors: a triangular factor, and an iteration of matrix products alone.

Both make the covariance of their outputs the identity. They exist to be timed beside
:class:`~bnrepro.norm.pitfalls.ZCAWhitening`; the package does not export them.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from bnrepro.norm.pitfalls import ZCAWhitening
from bnrepro.norm.reference import move_average


class _Whitening(ZCAWhitening):
    """The parameters, statistics and checks of :class:`ZCAWhitening`, with another inverse root of the covariance."""

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
        eye = torch.eye(self.num_features, dtype=input.dtype, device=input.device)
        return self.weight * self._whiten(input - mean, cov + self.eps * eye) + self.bias

    @abstractmethod
    def _whiten(self, centered: Tensor, cov: Tensor) -> Tensor:
        """``centered`` (N, C), of covariance ``cov`` (C, C), as N whitened examples."""


class CholeskyWhitening(_Whitening):
    """x_hat = L^(-1)(x - mu) with LL' = Cov + eps I: feature k is rid of what features 1 … k-1 say of it.

    The outputs are white but depend on the order of the features. (Siarohin et al. 2019 whiten so.)
    """

    def _whiten(self, centered: Tensor, cov: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(torch.linalg.cholesky(cov), centered.T, upper=False).T


class NewtonSchulzWhitening(_Whitening):
    """ZCA's (Cov + eps I)^(-1/2) by the coupled Newton–Schulz iteration: matrix products alone, no eigenvectors.

    The iteration goes on until it has converged, since outputs after a few steps (Huang et al. 2019) are not white.
    Its gradient runs through all of its steps, and exists where eigenvalues are equal. The call raises ``ValueError``
    if it has not converged after ``LONGEST`` steps, as for a covariance that has lost its rank to rounding.
    """

    TOLERANCE = 1e-3
    """Largest entry of I - ZY before the last step, whose error is its square."""
    LONGEST = 60

    def _whiten(self, centered: Tensor, cov: Tensor) -> Tensor:
        eye = torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
        # Eigenvalues in (0, 1], within which the iteration converges.
        size = torch.linalg.matrix_norm(cov)
        y, z = cov / size, eye  # towards the root of cov/size, and its inverse
        for _ in range(self.LONGEST):
            product = z @ y
            step = 1.5 * eye - 0.5 * product
            y, z = y @ step, step @ z
            if (product.detach() - eye).abs().max() <= self.TOLERANCE:
                return centered @ z / size.sqrt()
        raise ValueError(f"the Newton–Schulz iteration has not converged after {self.LONGEST} steps")
