"""The injected noise is another one for every unit and step, is not there at inference, and resumes bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.norm import BatchNorm
from bnrepro.norm.noisy import NoisyBatchNorm
from bnrepro.training import checkpoint
from bnrepro.training.loop import Callbacks, Trainer


def noise_of(layer: NoisyBatchNorm, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (C,) of the shifts and of the scales of one step: two passes with the same draws, one of them of zeros."""
    state = torch.get_rng_state()
    shifts = layer(torch.zeros_like(x))  # what is normalised is 0, so that only m is left
    torch.set_rng_state(state)
    y, plain = layer(x), BatchNorm(layer.num_features)(x)
    other = [i for i in range(x.dim()) if i != 1]
    scales = ((y - shifts) / plain).flatten()
    assert torch.isfinite(scales).all()
    return shifts.mean(other), ((y - shifts) * plain).sum(other) / plain.square().sum(other)


@pytest.mark.parametrize("shape", [(4000, 5), (400, 5, 4, 4)])
def test_every_unit_has_a_mean_and_a_scale_of_its_own_at_every_step(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x = NoisyBatchNorm(5), torch.randn(shape)
    seen = [torch.stack(noise_of(layer, x)).detach() for _ in range(40)]
    means, scales = torch.stack(seen).unbind(1)
    assert means.abs().max() < 0.51
    assert means.min() < -0.4 < 0.4 < means.max()
    assert 0.99 < scales.min() < 1.02
    assert 1.23 < scales.max() < 1.26
    for drawn in (means, scales):
        assert drawn.std(0).min() > 0.05  # from step to step
        assert drawn.std(1).min() > 0.01  # from unit to unit


def test_within_a_unit_the_noise_differs_from_activation_to_activation() -> None:
    torch.manual_seed(0)
    shifts = NoisyBatchNorm(3)(torch.zeros(5000, 3)).detach()
    spread = shifts - shifts.mean(0)
    assert spread.abs().max() < 0.11
    torch.testing.assert_close(spread.std(0), torch.full((3,), 0.1 / 3**0.5), rtol=0.05, atol=0)


def test_at_inference_it_is_batch_norm() -> None:
    noisy, plain, x = NoisyBatchNorm(4), BatchNorm(4), torch.randn(50, 4)
    noisy(x), plain(x)
    noisy.eval(), plain.eval()
    state = torch.get_rng_state()
    assert torch.equal(noisy(x), plain(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert noisy.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("wrong", [{"mean": -0.1}, {"scale": 0.9}, {"spread": -1.0}])
def test_noise_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least"):
        NoisyBatchNorm(3, **wrong)  # type: ignore[arg-type]


def test_a_run_with_noise_resumes_bit_for_bit(small: Callable[..., Config]) -> None:
    config = small("norm=batch_noisy", "checkpoint_every_s=1e-9", "probes.shift.enabled=true", "probes.shift.points=5")
    loaded, checkpoints = data.load(config.data), []
    whole = Trainer(config, loaded, Callbacks(on_checkpoint=checkpoints.append))
    whole.run()
    for payload in checkpoints:
        resumed = Trainer(config, loaded)
        checkpoint.restore(resumed, payload)
        resumed.run()
        assert resumed.progress.tables == whole.progress.tables
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert len(checkpoints) == 3
