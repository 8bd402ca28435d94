"""Momentum SGD as ``torch.optim.SGD(fused=True)`` computes it, bit for bit, without the start-up time of that class.

The constructor of ``torch.optim.Optimizer`` imports ``torch._dynamo``, which takes longer than a short run. The kernel
behind it has no public name: this file alone uses the private one that torch itself calls. A test compares both
optimisers over momentum, weight decay and types.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bnrepro.config.schema import OptimizerConfig


class SGD:
    """v ← momentum·v + g + weight_decay·w; w ← w − ``rate``·v. The first v is the first gradient.

    ``rate`` may be set before any step. Parameters without a gradient stay as they are.
    """

    def __init__(self, parameters: Iterable[Tensor], config: OptimizerConfig) -> None:
        self.parameters = list(parameters)
        self.rate, self.momentum, self.weight_decay = config.lr, config.momentum, config.weight_decay
        self._velocities: list[Tensor] = []

    @torch.no_grad()
    def step(self) -> None:
        moving, gradients = [], []
        for parameter in self.parameters:
            if parameter.grad is not None:
                moving.append(parameter)
                gradients.append(parameter.grad)
        if not moving:
            return
        first = self.momentum != 0 and not self._velocities
        if first:
            self._velocities = [torch.empty_like(gradient) for gradient in gradients]
        torch._fused_sgd_(  # pyright: ignore[reportPrivateImportUsage, reportCallIssue]
            moving,
            gradients,
            self._velocities,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=first,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"velocities": self._velocities}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ``ValueError`` if ``state`` belongs to another network."""
        velocities = state["velocities"]
        if velocities and [v.shape for v in velocities] != [p.shape for p in self.parameters]:
            raise ValueError("the velocities have other shapes than the parameters")
        self._velocities = [
            velocity.to(parameter.device, parameter.dtype, memory_format=torch.preserve_format)
            for velocity, parameter in zip(velocities, self.parameters, strict=bool(velocities))
        ]
