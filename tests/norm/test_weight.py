"""Weight normalisation against Salimans & Kingma's equations: reparametrised weights, gradients, and the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from norm_formulas import drawn
from torch import Tensor

from bnrepro import data
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError
from bnrepro.models import build_model
from bnrepro.norm import WeightNorm
from bnrepro.training import checkpoint
from bnrepro.training.loop import Callbacks, Trainer

CASES = [((6, 4), (5, 4), F.linear), ((3, 4, 6, 6), (5, 4, 3, 3), F.conv2d)]


@pytest.mark.parametrize(("inputs", "weights", "product"), CASES)
def test_it_is_a_layer_with_weights_g_v_over_the_length_of_v(inputs: Any, weights: Any, product: Any) -> None:
    """Values by eqs. 1 and 2, and gradients by eq. 3 from those of the plain layer with weights w."""
    layer: Any = WeightNorm(5).double()
    x, v = drawn(inputs).requires_grad_(), drawn(weights, 1).requires_grad_()
    g, b = drawn((5,), 2), drawn((5,), 3)
    layer.weight.data.copy_(g), layer.bias.data.copy_(b)
    y = layer(product(x, v), v)
    slope = drawn(tuple(y.shape), 4)
    y.backward(slope)

    direction = v.detach().numpy()
    axes = tuple(range(1, direction.ndim))
    length = np.sqrt((direction**2).sum(axes, keepdims=True))
    gain = g.numpy().reshape(length.shape)
    w, u = torch.tensor(gain * direction / length, requires_grad=True), x.detach().requires_grad_()
    plain = product(u, w, b)
    plain.backward(slope)
    np.testing.assert_allclose(y.detach().numpy(), plain.detach().numpy(), atol=1e-12)
    of_w: Any = w.grad.numpy()  # type: ignore[union-attr]
    of_g = (of_w * direction).sum(axes, keepdims=True) / length
    of_v = gain / length * of_w - gain * of_g / length**2 * direction
    np.testing.assert_allclose(layer.weight.grad.numpy(), of_g.ravel(), atol=1e-11)
    np.testing.assert_allclose(v.grad.numpy(), of_v, atol=1e-11)  # type: ignore[union-attr]
    np.testing.assert_allclose(x.grad.numpy(), u.grad.numpy(), atol=1e-12)  # type: ignore[union-attr]
    assert abs((v.grad * v).sum(axes)).max() < 1e-11  # type: ignore[operator]
    wrong = gain * direction / np.sqrt((direction**2).sum())  # one length for the whole layer
    assert (product(x, torch.tensor(wrong), b) - y).abs().max() > 0.01
    assert torch.autograd.gradcheck(lambda z, v: layer(z, v), (drawn(tuple(y.shape)).requires_grad_(), v))


@pytest.fixture
def started(small: Callable[..., Config]) -> Callable[..., Trainer]:
    def made(*overrides: str) -> Trainer:
        config = small("norm=weight", "precision=float64", "model.dropout=0.3", "augmentation.shift=1", *overrides)
        return Trainer(config, data.load(config.data))

    return made


def before_activations(trainer: Trainer, images: Tensor) -> list[np.ndarray]:
    """What enters each hidden activation, in numpy: layer after layer, by eqs. 1 and 2."""
    x, found = images.flatten(1).numpy(), []
    for block in trainer.model.hidden:  # type: ignore[union-attr]
        v, g, b = (each.detach().numpy() for each in (block.linear.weight, block.norm.weight, block.norm.bias))  # type: ignore
        found.append(x @ (g[:, None] * v / np.linalg.norm(v, axis=1, keepdims=True)).T + b)
        x = 1 / (1 + np.exp(-found[-1]))
    return found


def test_the_first_mini_batch_starts_with_mean_0_and_variance_1(started: Callable[..., Trainer]) -> None:
    trainer = started("norm.eps=1e-20")
    images = trainer.train_set.images[trainer.order.batch(0)]
    for z in before_activations(trainer, images):
        np.testing.assert_allclose(z.mean(0), 0, atol=1e-10)
        np.testing.assert_allclose(z.var(0), 1, atol=1e-6)
    other = before_activations(trainer, trainer.train_set.images[trainer.order.batch(1)])
    assert max(abs(z.mean(0)).max() for z in other) > 0.1
    plain = started("norm.from_data=false").model.state_dict()
    assert torch.equal(plain["hidden.0.norm.weight"], torch.ones(12, dtype=torch.float64))
    assert torch.equal(plain["hidden.0.linear.weight"], trainer.model.state_dict()["hidden.0.linear.weight"])


def test_every_channel_of_an_inception_starts_so_too(composed: Callable[..., list[Config]]) -> None:
    images = ("data=digits", "data.enlarge=32", "data.standardize=true", "batch_size=32")
    [config] = composed("model=inception", *images, "model.dropout=0", "norm=weight", "norm.eps=1e-20",
                        "precision=float64", "steps=2")  # fmt: skip
    trainer = Trainer(config, data.load(config.data))
    outputs: list[Tensor] = []
    for module in trainer.model.modules():
        if isinstance(module, WeightNorm):
            module.register_forward_hook(lambda module, inputs, output: outputs.append(output.detach()))
    trainer.model(trainer.train_set.images[trainer.order.batch(0)])
    assert len(outputs) > 10
    for z in outputs:
        torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros_like(z[0, :, 0, 0]), atol=1e-10, rtol=0)
        torch.testing.assert_close(z.var((0, 2, 3), correction=0), torch.ones_like(z[0, :, 0, 0]), atol=1e-6, rtol=0)


def test_a_run_goes_on_from_its_checkpoint_and_does_not_start_again(started: Callable[..., Trainer]) -> None:
    whole, payloads = started("checkpoint_every_s=1e-9"), list[bytes]()
    whole.callbacks = Callbacks(on_checkpoint=payloads.append)
    whole.run()
    resumed = started()
    checkpoint.restore(resumed, payloads[0])
    resumed.run()
    assert resumed.progress.tables == whole.progress.tables
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_start_draws_nothing_and_leaves_the_network_in_its_mode(small: Callable[..., Config]) -> None:
    config = small("norm=weight", "model.dropout=0.3")
    loaded = data.load(config.data)
    before = torch.get_rng_state()
    assert all(module.training for module in Trainer(config, loaded).model.modules())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("overrides", [("placement=after",), ("model=inception", "model.per_activation_blocks=1")])
def test_it_stands_directly_behind_the_weights_or_nowhere(
    overrides: tuple[str, ...], composed: Callable[..., list[Config]]
) -> None:
    [config] = composed("norm=weight", "data=digits", *overrides)
    with pytest.raises(ConfigError, match=r"norm=weight normalises the weights .* placement=before"):
        build_model(config, (3, 32, 32), 10)
