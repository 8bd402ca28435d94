"""Augmentation on tensors: flips, shifts and photometric distortions of whole mini-batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.config.randomness import generator
from bnrepro.config.schema import AugmentationConfig


def augment(
    images: Tensor, config: AugmentationConfig, seed: int, step: int, rank: int = 0, processes: int = 1
) -> Tensor:
    """Mini-batch ``step`` (N, channels, height, width) as the network is to see it: some of it mirrored, shifted by
    up to ``shift`` pixels (zeros move in), and with brightness and contrast changed by up to ``photometric``.

    A function of the seed and the step alone, on every device: a resumed run needs no state of it. Where several
    processes share a mini-batch, ``images`` is the part of process ``rank``, and meets what it meets in the whole.
    """
    if not (config.flip or config.shift or config.photometric):
        return images
    draw = generator(seed, "augment", step)
    count, _, height, width = images.shape
    everyone, mine = count * processes, slice(rank * count, (rank + 1) * count)
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if config.flip:
        mirrored = torch.rand(everyone, 1, generator=draw)[mine] < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    if config.shift:
        offsets = torch.randint(0, 2 * config.shift + 1, (2, everyone, 1), generator=draw)[:, mine]
        rows, columns = rows + offsets[0], columns + offsets[1]
        images = F.pad(images, [config.shift] * 4)
    if config.flip or config.shift:
        # Channels last, the gather is one copy of rows of pixels.
        pixels = images.permute(0, 2, 3, 1)
        example = torch.arange(count)[:, None, None].to(images.device)
        rows, columns = rows.to(images.device), columns.to(images.device)
        images = pixels[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if config.photometric:
        spread = config.photometric
        drawn = torch.rand(2, everyone, 1, 1, 1, generator=draw)[:, mine]
        contrast, brightness = ((drawn * 2 - 1) * spread).to(images.device)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * (1 + contrast) + mean + brightness
    return images
