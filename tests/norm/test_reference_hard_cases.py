"""What ReferenceBatchNorm refuses, and how far it can be trusted where the arithmetic is hard.

The hard cases are measured against the library layer in float64 on the same values, with the tolerances
that the conditioning leaves in float32; each is stated in its test.
"""

from dataclasses import replace

import pytest
import torch
from norm_agreement import Case, disagreement, forward_backward, library

from bnrepro.norm import ReferenceBatchNorm

SHAPES = [(64, 5), (16, 5, 8, 8)]


@pytest.mark.parametrize("shape", [(2, 4), (1, 4, 2), (1, 4, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_two_values_per_channel(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    # The output is beta +- gamma whatever the input, and dl/dx is what is left of two terms that cancel.
    for seed in range(20):
        case = Case(shape, dtype, seed=seed)
        errors = disagreement(case, ReferenceBatchNorm, library, exact=True)
        assert max(errors.values()) <= (1e-5 if dtype == torch.float32 else 1e-10), errors


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_ten_thousand_times_the_deviation(shape: tuple[int, ...]) -> None:
    # Rounding a float32 mean of 1e4 standard deviations moves it by up to 5e-4 of one: outputs within 2e-3.
    for seed in range(10):
        for mean_over_std in (1e4, -1e4):
            case = Case(shape, torch.float32, mean_over_std=mean_over_std, seed=seed)
            errors = disagreement(case, ReferenceBatchNorm, library, exact=True)
            assert max(errors.values()) <= 2e-3, errors
            # In float64 the same case has nine digits left.
            errors = disagreement(replace(case, dtype=torch.float64), ReferenceBatchNorm, library)
            assert max(errors.values()) <= 1e-9, errors


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [0.0, 3.0, 1e4])
def test_constant_channels(shape: tuple[int, ...], value: float) -> None:
    # Sums of a power of two equal values are exact here: y is beta, and dl/dx only centres dl/dy.
    case = Case(shape, torch.float32)
    layer, x, grad_y = case.layer(ReferenceBatchNorm), torch.full(shape, value), case.output_gradient()
    dims = (0, *range(2, len(shape)))
    channel = (1, -1) + (1,) * (len(shape) - 2)
    result = forward_backward(layer, x, grad_y)
    torch.testing.assert_close(result.y, layer.bias.detach().view(channel).expand(shape), rtol=0, atol=0)
    expected = (grad_y - grad_y.mean(dims, keepdim=True)) * layer.weight.detach().view(channel) / 1e-5**0.5
    torch.testing.assert_close(result.gradients["x"], expected, rtol=1e-5, atol=1e-3)
    assert result.gradients["weight"].abs().max() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_far_from_zero_the_gradient_of_x_still_sums_to_zero(shape: tuple[int, ...]) -> None:
    # The paper's term in sum(x - mu_B) makes up for the rounding of mu_B: without it the ratio is about 1e-4.
    for seed in range(10):
        case = Case(shape, torch.float32, mean_over_std=1e4, seed=seed)
        result = forward_backward(case.layer(ReferenceBatchNorm), case.batch(), case.output_gradient())
        per_feature = result.gradients["x"].double().movedim(1, 0).flatten(1)
        assert (per_feature.sum(1).abs() / per_feature.abs().sum(1)).max() <= 1e-6


@pytest.mark.parametrize("momentum", [0.1, None, 0.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_nan_stays_in_its_channel_and_in_its_statistics_until_they_are_reset(
    momentum: float | None, bad: float
) -> None:
    case = Case((6, 3), torch.float32, momentum=momentum)
    for cls in (ReferenceBatchNorm, library):
        layer, clean = case.layer(cls), case.layer(cls)
        x = case.batch()
        x[2, 1] = bad
        y, expected = layer(x), clean(case.batch())
        layer(case.batch())
        clean(case.batch())
        good = [0, 2]
        assert y[:, 1].isnan().all()
        torch.testing.assert_close(y[:, good], expected[:, good])
        for name in ("running_mean", "running_var"):
            assert not getattr(layer, name)[1].isfinite()  # a clean batch does not heal it
            torch.testing.assert_close(getattr(layer, name)[good], getattr(clean, name)[good])
        assert layer.num_batches_tracked == 2
        layer.reset_running_stats()
        assert layer.running_mean.isfinite().all()
        assert layer.running_var.isfinite().all()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="num_features must be at least 1, got 0"):
        ReferenceBatchNorm(0)
    with pytest.raises(TypeError, match=r"num_features must be an integer, got 2\.5"):
        ReferenceBatchNorm(2.5)  # type: ignore[arg-type]
    for eps in (0.0, -1e-5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="eps must be a positive finite number"):
            ReferenceBatchNorm(3, eps=eps)
    for momentum in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"momentum must be None or in \[0, 1\]"):
            ReferenceBatchNorm(3, momentum=momentum)


@pytest.mark.parametrize("training", [True, False])
def test_bad_inputs_are_refused_and_change_nothing(training: bool) -> None:
    layer = ReferenceBatchNorm(3).train(training)
    with pytest.raises(ValueError, match=r"2-D, 3-D or 4-D input \(N, C, \.\.\.\), got shape \(3,\)"):
        layer(torch.ones(3))
    with pytest.raises(ValueError, match=r"got shape \(2, 3, 1, 1, 1\)"):
        layer(torch.ones(2, 3, 1, 1, 1))
    with pytest.raises(ValueError, match=r"expected 3 channels, got shape \(4, 5\)"):
        layer(torch.ones(4, 5))
    with pytest.raises(ValueError, match=r"at least one channel, got shape \(4, 0\)"):
        layer(torch.ones(4, 0))
    for dtype in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=f"floating-point input, got {dtype}"):
            layer(torch.ones(4, 3, dtype=dtype))
    with pytest.raises(TypeError, match=r"cannot normalise an input of torch\.float64"):
        layer(torch.ones(4, 3, dtype=torch.float64))
    assert layer.num_batches_tracked == 0
    assert layer.running_mean is not None
    assert not layer.running_mean.any()


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1), (0, 3)])
def test_one_value_per_channel_is_refused_where_the_batch_normalises_itself(shape: tuple[int, ...]) -> None:
    x = torch.ones(shape)
    for layer in (ReferenceBatchNorm(3), ReferenceBatchNorm(3, track_running_stats=False).eval()):
        with pytest.raises(ValueError, match="at least 2 values per channel, got shape"):
            layer(x)
    assert ReferenceBatchNorm(3).eval()(x).shape == shape
