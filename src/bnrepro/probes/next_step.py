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

Parameters = dict[str, Tensor]
Loss = Callable[[Parameters], Tensor]
"""A differentiable loss (a scalar) of named parameters; the same value whenever it is called with the same ones."""


class NextStep:
    """What the training step that follows a given number of updates sees: also after a run's last one, since the
    order of examples goes on for ever."""

    def __init__(self, config: Config, data: Dataset) -> None:
        self.config, self.examples = config, data.train
        self.order = ExampleOrder(config, len(data.train))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (batch_size, channels, height, width), augmented, and labels (batch_size,)."""
        config, chosen = self.config, self.order.batch(step)
        images = self.examples.images.index_select(0, chosen)
        layout = memory_format(config)
        images = images.to(config.device, parameter_dtype(config), memory_format=layout)
        labels = self.examples.labels.index_select(0, chosen).to(config.device)
        return augment(images, config.augmentation, config.seed, step), labels

    def rate(self, step: int) -> float:
        """The learning rate of the update."""
        return learning_rate(self.config.optimizer, step, self.config.steps)


class NextLoss:
    """The mean cross-entropy of a mini-batch as a function of the network's parameters, as the next training step
    computes it: in training mode, by the mini-batch's statistics, with the random numbers that it will draw.

    It can be asked any number of times and answers each time alike. Nothing of the network is touched: it is called
    with the parameters that are given and with copies of its buffers, and modes and random states are put back.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.model, self.images, self.labels = model, images, labels
        self.devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})

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
        """The same loss, but all that runs before ``layer`` draws the random numbers of one training step later."""

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
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        return F.cross_entropy(
            torch.func.functional_call(self.model, parameters | buffers, (self.images,)), self.labels
        )

    @contextlib.contextmanager
    def _training(self) -> Iterator[None]:
        modes = [(module, module.training) for module in self.model.modules()]
        with torch.random.fork_rng(devices=self.devices), torch.enable_grad():
            self.model.train()
            try:
                yield
            finally:
                for module, mode in modes:
                    module.training = mode

    def _random_states(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self.devices)]

    def _set_random_states(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self.devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)


def parameters_of(model: nn.Module) -> Parameters:
    """The parameters of ``model`` by name, outside any graph. Not copies: they are not to be changed in place."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def gradient(loss: Loss, parameters: Parameters, of: Sequence[str] | None = None) -> tuple[float, Parameters]:
    """The loss at ``parameters``, and its gradient with respect to those named in ``of`` (None: all of them)."""
    wanted = list(parameters) if of is None else list(of)
    leaves = {name: parameters[name].detach().requires_grad_() for name in wanted}
    value = loss(parameters | leaves)
    found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    return value.item(), dict(zip(wanted, found, strict=True))


def moved(parameters: Parameters, gradients: Parameters, rate: float) -> Parameters:
    """``parameters`` after a step of ``rate`` against ``gradients``; those without a gradient stay."""
    return parameters | {name: parameters[name] - rate * found for name, found in gradients.items()}


def norm(gradients: Parameters) -> float:
    """L2 norm of all of ``gradients`` as one vector, in double precision."""
    return sum(found.double().square().sum().item() for found in gradients.values()) ** 0.5


def distance(one: Parameters, other: Parameters) -> float:
    """L2 distance of two gradients of the same parameters, each as one vector."""
    return norm({name: one[name].double() - other[name].double() for name in one})


def shown(value: float) -> str:
    """A number as a probe's table holds it: what is not finite is ``inf``, beyond what can be computed."""
    return f"{value:.6g}" if abs(value) < float("inf") else "inf"
