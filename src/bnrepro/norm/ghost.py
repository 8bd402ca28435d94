"""Ghost batches (Hoffer et al. 2017): batch normalisation over small parts of a large mini-batch."""

from __future__ import annotations

import torch
from torch import Tensor

from bnrepro.norm.batch import BatchNorm


class GhostBatchNorm(BatchNorm):
    """Their Algorithm 1: in training, each of the ghost batches of ``ghost_size`` examples is normalised by itself.

    The running statistics take in the ghost batches one after the other, so that μ_run = (1−η)^n μ_run + η Σ_i
    (1−η)^(n−i) μ_i after n of them; the exponents that the paper prints would weigh the first one most. η is
    ``momentum``, and ``num_batches_tracked`` counts ghost batches. At inference it is :class:`~bnrepro.norm.BatchNorm`,
    whose shapes, kernel and state it has: a running σ² with Bessel's factor, where the paper's algorithm keeps a
    running σ.

    A mini-batch that ``ghost_size`` does not divide is split into ghost batches of nearly equal sizes, so many that the
    sizes come close to ``ghost_size``: 32 examples become two of 16 for a size of 20. Raises ``ValueError`` for a
    ``ghost_size`` below 2.
    """

    def __init__(
        self,
        num_features: int,
        ghost_size: int = 20,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        if ghost_size < 2:
            raise ValueError(f"ghost_size must be at least 2, got {ghost_size}")
        self.ghost_size = ghost_size

    def count(self, examples: int) -> int:
        """The number of ghost batches in a mini-batch of so many examples."""
        return max(min(round(examples / self.ghost_size), examples // 2), 1)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        if not self.training:
            return super().forward(input)
        normalise = super().forward
        return torch.cat([normalise(ghost) for ghost in input.tensor_split(self.count(len(input)))])
