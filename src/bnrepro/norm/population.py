"""Algorithm 2: population statistics, layers frozen into affine maps, and the maps folded into their neighbours.

    statistics = population_statistics(model, batches)   # steps 7 to 10
    frozen = freeze(model, statistics)                    # step 11
    folded = fold(frozen)                                 # the affine map joins the layer before it

Batch normalisation layers are PyTorch's (``nn.BatchNorm1d`` and its relatives) and ``ReferenceBatchNorm``. No function
changes the model it is given: each works on a deep copy.
"""

import copy
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.nn.utils.parametrize import is_parametrized

from bnrepro.norm.functional import batch_norm_inference, batch_statistics, values_per_channel

FOLDABLE = (nn.Linear, nn.Conv2d)


class PopulationStatistics(NamedTuple):
    """E[x] and Var[x] of the input of one layer, each of shape (C,)."""

    mean: Tensor
    var: Tensor


class FrozenBatchNorm(nn.Module):
    """The fixed affine map of Algorithm 2, step 11: no parameters, the same in training and evaluation.

    Its buffers ``running_mean``, ``running_var``, ``weight`` and ``bias`` are those of ``layer``, except that E[x] and
    Var[x] of ``statistics`` replace the moving averages. Raises ``ValueError`` if these are not of shape (C,).
    """

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, layer: _BatchNorm, statistics: PopulationStatistics) -> None:
        super().__init__()
        mean, var = statistics
        self.num_features, self.eps = layer.num_features, layer.eps
        if mean.shape != (self.num_features,) or var.shape != (self.num_features,):
            raise ValueError(
                f"expected statistics of shape ({self.num_features},), got {tuple(mean.shape)} and {tuple(var.shape)}"
            )
        gamma, beta = layer.weight, layer.bias
        self.register_buffer("running_mean", mean.clone())
        self.register_buffer("running_var", var.clone())
        self.register_buffer("weight", torch.ones_like(mean) if gamma is None else gamma.detach().clone())
        self.register_buffer("bias", torch.zeros_like(mean) if beta is None else beta.detach().clone())

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"

    def forward(self, input: Tensor) -> Tensor:
        return batch_norm_inference(input, self.running_mean, self.running_var, self.weight, self.bias, self.eps)


class _Moments:
    """Collects one layer's batch statistics over the mini-batches, as a forward pre-hook."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.m = 0
        self.means: list[Tensor] = []
        self.variances: list[Tensor] = []

    def observe(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Add mu_B and sigma2_B of the mini-batch that enters the layer."""
        shape, m = tuple(args[0].shape), values_per_channel(args[0])
        if m < 2:
            raise ValueError(
                f"layer '{self.name}': a batch of one value per channel, shape {shape}: m/(m-1) is undefined"
            )
        if self.m not in (0, m):
            raise ValueError(f"layer '{self.name}': batches must be equal, got m = {self.m}, then {m}")
        self.m = m
        mean, var = batch_statistics(args[0])
        self.means.append(mean)
        self.variances.append(var)

    def population(self) -> PopulationStatistics:
        """Step 10: E[x] = mean of mu_B; Var[x] = m/(m-1) times the mean of sigma2_B."""
        mean = torch.stack(self.means).mean(0)
        var = torch.stack(self.variances).mean(0) * (self.m / (self.m - 1))
        return PopulationStatistics(mean, var)


def population_statistics(
    model: nn.Module, batches: Iterable[Tensor | Sequence[Tensor]]
) -> dict[str, PopulationStatistics]:
    """Algorithm 2, steps 7 to 10: E[x] and Var[x] of the input of every batch normalisation layer.

    The network runs as in training: each layer normalises by the statistics of the mini-batch, and dropout drops. For a
    convolutional layer m is the effective mini-batch N·H·W (§3.2). The model stays as it was: weights, running
    statistics, mode, and the random state of the CPU and of its GPUs.

    ``model`` is the trained network; its copy runs entirely in training mode. ``batches`` are mini-batches of N
    examples each, tensors or tuples that begin with one, on the model's device. The first batch sets N; a shorter
    *last* batch is dropped.

    Returns the statistics of every layer that was reached, by its name in ``model.named_modules()``, in the type of the
    layer's input, or float32 for half precision. Raises ``ValueError`` for no batches, no such layers, batches of
    different sizes other than a short last one, or a batch of one value per channel, where m/(m-1) is undefined.
    """
    network = copy.deepcopy(model).train()
    moments = {name: _Moments(name) for name, _ in _batch_norms(network)}
    if not moments:
        raise ValueError("the model has no batch normalisation layers")
    for name, layer in _batch_norms(network):
        layer.register_forward_pre_hook(moments[name].observe)
    gpus = {p.device for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(gpus)), torch.no_grad():
        for inputs in _equal_batches(batches):
            network(inputs)
    reached = {name: record.population() for name, record in moments.items() if record.means}
    if not reached:
        raise ValueError("no batches, or none that reached a batch normalisation layer")
    return reached


