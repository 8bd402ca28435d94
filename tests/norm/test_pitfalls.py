"""Each reader's variant differs from the reference in what its docstring says, and in nothing else."""

import copy
from itertools import pairwise

import pytest
import torch
from norm_agreement import Case
from torch import Tensor, nn

import bnrepro.norm
from bnrepro.norm import ReferenceBatchNorm, batch_norm_train
from bnrepro.norm import pitfalls as variants

ALL = [value for value in vars(variants).values() if getattr(value, "__module__", "") == variants.__name__]
CASE = Case((6, 3), torch.float32, mean_over_std=2.0, std=3.0)


def grad_of(layer: nn.Module) -> Tensor:
    x = CASE.batch().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x), x, CASE.output_gradient())
    return gradient


def test_there_are_ten_and_none_is_exported() -> None:
    assert len(ALL) == 10
    assert not {variant.__name__ for variant in ALL} & set(vars(bnrepro.norm))


@pytest.mark.parametrize("variant", ALL, ids=lambda variant: variant.__name__)
def test_each_trains_evaluates_and_says_what_it_does(variant: type[nn.Module]) -> None:
    layer = variant(3)
    assert layer.num_features == 3
    assert (variant.__doc__ or "").startswith(("Wrong", "Right", "Another"))
    gradient = grad_of(layer)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    assert layer.eval()(CASE.batch()).isfinite().all()


@pytest.mark.parametrize(
    "variant",
    [
        variants.SwappedMomentum,
        variants.BiasedRunningVariance,
        variants.PlainTensorAffine,
        variants.GraphedRunningMean,
        variants.DetachedStatistics,
        variants.NoAffine,
    ],
)
def test_these_normalise_as_the_reference_does(variant: type[nn.Module]) -> None:
    torch.testing.assert_close(variant(3)(CASE.batch()), ReferenceBatchNorm(3)(CASE.batch()))


@pytest.mark.parametrize("variant", [variants.WholeTensorNorm, variants.WholeTensorNormNoEps])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 5)])
def test_whole_tensor_is_standardised_but_its_features_are_not(
    variant: type[nn.Module], shape: tuple[int, ...]
) -> None:
    offsets = torch.tensor([-5.0, 0.0, 5.0]).view(1, -1, *(1,) * (len(shape) - 2))
    y = variant(3)(Case(shape, torch.float32).batch() + offsets)
    assert y.mean().abs() < 1e-6
    assert (y.var(correction=0) - 1).abs() < 1e-5
    means = y.movedim(1, 0).flatten(1).mean(1)
    assert means[0] < -1
    assert means[2] > 1
    assert sum(p.numel() for p in variant(3).parameters()) == 2


def test_without_eps_a_constant_tensor_is_nan() -> None:
    x = torch.full((6, 3), 2.0)
    assert variants.WholeTensorNormNoEps(3)(x).isnan().all()
    assert not variants.WholeTensorNorm(3)(x).any()


def test_swapped_momentum_keeps_nearly_the_last_batch_alone() -> None:
    x = CASE.batch()
    layer = variants.SwappedMomentum(3, momentum=0.1)
    layer(x)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    torch.testing.assert_close(layer.running_mean, 0.9 * x.mean(0))
    torch.testing.assert_close(layer.running_var, 0.1 + 0.9 * x.var(0))
    reference = ReferenceBatchNorm(3, momentum=0.9)
    reference(x)
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())


def test_biased_running_variance() -> None:
    x = CASE.batch()
    layer = variants.BiasedRunningVariance(3, momentum=1.0)
    layer(x)
    torch.testing.assert_close(layer.running_var, x.var(0, correction=0))
    torch.testing.assert_close(layer.running_mean, x.mean(0))


def test_unbiased_training_variance_shrinks_the_output() -> None:
    x = CASE.batch().double()
    layer, reference = variants.UnbiasedTrainingVariance(3).double(), ReferenceBatchNorm(3).double()
    torch.testing.assert_close(layer(x), reference(x) * (5 / 6) ** 0.5, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())
    inputs = CASE.batch().double().requires_grad_()
    assert torch.autograd.gradcheck(layer, inputs)


def test_plain_tensors_are_neither_trained_nor_saved_nor_moved() -> None:
    layer = variants.PlainTensorAffine(3)
    assert not list(layer.parameters())
    assert not {"weight", "bias"} & layer.state_dict().keys()
    layer.double()
    assert layer.weight is not None
    assert layer.weight.dtype == torch.float32
    # They do act: the layer is the reference with a gamma and beta of one's own.
    layer = variants.PlainTensorAffine(3)
    layer.weight = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(layer(CASE.batch()), batch_norm_train(CASE.batch(), layer.weight, None)[0])


