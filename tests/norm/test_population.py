"""Algorithm 2: the statistics by hand, the model left alone, freezing, and folding."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnrepro.norm import (
    PopulationStatistics,
    ReferenceBatchNorm,
    fold,
    fold_pair,
    freeze,
    population_statistics,
)
from bnrepro.norm.population import FrozenBatchNorm

LAYERS = [ReferenceBatchNorm, nn.BatchNorm1d]


class Block(nn.Module):
    """A linear map or convolution, normalised before or after its activation."""

    def __init__(self, inner: nn.Module, norm: nn.Module, placement: str) -> None:
        super().__init__()
        self.inner_name = "conv" if isinstance(inner, nn.Conv2d) else "linear"
        setattr(self, self.inner_name, inner)
        self.norm, self.activation, self.placement = norm, nn.Sigmoid(), placement

    def forward(self, x: Tensor) -> Tensor:
        x = getattr(self, self.inner_name)(x)
        if self.placement == "before":
            return self.activation(self.norm(x))
        return self.norm(self.activation(x))


def mlp(layer: Callable[..., nn.Module] = ReferenceBatchNorm, placement: str = "before") -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        Block(nn.Linear(8, 12, bias=False), layer(12), placement),
        nn.Dropout(0.3),
        Block(nn.Linear(12, 10), layer(10), placement),
        nn.Linear(10, 4),
    )


def conv_net(layer: Callable[..., nn.Module] = ReferenceBatchNorm) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Block(nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), layer(6), "before"),
        nn.Conv2d(6, 8, 3, groups=2),
        layer(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 4, 5),
    )


def batches(shape: tuple[int, ...], count: int = 6, seed: int = 0) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [3.0 * torch.randn(shape, generator=rng) + 1.0 for _ in range(count)]


def trained(model: nn.Module, shape: tuple[int, ...]) -> Any:
    """A few steps, so that gamma, beta and the running statistics are not the initial ones."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for x in batches(shape, seed=1):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("layer", LAYERS)
