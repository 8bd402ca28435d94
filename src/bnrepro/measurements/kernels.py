"""The two layers of Batch Normalization that the exact measurements examine: from scratch, and PyTorch's kernel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bnrepro.norm import BatchNorm, ReferenceBatchNorm

KERNELS: dict[str, type[_BatchNorm]] = {"from scratch": ReferenceBatchNorm, "library": BatchNorm}
"""``library`` is the layer that all training uses (``norm=batch``)."""


def normalise(kernel: str, x: Tensor, epsilon: float, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Algorithm 1 by the layer named ``kernel``, with the statistics of ``x``: (N, C, ...) → the same shape.

    ``affine`` holds γ and β, each (C,); None stands for 1 and 0. The output can be differentiated in all three tensors.
    """
    layer = KERNELS[kernel](x.shape[1], epsilon, affine=affine is not None, track_running_stats=False).to(x.dtype)
    values = {} if affine is None else dict(zip(("weight", "bias"), affine, strict=True))
    return torch.func.functional_call(layer, values, (x,))  # pyright: ignore[reportArgumentType] - a dict is invariant in its keys
