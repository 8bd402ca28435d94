"""A user's own normaliser makes one training step on its own before the run starts, so that a fault costs nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro import users_code
from bnrepro.config.identity import is_own, norm_name
from bnrepro.config.randomness import generator
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError, UserError
from bnrepro.models import build_model, enough_memory, memory_format, parameter_dtype
from bnrepro.models.blocks import Activated, PerActivation
from bnrepro.norm.cause import cause

MODERATE = 1e6
"""Scores beyond this come from weights so large that a gradient may overflow through no fault of the normaliser."""


def try_out(config: Config, example_shape: tuple[int, ...], classes: int) -> None:
    """Raise :class:`ConfigError` if the own normaliser of ``config`` fails in a training step or in evaluation.

    It does if it raises, if an output is no tensor of the input's shape or not finite, if it cuts the gradient or makes
    it not finite. The network is one of its own and the batch is noise of the size that each process gets; the random
    states are put back, so that nothing of the run changes. Our own and the library's normalisers pass unseen.
    """
    if not is_own(config.norm):
        return
    cuda = config.device == "cuda"
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else ()), enough_memory(config):
        model = _built(config, example_shape, classes)
        dtype, layout = parameter_dtype(config), memory_format(config)
        model.to(config.device, dtype, memory_format=layout)  # pyright: ignore[reportCallIssue]
        size, noise = config.batch_size // config.processes, generator(config.seed, "trial")
        images = torch.randn(size, *example_shape, generator=noise).to(config.device, dtype, memory_format=layout)
        _watch(model)
        autocast = config.precision == "bfloat16"
        arithmetic = torch.autocast(config.device, torch.bfloat16) if autocast else contextlib.nullcontext()
        phase = "training"
        try:
            with torch.enable_grad(), arithmetic:
                _step(model, images, classes)
            phase = "evaluation"
            with torch.inference_mode(), arithmetic:
                model.eval()(images)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a user's own code may raise
            raise ConfigError(f"norm={norm_name(config.norm)} fails in {phase}: {cause(error)}") from error


@contextlib.contextmanager
def own_code(config: Config) -> Iterator[None]:
    """Raise what a user's own normaliser raises later, in the middle of a training, as a :class:`ConfigError` too."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_own(config.norm) or not users_code.is_in(error):
            raise
        raise ConfigError(f"norm={norm_name(config.norm)} fails in training: {cause(error)}") from error


def _built(config: Config, example_shape: tuple[int, ...], classes: int) -> nn.Module:
    try:
        return build_model(config, example_shape, classes)
    except SystemExit as error:
        raise ConfigError(f"norm={norm_name(config.norm)} cannot be built: its module ends the program") from error


def _step(model: nn.Module, images: Tensor, classes: int) -> None:
    labels = torch.arange(len(images), device=images.device) % classes
    scores = model.train()(images)
    F.cross_entropy(scores, labels).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if scores.abs().max() < MODERATE and not all(gradient.isfinite().all() for gradient in gradients):
        raise ValueError("its gradient is not finite")


def _watch(model: nn.Module) -> None:
    """Have every normaliser of ``model`` judged at each pass."""
    for block in model.modules():
        if isinstance(block, Activated) and block.norm is not None:
            layer = block.norm.norm if isinstance(block.norm, PerActivation) else block.norm
            judge = _Judge()
            layer.register_forward_pre_hook(judge.before)
            layer.register_forward_hook(judge.after)


class _Judge:
    """What a normaliser gets is looked at before it works, since it may work in place."""

    shape: torch.Size
    ordinary: bool

    def before(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.shape = inputs[0].shape
        self.ordinary = bool(inputs[0].square().sum().isfinite())

    def after(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if not isinstance(output, Tensor):
            raise TypeError(f"it returns {type(output).__name__}, not a tensor")
        if output.shape != self.shape:
            raise ValueError(f"it turns the shape {tuple(self.shape)} into {tuple(output.shape)}")
        if self.ordinary and not output.isfinite().all():
            raise ValueError("its output is not finite")
        if torch.is_grad_enabled() and not output.requires_grad:
            raise ValueError("its output is cut off from its input: no gradient reaches the layers before it")