def test_statistics_by_hand(layer: Callable[..., nn.Module]) -> None:
    model, data = layer(1), [torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [7.0]])]
    mean, var = population_statistics(model, data)[""]
    assert mean.tolist() == [2.5]  # of 1 and 4
    assert var.tolist() == [10.0]  # 2/1 times the mean of 1 and 9


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (3, 3, 2, 2)])
def test_statistics_of_the_first_layer_are_the_moments_of_the_data(shape: tuple[int, ...]) -> None:
    data = batches(shape)
    statistics = population_statistics(nn.Sequential(nn.Identity(), ReferenceBatchNorm(3)), data)
    features = torch.stack([x.movedim(1, 0).flatten(1) for x in data]).double()
    assert list(statistics) == ["1"]
    torch.testing.assert_close(statistics["1"].mean.double(), features.mean((0, 2)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(statistics["1"].var.double(), features.var(2).mean(0), rtol=1e-5, atol=1e-6)


def test_deeper_layers_see_what_they_see_in_training() -> None:
    model = trained(mlp(), (7, 8))
    model[1] = nn.Identity()
    data = batches((7, 8))
    second = population_statistics(model, data)["2.norm"]
    replica = copy.deepcopy(model).train()
    inputs = [replica[2].linear(replica[0](x)) for x in data]
    expected = torch.stack([x.mean(0) for x in inputs]).mean(0)
    torch.testing.assert_close(second.mean, expected)
    # Not what they see in evaluation:
    inputs = [replica.eval()[2].linear(replica[0](x)) for x in data]
    assert (second.mean - torch.stack([x.mean(0) for x in inputs]).mean(0)).abs().max() > 1e-2


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_random_state_are_left_as_they_were(training: bool) -> None:
    model = trained(mlp(), (7, 8)).train(training)
    model[2].eval()
    modes = [module.training for module in model.modules()]
    before, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first = population_statistics(model, batches((7, 8)))
    assert torch.equal(torch.get_rng_state(), random_state)
    again = population_statistics(model, batches((7, 8)))
    frozen = freeze(model, first)
    fold(frozen)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    # Dropout drops, and the same each time; where it did not, the second layer would see other inputs.
    assert all(torch.equal(first[name].var, again[name].var) for name in first)
    model[1] = nn.Identity()
    assert not torch.allclose(population_statistics(model, batches((7, 8)))["2.norm"].var, first["2.norm"].var)


def test_a_short_last_batch_is_dropped_and_any_other_is_refused() -> None:
    model, data = mlp(), batches((7, 8))
    statistics = population_statistics(model, data)
    with_labels = [(x, torch.zeros(7)) for x in data]
    for same in ([*data, data[0][:3]], with_labels, iter(data)):
        for name, (mean, var) in population_statistics(model, same).items():
            assert torch.equal(mean, statistics[name].mean)
            assert torch.equal(var, statistics[name].var)
    for wrong in ([data[0], data[1][:3], data[2]], [data[0][:3], data[1]]):
        with pytest.raises(ValueError, match="batches must be equal except for a short last one"):
            population_statistics(model, wrong)


def test_what_has_no_population_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="one value per channel"):
        population_statistics(mlp(), batches((1, 8)))
    with pytest.raises(ValueError, match="no batches"):
        population_statistics(mlp(), [])
    with pytest.raises(ValueError, match="no batch normalisation layers"):
        population_statistics(nn.Linear(8, 2), batches((7, 8)))
    # A single image is a batch of h*w values to a convolutional layer.
    assert population_statistics(conv_net(), batches((1, 3, 8, 8)))
    mixed = [torch.ones(2, 3, 4, 4), torch.ones(2, 3, 5, 5)]
    with pytest.raises(ValueError, match="got m = 32, then 50"):
        population_statistics(ReferenceBatchNorm(3), mixed)


@pytest.mark.parametrize("layer", LAYERS)
def test_frozen_layers_are_the_affine_map_of_the_statistics(layer: Callable[..., nn.Module]) -> None:
    model = trained(nn.Sequential(nn.Linear(8, 6), layer(6)), (7, 8))
    statistics = population_statistics(model, batches((7, 8)))
    frozen: Any = freeze(model, statistics)
    x = batches((20, 8), 1)[0]
    mean, var = statistics["1"]
    y = model[0](x)
    gamma, beta = (p.detach() for p in model[1].parameters())
    expected = gamma * (y - mean) / torch.sqrt(var + 1e-5) + beta
    torch.testing.assert_close(frozen(x), expected, rtol=1e-5, atol=1e-5)
    assert not any(module.training for module in frozen.modules())
    # One example at a time or all of them, in training mode too: the map is fixed.
    torch.testing.assert_close(frozen.train()(x[:1]), frozen(x)[:1])
    assert not list(frozen[1].parameters())


def test_with_the_whole_data_set_as_one_batch_inference_matches_training() -> None:
    x = batches((500, 8), 1)[0]
    model = trained(mlp(), (7, 8))
    model[1] = nn.Identity()
    frozen = freeze(model, population_statistics(model, [x]))
    torch.testing.assert_close(frozen(x), model.train()(x), rtol=1e-2, atol=1e-2)  # m/(m-1) = 1.002


def test_freeze_wants_the_statistics_of_every_layer() -> None:
    model = mlp()
    statistics = population_statistics(model, batches((7, 8)))
    with pytest.raises(ValueError, match=r"missing \['2\.norm'\], unknown \['9'\]"):
        freeze(model, {"0.norm": statistics["0.norm"], "9": statistics["2.norm"]})
    with pytest.raises(ValueError, match=r"statistics of shape \(12,\), got \(10,\)"):
        freeze(model, {**statistics, "0.norm": statistics["2.norm"]})


def test_a_shared_layer_is_frozen_wherever_it_stands() -> None:
    norm = ReferenceBatchNorm(8)
    model = nn.Sequential(norm, nn.Linear(8, 8), norm)
    frozen: Any = freeze(model, population_statistics(model, batches((7, 8))))
    assert isinstance(frozen[0], FrozenBatchNorm)
    assert frozen[0] is frozen[2]


@pytest.mark.parametrize("layer", [*LAYERS, lambda c: ReferenceBatchNorm(c, affine=False)])
def test_a_folded_mlp_agrees_to_1e_5(layer: Callable[..., nn.Module]) -> None:
    model = trained(mlp(layer), (7, 8))
    frozen = freeze(model, population_statistics(model, batches((7, 8))))
    folded: Any = fold(frozen)
    x = batches((64, 8), 1)[0]
    assert not [m for m in folded.modules() if isinstance(m, FrozenBatchNorm)]
    assert folded[0].linear.bias is not None
    assert (folded(x) - frozen(x)).abs().max() <= 1e-5 * frozen(x).abs().max()


@pytest.mark.parametrize("layer", [ReferenceBatchNorm, nn.BatchNorm2d])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_folded_conv_net_agrees_to_1e_5(layer: Callable[..., nn.Module], memory_format: torch.memory_format) -> None:
    model = trained(conv_net(layer), (7, 3, 8, 8)).to(memory_format=memory_format)  # type: ignore[call-overload]
    frozen = freeze(model, population_statistics(model, batches((7, 3, 8, 8))))
    folded, x = fold(frozen), batches((16, 3, 8, 8), 1)[0].to(memory_format=memory_format)
    assert not [m for m in folded.modules() if isinstance(m, FrozenBatchNorm)]
    assert (folded(x) - frozen(x)).abs().max() <= 1e-5 * frozen(x).abs().max()


def test_only_layers_that_directly_follow_a_linear_map_are_folded() -> None:
    class Reversed(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            for module in reversed(self):
                input = module(input)
            return input

    relu = nn.ReLU()
    for model in (
        mlp(placement="after"),
        nn.Sequential(relu, nn.Linear(8, 8), relu, ReferenceBatchNorm(8)),
        Reversed(nn.Linear(8, 8), ReferenceBatchNorm(8)),
    ):
        frozen = freeze(model, population_statistics(model, batches((7, 8))))
        folded, x = fold(frozen), batches((64, 8), 1)[0]
        assert [m for m in folded.modules() if isinstance(m, FrozenBatchNorm)]
        assert torch.equal(folded(x), frozen(x))


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def hooked(layer: nn.Module, before: bool) -> nn.Module:
    if before:
        layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    else:
        layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize(
    ("linear", "told"),
    [
        (nn.utils.parametrizations.weight_norm, "parametrised"),
        (nn.utils.parametrizations.spectral_norm, "parametrised"),
        (nn.utils.parametrizations.orthogonal, "parametrised"),
        (nn.utils.spectral_norm, "forward hooks"),
        (nn.utils.weight_norm, "forward hooks"),
        (lambda layer: hooked(layer, before=True), "forward hooks"),
        (lambda layer: hooked(layer, before=False), "forward hooks"),
        (lambda layer: Doubled(*reversed(layer.weight.shape)), "Doubled"),
    ],
)
@pytest.mark.parametrize("block", [True, False], ids=["block", "sequential"])
def test_what_a_map_cannot_stand_for_is_left_unfolded_and_said(
    linear: Callable[[nn.Module], nn.Module], told: str, block: bool
) -> None:
    with torch.no_grad():  # the older normalisations of weights keep a tensor that cannot be copied with its graph
        if block:
            model: Any = mlp()
            model[0].linear = linear(nn.Linear(8, 12))
        else:
            model = nn.Sequential(
                linear(nn.Linear(8, 8)), ReferenceBatchNorm(8), nn.Linear(8, 8), ReferenceBatchNorm(8)
            )
        frozen = freeze(model, population_statistics(model, batches((7, 8))))
        name = "0.linear" if block else "0"
        with pytest.warns(UserWarning, match=rf"left unfolded: {name} \(.*{told}"):
            folded, x = fold(frozen), batches((64, 8), 1)[0]
        left = [path for path, module in folded.named_modules() if isinstance(module, FrozenBatchNorm)]
        assert left == (["0.norm"] if block else ["1"])
        torch.testing.assert_close(folded(x), frozen(x), rtol=1e-5, atol=1e-5)


def test_hooks_of_a_normaliser_are_not_dropped_in_silence() -> None:
    model: Any = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8))
    hooked(model[1], before=False)
    with pytest.warns(UserWarning, match="hooks of '1' are not part"):
        frozen: Any = freeze(model, population_statistics(model, batches((7, 8))))
    hooked(frozen[3], before=False)
    x = batches((64, 8), 1)[0]
    with pytest.warns(UserWarning, match="left unfolded: 2 "):
        folded = fold(frozen)
    torch.testing.assert_close(folded(x), frozen(x), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="forward hooks"):
        fold_pair(frozen[2], frozen[3])


def test_fold_pair_refuses_what_it_cannot_fold() -> None:
    statistics = PopulationStatistics(torch.zeros(3), torch.ones(3))
    norm = FrozenBatchNorm(ReferenceBatchNorm(3), statistics)
    with pytest.raises(TypeError, match="only a Linear or a Conv2d can be folded, got Conv1d"):
        fold_pair(nn.Conv1d(2, 3, 1), norm)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the layer has 4 outputs, the norm 3 features"):
        fold_pair(nn.Linear(2, 4), norm)


def test_half_precision_models_keep_float32_statistics() -> None:
    model = mlp().to(torch.bfloat16)
    data = [x.to(torch.bfloat16) for x in batches((16, 8))]
    statistics = population_statistics(model, data)
    assert all(mean.dtype == var.dtype == torch.float32 for mean, var in statistics.values())
    y = freeze(model, statistics)(data[0])
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()
