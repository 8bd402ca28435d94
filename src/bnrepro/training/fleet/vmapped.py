"""Any network, stacked by ``torch.vmap``: the module stays an ordinary one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnrepro.probes import watching
from bnrepro.training.fleet.stack import Stack, dropout_mask

MASK = "mask"


class FlatGroupNorm(nn.GroupNorm):
    """The same layer, its positions in one dimension: for images the kernel asks for a memory format, which
    ``torch.vmap`` cannot answer."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(2)).view(input.shape) if input.dim() > 3 else super().forward(input)


class GivenDropout(nn.Module):
    """Dropout whose mask is given from outside, as a buffer."""

    mask: Tensor

    def __init__(self, share: float, shape: torch.Size) -> None:
        super().__init__()
        self.share, self.shape = share, shape
        self.register_buffer(MASK, torch.ones(shape), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask if self.training else x


class VmappedStack(Stack):
    """Stacked networks of any kind. ``model`` becomes part of the stack; ``images`` (N, …) is a mini-batch for it.

    A layer that draws random numbers, except dropout, or branches on its data, is refused by ``torch.vmap`` with a
    ``RuntimeError``.
    """

    def __init__(self, model: nn.Module, width: int, images: Tensor) -> None:
        super().__init__(model, width)
        self.model = model
        self.masked = _with_given_masks(model, images)
        for module in model.modules():
            if isinstance(module, nn.GroupNorm):
                module.__class__ = FlatGroupNorm
        self._call = torch.vmap(self._scores, in_dims=(0, 0))
        self._call_alike = torch.vmap(self._scores, in_dims=(0, None))

    def _scores(self, values: dict[str, Tensor], images: Tensor) -> Tensor:
        return torch.func.functional_call(self.model, values, (images,))

    def draws(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        return [
            torch.stack([dropout_mask(self, layer.shape, layer.share, own) for own in generators])
            for layer in self.masked.values()
        ]

    def losses(self, images: Tensor, labels: Tensor, draws: Sequence[Tensor]) -> Tensor:
        self.model.train()
        masks = {f"{name}.{MASK}": mask for name, mask in zip(self.masked, draws, strict=True)}
        with torch.enable_grad():
            leaves = {name: weight.detach().requires_grad_() for name, weight in self.weights.items()}
            scores = self._call(leaves | self.buffers | masks, images)
            each = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
            losses = each.view(labels.shape).mean(1)
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True, allow_unused=True)
        with torch.no_grad():
            for slope, value in zip(self.slopes.values(), found, strict=True):
                slope.copy_(value)
        return losses.detach()

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        self.model.eval()
        call: Callable[..., Tensor] = self._call_alike if images.dim() == 4 else self._call
        return call(self.weights | self.buffers, images)


def _with_given_masks(model: nn.Module, images: Tensor) -> dict[str, GivenDropout]:
    """Replace the dropout layers of ``model``, in the order in which they draw, and return them by name."""
    shapes: dict[str, torch.Size] = {}
    names: dict[nn.Module, str] = {
        module: name for name, module in model.named_modules() if isinstance(module, nn.Dropout)
    }

    def called(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[names[module]] = output.shape

    handles = [module.register_forward_hook(called) for module in names]
    with watching(model):
        model(images)
    for handle in handles:
        handle.remove()
    given = {}
    for name, shape in shapes.items():
        dropout = model.get_submodule(name)
        assert isinstance(dropout, nn.Dropout)
        given[name] = GivenDropout(dropout.p, shape).to(images.device, images.dtype)
        model.set_submodule(name, given[name])
    return given
