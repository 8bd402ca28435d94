"""Flips, shifts and photometric distortions: what they do to known images, and of what they are a function."""

from __future__ import annotations

import pytest
import torch

from bnrepro.config.schema import AugmentationConfig
from bnrepro.data import augment


def test_nothing_asked_for_is_nothing_done() -> None:
    images = torch.randn(4, 3, 8, 8)
    assert augment(images, AugmentationConfig(), 0, 0) is images


def test_flips_mirror_some_images_and_leave_the_others() -> None:
    images = torch.randn(200, 1, 4, 6)
    seen = augment(images, AugmentationConfig(flip=True), 0, 0)
    mirrored = (seen == images.flip(3)).all((1, 2, 3))
    kept = (seen == images).all((1, 2, 3))
    assert bool((mirrored | kept).all())
    assert 60 < int(mirrored.sum()) < 140


def test_shifts_move_by_at_most_so_many_pixels_and_fill_with_zeros() -> None:
    images = torch.zeros(300, 1, 9, 9)
    images[:, 0, 4, 4] = 1
    seen = augment(images, AugmentationConfig(shift=2), 0, 0)
    assert seen.shape == images.shape
    where = seen.nonzero()
    assert torch.equal(seen.sum((1, 2, 3)), torch.ones(300))
    assert int((where[:, 2:] - 4).abs().max()) == 2
    assert len(where[:, 2:].unique(dim=0)) == 25
    moved = augment(torch.ones(50, 1, 5, 5), AugmentationConfig(shift=1), 0, 0)
    assert set(moved.unique().tolist()) == {0.0, 1.0}


def test_distortions_change_brightness_and_contrast_alone() -> None:
    images = torch.randn(50, 3, 6, 6)
    seen = augment(images, AugmentationConfig(photometric=0.4), 0, 0)
    for before, after in zip(images, seen, strict=True):
        # An affine map of each image: what is left after fitting one is rounding.
        design = torch.stack([before.flatten(), torch.ones(before.numel())], 1)
        fit = torch.linalg.lstsq(design, after.flatten()[:, None])
        assert torch.allclose(design @ fit.solution, after.flatten()[:, None], atol=1e-4)
        assert abs(fit.solution[0].item() - 1) <= 0.4 + 1e-4


@pytest.mark.parametrize("config", [AugmentationConfig(True, 2, 0.2), AugmentationConfig(False, 3, 0.0)])
def test_the_seed_and_the_step_alone_decide(config: AugmentationConfig) -> None:
    images = torch.randn(16, 3, 8, 8)
    torch.manual_seed(1)
    first = augment(images, config, 3, 7)
    torch.manual_seed(2)
    assert torch.equal(first, augment(images, config, 3, 7))
    assert torch.equal(first, augment(images.contiguous(memory_format=torch.channels_last), config, 3, 7))
    assert not torch.equal(first, augment(images, config, 3, 8))
    assert not torch.equal(first, augment(images, config, 4, 7))
