"""Algorithm 1 and the inference map as functions: against the library, and against hand calculation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from norm_agreement import Case, relative
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import batch_norm

from bnrepro.norm import batch_norm_inference, batch_norm_train

SHAPES = [(5, 3), (4, 3, 2), (3, 2, 4, 5)]


def test_algorithm_1_by_hand() -> None:
    x = torch.tensor([[1.0, 10.0], [3.0, 10.0]])
    y, mean, var = batch_norm_train(x, torch.tensor([2.0, 1.0]), torch.tensor([0.5, -1.0]), eps=3.0)
    assert mean.tolist() == [2.0, 10.0]
    assert var.tolist() == [1.0, 0.0]  # biased
    assert y.tolist() == [[0.5 - 2.0 / 2.0, -1.0], [0.5 + 2.0 / 2.0, -1.0]]


def test_inference_by_hand() -> None:
    mean, var = torch.tensor([1.0]), torch.tensor([3.0])
    y = batch_norm_inference(torch.tensor([[5.0]]), mean, var, torch.tensor([2.0]), torch.tensor([7.0]), eps=1.0)
    assert y.tolist() == [[11.0]]  # 2 (5 - 1) / sqrt(3 + 1) + 7


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.sampled_from([torch.float32, torch.float64]),
    st.floats(-10.0, 10.0),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_agrees_with_the_library(
    shape: tuple[int, ...], dtype: torch.dtype, mean_over_std: float, affine: bool, seed: int
) -> None:
    case = Case(shape, dtype, mean_over_std=mean_over_std, seed=seed)
    rng = case.generator()
    gamma, beta = [torch.randn(shape[1], generator=rng, dtype=dtype) for _ in "gb"] if affine else (None, None)
    x = case.batch()
    y, mean, var = batch_norm_train(x, gamma, beta)
    expected = batch_norm(x, None, None, gamma, beta, training=True)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    assert relative(y, expected, expected.abs().max().item()) <= tolerance
    fixed = batch_norm_inference(x, mean, var, gamma, beta)
    assert relative(fixed, expected, expected.abs().max().item()) <= tolerance


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives(shape: tuple[int, ...]) -> None:
    case = Case(shape)
    rng = case.generator()
    x = case.batch().requires_grad_()
    channels = [torch.rand(shape[1], generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    assert gradcheck(lambda x, g, b: batch_norm_train(x, g, b), (x, *channels[:2]))
    assert gradcheck(lambda x, m, v, g, b: batch_norm_inference(x, m, v, g, b), (x, *channels))


def test_normalised_values_have_mean_0_and_biased_variance_1() -> None:
    x = Case((6, 3, 4, 4), mean_over_std=5.0, std=3.0).batch()
    y, _, _ = batch_norm_train(x, None, None)
    var, mean = torch.var_mean(y, (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-12, rtol=0.0)
    torch.testing.assert_close(var, torch.full_like(var, 9 / (9 + 1e-5)))


def test_half_precision_is_computed_in_float32() -> None:
    x = Case((8, 3), torch.bfloat16).batch()
    y, mean, var = batch_norm_train(x, None, None)
    exact, _, _ = batch_norm_train(x.double(), None, None)
    assert (y.dtype, mean.dtype, var.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert (y.double() - exact).abs().max() <= 2**-8 * exact.abs().max()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4, 5, 6)])
def test_other_ranks_are_refused(shape: tuple[int, ...]) -> None:
    c = torch.ones(3)
    with pytest.raises(ValueError, match="2-D, 3-D or 4-D"):
        batch_norm_train(torch.ones(shape), c, c)
    with pytest.raises(ValueError, match="2-D, 3-D or 4-D"):
        batch_norm_inference(torch.ones(shape), c, c, c, c)


@pytest.mark.parametrize("x", [torch.ones(1, 3), torch.ones(0, 3), torch.ones(1, 3, 1, 1)])
def test_a_batch_without_a_variance_is_refused(x: Tensor) -> None:
    with pytest.raises(ValueError, match="at least 2 values per channel"):
        batch_norm_train(x, None, None)
    one = torch.ones(3)
    assert batch_norm_inference(x, one, one, None, None).shape == x.shape


@pytest.mark.parametrize("eps", [0.0, -1e-5, float("nan"), float("inf")])
def test_bad_eps_is_refused(eps: float) -> None:
    one = torch.ones(3)
    with pytest.raises(ValueError, match="eps must be a positive finite number"):
        batch_norm_train(torch.ones(4, 3), None, None, eps)
    with pytest.raises(ValueError, match="eps must be a positive finite number"):
        batch_norm_inference(torch.ones(4, 3), one, one, None, None, eps)


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"floating-point input, got torch\.int64"):
        batch_norm_train(torch.ones(4, 3, dtype=torch.long), None, None)