def freeze(model: nn.Module, statistics: Mapping[str, PopulationStatistics]) -> nn.Module:
    """Algorithm 2, step 11: a copy of ``model`` whose batch normalisation layers are fixed affine maps.

    ``statistics`` come from :func:`population_statistics` and cover every batch normalisation layer of ``model``. The
    copy is in evaluation mode. Forward hooks of a replaced layer stay behind, with a warning. Raises ``ValueError`` if
    a layer has no statistics, if statistics name no layer, or if their shapes differ.
    """
    frozen = copy.deepcopy(model).eval()
    layers = dict(_batch_norms(frozen))
    if layers.keys() != statistics.keys():
        missing = sorted(layers.keys() - statistics.keys())
        unknown = sorted(statistics.keys() - layers.keys())
        raise ValueError(f"statistics do not fit the model: missing {missing}, unknown {unknown}")
    if hooked := [name for name, layer in layers.items() if _has_hooks(layer)]:
        warnings.warn(f"the hooks of {', '.join(map(repr, hooked))} are not part of the affine maps", stacklevel=2)
    maps: dict[nn.Module, FrozenBatchNorm] = {
        layer: FrozenBatchNorm(layer, statistics[name]).eval() for name, layer in layers.items()
    }
    if frozen in maps:
        return maps[frozen]
    # A layer may appear in several places: replace all of them.
    for path, module in list(frozen.named_modules(remove_duplicate=False)):
        if module in maps:
            frozen.set_submodule(path, maps[module])
    return frozen


def fold_pair(layer: nn.Linear | nn.Conv2d, norm: FrozenBatchNorm) -> nn.Linear | nn.Conv2d:
    """A new layer that computes ``norm(layer(x))``: the affine map goes into weight and bias (§3.1).

    ``layer`` is a Linear applied to (N, features) inputs, or a Conv2d; ``norm`` is the frozen normalisation of its
    outputs. The new layer is of the same kind, with a bias, in evaluation mode.

    Raises ``TypeError`` for a layer of another type: subclasses, such as parametrised layers, may compute something
    else from their weights. Raises ``ValueError`` if one of the two has forward hooks, or if ``norm`` has another
    number of channels than ``layer`` has outputs.
    """
    if type(layer) not in FOLDABLE:
        raise TypeError(f"only a Linear or a Conv2d can be folded, got {type(layer).__name__}")
    if obstacle := _obstacle(layer, norm):
        raise ValueError(f"this layer cannot be folded: {obstacle}")
    outputs = layer.weight.shape[0]
    if outputs != norm.num_features:
        raise ValueError(f"the layer has {outputs} outputs, the norm {norm.num_features} features")
    folded = copy.deepcopy(layer).eval()
    affine = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    if isinstance(folded, nn.Linear):
        folded.weight, folded.bias = fuse_linear_bn_weights(folded.weight, folded.bias, *affine)
    else:
        folded.weight, folded.bias = fuse_conv_bn_weights(folded.weight, folded.bias, *affine)
    return folded


def fold(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in which frozen layers that directly follow a linear map are folded into it.

    ``model`` comes from :func:`freeze`. A frozen layer follows directly as a neighbour in an ``nn.Sequential``, and as
    the ``norm`` of a block that has a ``linear`` or ``conv`` and whose ``placement`` is ``before``. A folded norm
    becomes ``nn.Identity``. All other frozen layers, such as those after the activation, remain affine maps. So do
    those whose linear map has forward hooks, a parametrised weight (spectral or weight normalisation) or a class of its
    own; a warning names them. Inputs of a Linear are assumed to be (N, features). The folded network is in evaluation
    mode and equals ``model`` up to rounding.
    """
    folded = copy.deepcopy(model).eval()
    names = {module: name for name, module in folded.named_modules()}
    left: list[str] = []
    for module, first, second in list(_pairs(folded)):
        layer, norm = module.get_submodule(first), module.get_submodule(second)
        if not (isinstance(layer, FOLDABLE) and isinstance(norm, FrozenBatchNorm)):
            continue
        if obstacle := _obstacle(layer, norm):
            left.append(f"{names[layer]} ({obstacle})")
        else:
            module.set_submodule(first, fold_pair(layer, norm))
            module.set_submodule(second, nn.Identity())
    if left:
        warnings.warn(f"left unfolded: {', '.join(left)}", stacklevel=2)
    return folded


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """A module with the names of two children, of which the second is applied to the output of the first."""
    for module in model.modules():
        if getattr(module, "placement", None) == "before":
            first = "linear" if hasattr(module, "linear") else "conv"
            if all(isinstance(getattr(module, name, None), nn.Module) for name in (first, "norm")):
                yield module, first, "norm"
        # A subclass with its own forward may run its children in another order.
        elif isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            names = module.named_modules(remove_duplicate=False)
            for first, second in itertools.pairwise(name for name, _ in names if name and "." not in name):
                yield module, first, second


def _obstacle(layer: nn.Module, norm: nn.Module) -> str | None:
    """What keeps the output of ``norm(layer(x))`` from being the affine map of their weights; None if nothing does."""
    if is_parametrized(layer):
        return "its weight is parametrised"
    if type(layer) not in FOLDABLE:
        return f"{type(layer).__name__} may compute something else from its weight"
    return "it has forward hooks" if _has_hooks(layer) or _has_hooks(norm) else None


def _has_hooks(module: nn.Module) -> bool:
    """Whether functions run around ``module``'s forward. The older spectral and weight normalisation are such hooks."""
    return bool(module._forward_hooks or module._forward_pre_hooks)  # torch has no public name for them


def _batch_norms(model: nn.Module) -> Iterator[tuple[str, _BatchNorm]]:
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            yield name, module


def _equal_batches(batches: Iterable[Tensor | Sequence[Tensor]]) -> Iterator[Tensor]:
    size = 0
    short = False
    for batch in batches:
        inputs = batch if isinstance(batch, Tensor) else batch[0]
        size = size or len(inputs)
        if short or len(inputs) > size:
            raise ValueError(f"batches must be equal except for a short last one; the first has {size} examples")
        short = len(inputs) < size
        if not short:
            yield inputs