def test_a_graphed_running_mean_has_the_right_value_and_keeps_every_batch() -> None:
    layer, reference = variants.GraphedRunningMean(3), ReferenceBatchNorm(3)
    batches = [CASE.batch().requires_grad_() for _ in range(3)]
    for x in batches:
        layer(x)
        reference(x)
    assert layer.running_mean is not None
    torch.testing.assert_close(layer.state_dict(), reference.state_dict())
    kept = torch.autograd.grad(layer.running_mean.sum(), batches)
    for gradient, age in zip(kept, (2, 1, 0), strict=True):
        torch.testing.assert_close(gradient, torch.full((6, 3), 0.1 * 0.9**age / 6))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(layer)
    copy.deepcopy(reference)


def test_detached_statistics_fail_as_section_2_says() -> None:
    # A step on a bias b before the layer: the gradient says the loss falls, the output does not move.
    target, u = CASE.output_gradient(), CASE.batch()
    for layer, moves in ((variants.DetachedStatistics(3), True), (ReferenceBatchNorm(3), False)):
        b = torch.zeros(3, requires_grad=True)
        losses, sizes = [], []
        for _ in range(20):
            loss = (layer(u + b) - target - 1.0).square().mean()
            (gradient,) = torch.autograd.grad(loss, b)
            with torch.no_grad():
                b -= gradient
            losses.append(loss.item())
            sizes.append(b.norm().item())
        assert max(losses) - min(losses) <= 1e-5
        if moves:
            assert all(later > earlier for earlier, later in pairwise(sizes))
            assert sizes[-1] > 1.0
        else:
            assert sizes[-1] <= 1e-5


def test_no_affine_has_nothing_to_learn() -> None:
    layer = variants.NoAffine(10)
    assert not list(layer.parameters())
    y = layer(Case((3, 10), torch.float64).batch().float())
    # Biased deviation 1, which a reader's y.std() of the 30 values shows as sqrt(30/29).
    assert abs(y.std().item() - (30 / 29) ** 0.5) < 1e-4


class TestZCAWhitening:
    @staticmethod
    def correlated(n: int = 40) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        mix = torch.randn(3, 3, generator=rng, dtype=torch.float64)
        return torch.randn(n, 3, generator=rng, dtype=torch.float64) @ mix + 2.0

    def test_the_output_is_uncorrelated_and_the_map_symmetric(self) -> None:
        x, layer = self.correlated(), variants.ZCAWhitening(3, eps=1e-12).double()
        y = layer(x)
        torch.testing.assert_close(torch.cov(y.detach().T, correction=0), torch.eye(3, dtype=torch.float64))
        centered = x - x.mean(0)
        matrix = torch.linalg.lstsq(centered, y.detach()).solution
        torch.testing.assert_close(matrix, matrix.T)
        # Batch normalisation leaves the correlations as they are.
        normalised, _, _ = batch_norm_train(x, None, None)
        assert (torch.corrcoef(normalised.T) - torch.eye(3)).abs().max() > 0.1

    def test_its_gradient_goes_through_the_eigenvectors(self) -> None:
        layer = variants.ZCAWhitening(3).double()
        assert torch.autograd.gradcheck(layer, self.correlated(6).requires_grad_())

    def test_evaluation_uses_the_running_covariance(self) -> None:
        x, layer = self.correlated(), variants.ZCAWhitening(3, momentum=1.0).double()
        layer(x)
        torch.testing.assert_close(layer.running_cov, torch.cov(x.T))
        expected = torch.eye(3, dtype=torch.float64)
        torch.testing.assert_close(torch.cov(layer.eval()(x).detach().T), expected, rtol=1e-4, atol=1e-4)

    def test_refusals(self) -> None:
        layer = variants.ZCAWhitening(3)
        with pytest.raises(ValueError, match=r"more examples than features, got shape \(3, 3\)"):
            layer(torch.ones(3, 3))
        with pytest.raises(ValueError, match=r"expected an input \(N, 3\), got shape \(4, 3, 2\)"):
            layer(torch.ones(4, 3, 2))
        with pytest.raises(ValueError, match="eps must be"):
            variants.ZCAWhitening(3, eps=0.0)
