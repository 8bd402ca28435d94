"""Normalisations over the features of each example alone: PyTorch's kernels with the calling convention of BN."""

from __future__ import annotations

from torch import Tensor, nn


class _Grouped(nn.GroupNorm):
    """PyTorch's layer, which gives β whatever its input where a group is a single value; this one refuses it."""

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[1:].numel() == self.num_groups:
            raise ValueError(
                f"{self.num_groups} groups of an example of {self.num_groups} values have no variance: use fewer "
                "groups, or a wider layer"
            )
        return super().forward(input)


class GroupNorm(_Grouped):
    """Group normalisation (Wu & He 2018) of (N, C) or (N, C, …) inputs; ``num_features`` comes first, as for BN.

    ``num_groups`` is lowered to the largest divisor of ``num_features``, so one setting serves layers of any width.
    Raises ``ValueError`` if it is below 1, and the call if a group has a single value.
    """

    def __init__(self, num_features: int, num_groups: int = 10, eps: float = 1e-5, affine: bool = True) -> None:
        if num_groups < 1:
            raise ValueError(f"num_groups must be at least 1, got {num_groups}")
        divisor = max(d for d in range(1, min(num_groups, num_features) + 1) if num_features % d == 0)
        super().__init__(divisor, num_features, eps, affine)


class LayerNorm(_Grouped):
    """Layer normalisation (Ba et al. 2016): all features of an example form one group; γ and β are per feature.

    For (N, C) inputs it equals ``nn.LayerNorm(C)``; for (N, C, H, W) it normalises over channels and positions.
    The call raises ``ValueError`` for examples of a single value.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(1, num_features, eps, affine)
