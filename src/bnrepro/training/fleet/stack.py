"""The networks of a fleet as one: every parameter of every run in one matrix, a row for each run."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

ALIGNED = 16
"""Each tensor starts at a multiple of this many elements, so that kernels treat it alike in every row."""


class Stack(ABC):
    """``width`` networks of the same shape as ``model``, each in a place of its own.

    ``parameters``, ``gradients`` and ``velocities`` are (width, elements); ``weights``, ``slopes`` and ``buffers`` hold
    the same memory as (width, …) by the names in ``model.state_dict()``. No place ever reads another.
    """

    def __init__(self, model: nn.Module, width: int) -> None:
        self.width = width
        named = dict(model.named_parameters())
        first = next(iter(named.values()))
        self.device, self.dtype = first.device, first.dtype
        sizes = [-(-tensor.numel() // ALIGNED) * ALIGNED for tensor in named.values()]
        self._starts = dict(zip(named, itertools.accumulate(sizes, initial=0), strict=False))
        self._shapes = {name: tensor.shape for name, tensor in named.items()}
        self.parameters, self.gradients, self.velocities = (first.new_zeros(width, sum(sizes)) for _ in range(3))
        self.weights, self.slopes = self._parts(self.parameters), self._parts(self.gradients)
        self.buffers = {name: tensor.new_zeros(width, *tensor.shape) for name, tensor in model.named_buffers()}

    def _parts(self, matrix: Tensor) -> dict[str, Tensor]:
        """Views (width, *shape) by name."""
        return {
            name: matrix[:, start : start + self._shapes[name].numel()].unflatten(1, self._shapes[name])
            if self._shapes[name]
            else matrix[:, start]
            for name, start in self._starts.items()
        }

    # ------------------------------------------------------------------------------- the state of one place

    @torch.no_grad()
    def load(self, place: int, state: dict[str, Tensor], velocities: Sequence[Tensor]) -> None:
        """Put a network there, by its ``state_dict``, and the velocities of its parameters, none at the first step."""
        for name, tensor in state.items():
            (self.weights if name in self.weights else self.buffers)[name][place].copy_(tensor)
        self.gradients[place].zero_()
        self.velocities[place].zero_()
        for part, velocity in zip(self._parts(self.velocities).values(), velocities, strict=bool(velocities)):
            part[place].copy_(velocity)

    def fetch(self, place: int, model: nn.Module) -> None:
        """Copy the network there into ``model``."""
        here = {name: tensor[place] for name, tensor in (self.weights | self.buffers).items()}
        model.load_state_dict(here, strict=True)

    def velocities_at(self, place: int) -> list[Tensor]:
        """Copies of the velocities there, in the order of the parameters."""
        return [part[place].clone() for part in self._parts(self.velocities).values()]

    # ----------------------------------------------------------------------------------- all places at once

    @abstractmethod
    def draws(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """The random numbers of one training step: each place draws from its own generator, in the order of a run that
        trains alone."""

    @abstractmethod
    def losses(self, images: Tensor, labels: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """The mean cross-entropy (width,) of a mini-batch for each place, in training mode; fills ``gradients``.

        ``images`` are (width, N, channels, height, width of an image), ``labels`` (width, N).
        """

    @abstractmethod
    def scores(self, images: Tensor) -> Tensor:
        """Class scores (width, n, classes) as at inference.

        ``images`` are (n, channels, height, width of an image), the same for all places, or (width, n, …).
        """


def dropout_mask(stack: Stack, shape: Sequence[int], share: float, own: torch.Generator) -> Tensor:
    """A mask as ``F.dropout`` draws and scales it, from a run's own generator: the same bits on a CPU."""
    kept = 1 - share
    mask = torch.empty(shape, device=stack.device, dtype=stack.dtype)
    return mask.bernoulli_(kept, generator=own).div_(kept)


class Stepper:
    """Momentum SGD of every place with a rate, momentum and weight decay of its own.

    Bit for bit ``torch.optim.SGD(fused=True)``, as :class:`~bnrepro.training.optimizer.SGD` is: on a CPU by the same
    kernel, a call for each row; elsewhere by its equations, whose operations do not depend on the values.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.rows = [list(rows) for rows in zip(stack.parameters, stack.gradients, stack.velocities, strict=True)]
        self.momentum: list[float] = [0.0] * stack.width
        self.weight_decay: list[float] = [0.0] * stack.width

    def set(self, place: int, momentum: float, weight_decay: float) -> None:
        self.momentum[place], self.weight_decay[place] = momentum, weight_decay

    @torch.no_grad()
    def by_kernel(self, rates: Sequence[float]) -> None:
        """One update of each place with a rate above 0."""
        for rate, momentum, decay, (row, slope, velocity) in zip(
            rates, self.momentum, self.weight_decay, self.rows, strict=True
        ):
            if rate:
                torch._fused_sgd_(  # pyright: ignore[reportPrivateImportUsage, reportCallIssue]
                    [row], [slope], [velocity] if momentum else [], weight_decay=decay, momentum=momentum, lr=rate,
                    dampening=0.0, nesterov=False, maximize=False, is_first_step=False,
                )  # fmt: skip

    @torch.no_grad()
    def by_equations(self, rates: Tensor, settings: tuple[Tensor, Tensor]) -> None:
        """v ← momentum·v + g + weight_decay·w; w ← w − rate·v, for (width, 1) rates and :meth:`settings`."""
        momentum, decay = settings
        stack = self.stack
        # The kernel fuses these two products with their sums, and the one between them not: so do these operations.
        slopes = torch.addcmul(stack.gradients, stack.parameters, decay)
        stack.velocities.mul_(momentum).add_(slopes)
        stack.parameters.addcmul_(stack.velocities, rates, value=-1)

    def settings(self) -> tuple[Tensor, Tensor]:
        """Momentum and weight decay of every place, (width, 1) on the host."""
        momentum, decay = (torch.tensor(each, dtype=self.stack.dtype) for each in (self.momentum, self.weight_decay))
        return momentum[:, None], decay[:, None]
