"""Whitening by a triangular factor and by an iteration: white outputs, right derivatives, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bnrepro.norm.pitfalls import ZCAWhitening
from bnrepro.norm.whitening import CholeskyWhitening, NewtonSchulzWhitening

LAYERS = [CholeskyWhitening, NewtonSchulzWhitening]


def correlated(examples: int, features: int) -> Tensor:
    gen = torch.Generator().manual_seed(0)
    mixed = torch.randn(features, features, dtype=torch.float64, generator=gen)
    return 3 + torch.randn(examples, features, dtype=torch.float64, generator=gen) @ mixed


def covariance(y: Tensor) -> Tensor:
    return torch.cov(y.T, correction=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_outputs_are_white(kind: type[ZCAWhitening]) -> None:
    x = correlated(50, 6)
    y = kind(6, eps=1e-12).double()(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(covariance(y), torch.eye(6, dtype=torch.float64), atol=1e-5, rtol=0)


def test_newton_schulz_finds_the_symmetric_root() -> None:
    x = correlated(50, 6)
    torch.testing.assert_close(NewtonSchulzWhitening(6).double()(x), ZCAWhitening(6).double()(x), atol=1e-5, rtol=1e-5)


def test_a_feature_whitened_by_cholesky_depends_on_those_before_it_alone() -> None:
    x = correlated(50, 6)
    y = CholeskyWhitening(6).double()(x)
    other = x.clone()
    other[:, 3:] = correlated(50, 9)[:, 6:]
    torch.testing.assert_close(CholeskyWhitening(6).double()(other)[:, :3], y[:, :3])
    assert not torch.allclose(CholeskyWhitening(6).double()(other)[:, 3:], y[:, 3:])


@pytest.mark.parametrize("kind", LAYERS)
def test_derivatives_are_those_of_finite_differences(kind: type[ZCAWhitening]) -> None:
    x = correlated(7, 3).requires_grad_()
    assert torch.autograd.gradcheck(kind(3).double(), (x,))


@pytest.mark.parametrize("kind", LAYERS)
def test_evaluation_whitens_by_the_running_covariance(kind: type[ZCAWhitening]) -> None:
    x = correlated(400, 4)
    layer = kind(4, eps=1e-12, momentum=1.0).double()
    layer(x)
    y = layer.eval()(x[:2])
    torch.testing.assert_close(layer(x)[:2], y)
    torch.testing.assert_close(torch.cov(layer(x).T), torch.eye(4, dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_refusals(kind: type[ZCAWhitening]) -> None:
    with pytest.raises(ValueError, match="expected an input"):
        kind(4)(torch.randn(8, 3))
    with pytest.raises(ValueError, match="more examples than features"):
        kind(4)(torch.randn(4, 4))


def test_an_iteration_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NewtonSchulzWhitening, "LONGEST", 3)
    with pytest.raises(ValueError, match="not converged after 3 steps"):
        NewtonSchulzWhitening(6).double()(correlated(50, 6))
