"""§3.3's conjecture: Jacobians with known singular values, the rule, and networks that are built to break it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from judging import judge
from torch import Tensor, nn

from bnrepro.config.schema import Config
from bnrepro.measurements import layer_jacobian
from bnrepro.models import build_model
from bnrepro.models.mlp import MLP
from bnrepro.stats import CONTRADICTED, NOT_RUN, SUPPORTED, WEAKER


def network(config: Config) -> MLP:
    model = build_model(config, (1, 2, 3), 4)
    assert isinstance(model, MLP)
    return model.double()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(40, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def trained_affine(model: MLP) -> None:
    """γ and β that are neither 1 nor 0."""
    for block in model.hidden:
        with torch.no_grad():
            block.norm.weight.copy_(torch.linspace(0.5, 2, len(block.norm.weight)))  # pyright: ignore
            block.norm.bias.copy_(torch.linspace(-1, 1, len(block.norm.bias)))  # pyright: ignore


def test_the_jacobian_is_that_of_the_printed_layers(small: Callable[..., Config], images: Tensor) -> None:
    """By hand: diag(1/σ₂) W₂ diag(g′(γ₁x̂ + β₁)) diag(γ₁), with g the sigmoid."""
    model = network(small("norm=batch", "model.hidden=[5,7]", "model.init_scale=1"))
    trained_affine(model)
    first, second = model.hidden
    z = first.linear(images.flatten(1))  # pyright: ignore
    x_hat = (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()
    y = torch.sigmoid(first.norm.weight * x_hat + first.norm.bias)  # pyright: ignore
    after = second.linear(y)  # pyright: ignore
    deviation = (after.var(0, correction=0) + 1e-5).sqrt()
    expected = torch.stack(
        [
            torch.diag(1 / deviation) @ second.linear.weight @ torch.diag(row * (1 - row) * first.norm.weight)  # pyright: ignore
            for row in y[:3]
        ]
    )
    [found] = layer_jacobian.singular_values(model, images, 3)
    assert found.shape == (3, 5)
    torch.testing.assert_close(found, torch.linalg.svdvals(expected).detach())


def test_without_normalisation_it_is_that_of_weights_and_nonlinearity(
    small: Callable[..., Config], images: Tensor
) -> None:
    model = network(small("norm=none", "model.hidden=[5,7,6]"))
    [_, found] = layer_jacobian.singular_values(model, images, 2)
    a = model.hidden[0](images.flatten(1))
    y = model.hidden[1](a)
    for index in range(2):
        jacobian = model.hidden[2].linear.weight @ torch.diag(y[index] * (1 - y[index]))  # pyright: ignore
        torch.testing.assert_close(found[index], torch.linalg.svdvals(jacobian).detach()[:6])


def test_an_orthogonal_layer_without_nonlinearity_has_singular_values_of_1(
    small: Callable[..., Config], images: Tensor
) -> None:
    model = network(small("norm=none", "model.hidden=[6,6]"))
    for block in model.hidden:
        block.activation = nn.Identity()
        nn.init.orthogonal_(block.linear.weight)  # pyright: ignore
    [values] = layer_jacobian.singular_values(model, images, 2)
    found = dict(layer_jacobian.summary(values))
    assert found["distance"] == pytest.approx(0, abs=1e-12)
    assert (found["near"], found["median"]) == (1, pytest.approx(1))
    with torch.no_grad():
        model.hidden[1].linear.weight.mul_(3)  # pyright: ignore
    [values] = layer_jacobian.singular_values(model, images, 2)
    found = dict(layer_jacobian.summary(values))
    assert found["distance"] == pytest.approx(math.log(3))
    assert found["mean"] == pytest.approx(math.log(3))
    assert found["spread"] == pytest.approx(0, abs=1e-12)
    assert found["near"] == 0


def test_a_scale_of_the_weights_reaches_the_jacobian_without_bn_alone(
    small: Callable[..., Config], images: Tensor
) -> None:
    for norm, factor in (("none", 10.0), ("batch", 1.0)):
        model = network(small(f"norm={norm}", "model.hidden=[5,5]", "model.init_scale=1"))
        [before] = layer_jacobian.singular_values(model, images, 2)
        with torch.no_grad():
            model.hidden[1].linear.weight.mul_(10)  # pyright: ignore
        [after] = layer_jacobian.singular_values(model, images, 2)
        torch.testing.assert_close(after, factor * before, rtol=1e-3, atol=1e-6)


def test_the_gradient_ratio_is_the_scale_of_linear_layers(small: Callable[..., Config], images: Tensor) -> None:
    model = network(small("norm=none", "model.hidden=[6,6,6]"))
    for block in model.hidden:
        block.activation = nn.Identity()
        nn.init.orthogonal_(block.linear.weight, gain=3)  # pyright: ignore
    labels = torch.randint(0, 4, (40,))
    assert layer_jacobian.gradient_ratio(model, images, labels) == pytest.approx(9)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layer_jacobian.gradient_ratio(model, images, labels)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_both_arms_are_seen_at_every_point_and_depth() -> None:
    frame = layer_jacobian.measure("digits", seeds=1, steps=20, points=2, examples=2, statistics=50, depths=[3, 4])
    training = frame[(frame["part"] == "training") & (frame["metric"] == "distance")]
    assert list(training.groupby("arm")["step"].unique().map(list)) == [[0, 10, 20]] * 2
    assert set(training["layer"]) == {1, 2}
    gradients = (
        frame[frame["metric"] == "gradient"]
        .groupby("arm")[["activation", "depth"]]
        .apply(lambda each: each.to_numpy().tolist())
    )
    assert list(gradients) == [[["sigmoid", 3], ["sigmoid", 4], ["relu", 3], ["relu", 4]]] * 2
    jacobians = frame[frame["metric"] != "gradient"]
    squares = jacobians.pivot_table(index=["part", "arm", "depth", "step", "layer"], columns="metric", values="value")
    assert (squares["distance"] >= squares["spread"]).all()
    assert (squares["distance"] >= squares["mean"].abs()).all()


def table(with_bn: float, without: float, diverged: bool = False) -> pd.DataFrame:
    rows = []
    for seed in range(3):
        for arm, distance in (("batch", with_bn), ("none", without)):
            for step in (0, 10):
                values = {"distance": distance * (1 + 0.01 * seed), "spread": 1.0, "mean": -1.0, "near": 0.5,
                          "low": 0.1, "median": 0.5, "high": 2.0}  # fmt: skip
                rows += [("training", arm, seed, "sigmoid", 3, step, 1, *each, "digits") for each in values.items()]
            rows.append(("depth", arm, seed, "sigmoid", 3, 0, 0, "gradient", 4.0, "digits"))
            deep = {"batch": 0.5, "none": 2.0}[arm]
            rows += [("depth", arm, seed, "sigmoid", 3, 0, layer, "distance", deep, "digits") for layer in (1, 2)]
    if diverged:
        rows += [("training", "none", seed, "sigmoid", 3, 7, 0, "diverged", 7, "digits") for seed in (0, 1)]
    return pd.DataFrame(rows, columns=layer_jacobian.COLUMNS)


@pytest.mark.parametrize(
    ("with_bn", "without", "verdict"), [(0.4, 1.0, SUPPORTED), (0.8, 1.0, WEAKER), (1.5, 1.0, CONTRADICTED)]
)
def test_verdict_on_the_distance_from_1(with_bn: float, without: float, verdict: str) -> None:
    frame = table(with_bn, without)
    # A little noise, so that the interval has a width.
    frame.loc[(frame["arm"] == "none") & (frame["seed"] == 1) & (frame["metric"] == "distance"), "value"] *= 1.01
    judgement = judge("layer_jacobian", frame)
    assert judgement.verdict == verdict
    assert judgement.primary is not None
    assert judgement.primary.interval.value == pytest.approx(with_bn / without, rel=0.01)
    growth = [each.interval.value for each in judgement.estimates if each.name.startswith("growth of the gradient")]
    assert growth == pytest.approx([2.0, 2.0])
    [deep] = [each for each in judgement.estimates if each.name == "distance at initialisation, 3 layers"]
    assert deep.interval.value == pytest.approx(0.25, rel=0.01)


def test_a_seed_that_diverged_is_left_out_of_both_arms_with_a_note() -> None:
    judgement = judge("layer_jacobian", table(0.4, 1.0, diverged=True))
    assert judgement.primary is not None
    assert judgement.primary.interval.n == 1
    assert judgement.notes[0] == "2 of 3 runs of the arm none diverged; these seeds are left out"
    frame = table(0.4, 1.0)
    lost = frame.assign(metric="diverged")
    assert judge("layer_jacobian", pd.concat([frame, lost])).verdict == NOT_RUN
