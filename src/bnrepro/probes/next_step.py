"""The next training step: its mini-batch, its learning rate, its loss as a function of the parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.config.schedule import learning_rate
from bnrepro.config.schema import Config
from bnrepro.data import Dataset, ExampleOrder, augment
from bnrepro.models import memory_format, parameter_dtype
from bnrepro.probes.base import forward_on_copies, gpus, restoring

Parameters = dict[str, Tensor]
Loss = Callable[[Parameters], Tensor]
"""A differentiable scalar loss of named parameters; equal parameters always give the same value."""


class NextStep:
    """The training step that follows a given number of updates, even after the last one of a run.

    The order of examples continues forever, so every step has a mini-batch.
    """

    def __init__(self, config: Config, data: Dataset) -> None:
        self.config, self.examples = config, data.train
        self.order = ExampleOrder(config, len(data.train))

    def at(self, model: nn.Module, step: int) -> tuple[NextLoss, Parameters, float]:
        """The loss of the step, the current parameters of ``model``, and the learning rate."""
        return NextLoss(model, *self.batch(step)), parameters_of(model), self.rate(step)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (batch_size, channels, height, width), augmented, and labels (batch_size,)."""
        config, chosen = self.config, self.order.batch(step)
        images = self.examples.images.index_select(0, chosen)
        images = images.to(config.device, parameter_dtype(config), memory_format=memory_format(config))
        labels = self.examples.labels.index_select(0, chosen).to(config.device)
        return augment(images, config.augmentation, config.seed, step), labels

    def rate(self, step: int) -> float:
        """The learning rate of the step."""
        return learning_rate(self.config.optimizer, step, self.config.steps)


class NextLoss:
    """The mean cross-entropy of a mini-batch as a function of the network's parameters, as the next step computes it.

    The network runs in training mode, with the statistics of the mini-batch and the random numbers that the next step
    will draw. Equal calls give equal values. Nothing changes in the network: each pass uses the given parameters and
    copies of its buffers, and modes and random states are restored.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.model, self.images, self.labels = model, images, labels
        self.devices = gpus(model)

    def __call__(self, parameters: Parameters) -> Tensor:
        with self._training():
            return self._loss(parameters)

    def draws(self, parameters: Parameters) -> bool:
        """Whether a pass draws random numbers, as dropout does."""
        with self._training(), torch.no_grad():
            before = self._random_states()
            self._loss(parameters)
            return not all(map(torch.equal, before, self._random_states()))

    def redrawn_before(self, layer: nn.Module) -> Loss:
        """The same loss, except that all layers before ``layer`` draw the random numbers of one training step later."""

        def loss(parameters: Parameters) -> Tensor:
            there: list[list[Tensor]] = []

            def at_layer(*_: object) -> None:
                if there:
                    self._set_random_states(there[0])
                else:
                    there.append(self._random_states())

            handle = layer.register_forward_pre_hook(at_layer)
            try:
                with self._training():
                    with torch.no_grad():
                        self._loss(parameters)
                    return self._loss(parameters)
            finally:
                handle.remove()

        return loss

    def _loss(self, parameters: Parameters) -> Tensor:
        return F.cross_entropy(forward_on_copies(self.model, self.images, parameters), self.labels)

    @contextlib.contextmanager
    def _training(self) -> Iterator[None]:
        with restoring(self.model), torch.enable_grad():
            self.model.train()
            yield

    def _random_states(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self.devices)]

    def _set_random_states(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self.devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)


def parameters_of(model: nn.Module) -> Parameters:
    """The parameters of ``model`` by name, outside any graph. They are not copies: do not change them in place."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def gradient(loss: Loss, parameters: Parameters, of: Sequence[str] | None = None) -> tuple[float, Parameters]:
    """The loss at ``parameters``, and its gradient with respect to the parameters named in ``of`` (None: all)."""
    wanted = list(parameters) if of is None else list(of)
    leaves = {name: parameters[name].detach().requires_grad_() for name in wanted}
    value = loss(parameters | leaves)
    found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    return value.item(), dict(zip(wanted, found, strict=True))


def moved(parameters: Parameters, gradients: Parameters, rate: float) -> Parameters:
    """``parameters`` after a step of ``rate`` against ``gradients``; parameters without a gradient stay."""
    return parameters | {name: parameters[name] - rate * found for name, found in gradients.items()}


def norm(gradients: Parameters) -> float:
    """L2 norm of ``gradients`` as one vector, in double precision."""
    return sum(found.double().square().sum().item() for found in gradients.values()) ** 0.5


def distance(one: Parameters, other: Parameters) -> float:
    """L2 distance of two gradients of the same parameters, each as one vector."""
    return norm({name: one[name].double() - other[name].double() for name in one})


def shown(value: float) -> str:
    """A number as it appears in a table: ``inf`` for anything that is not finite."""
    return f"{value:.6g}" if abs(value) < float("inf") else "inf"
