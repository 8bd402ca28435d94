"""A folder of images as a data set: ``root/train/<class>/*`` and ``root/test/<class>/*`` (or ``val``), decoded once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bnrepro import store
from bnrepro.data import decoding
from bnrepro.data.cache import read_array, write_array
from bnrepro.data.listing import (
    PassedOver,
    class_folders,
    find,
    images_in,
    none_readable,
    size_and_time,
    train_and_test,
)
from bnrepro.data.places import shown
from bnrepro.data.sources import Source
from bnrepro.errors import DataError

IN_MEMORY_BYTES = 4 * 10**9
"""Limit for uint8 pixels; training needs four times as much memory, for float32."""
STREAM = "data.stream=true reads them from disk during training, cropped to data.image_size."


def load(root: str | None, title: str | None, skip: bool = False) -> Source:
    """All images of a small folder, from the cache if they were decoded before; they must have the same size.

    ``root`` is found as by :func:`find`. ``skip`` leaves out images that cannot be read. Raises
    :class:`DataUnavailable` if there is no such folder, :class:`DataError` that names a wrong file or folder.
    """
    folder = find(root)
    passed = PassedOver(folder)
    listed = [_listed(part, passed) for part in train_and_test(folder)]
    passed.tell()
    parts = [_labelled(folder, classes, skip) for classes in listed]
    [(images, labels, lost), (test_images, test_labels, test_lost)] = parts
    label, unreadable = title or shown(folder.name), (*lost, *test_lost)
    return Source(label, 255, images, labels, test_images, test_labels, len(listed[0]), unreadable)


def _listed(part: Path, passed: PassedOver) -> dict[Path, list[os.DirEntry[str]]]:
    """The images of each class folder."""
    return {path: images_in(path, passed) for path in class_folders(part, passed)}


def _labelled(
    folder: Path, classes: dict[Path, list[os.DirEntry[str]]], skip: bool
) -> tuple[Tensor, Tensor, list[str]]:
    """Images (N, 3, height, width) uint8 and labels (N,) of one part, and the paths of the unreadable images."""
    files = [file for listed in classes.values() for file in listed]
    labels = torch.repeat_interleave(torch.tensor([len(listed) for listed in classes.values()]))
    images, lost = _images(folder, files, skip)
    readable = torch.ones(len(files), dtype=torch.bool)
    readable[lost] = False
    labels = labels[readable]
    for place, count in zip(classes, torch.bincount(labels, minlength=len(classes)).tolist(), strict=True):
        if not count:
            raise none_readable(place, len(classes[place]))
    return images, labels, [shown(files[index].path) for index in lost]


def _images(folder: Path, files: list[os.DirEntry[str]], skip: bool) -> tuple[Tensor, list[int]]:
    """The readable images of ``files``, and the places of the others: from a cache named after paths, sizes, times."""
    listing = [(file.path, *size_and_time(file, skip)) for file in files]
    key = hashlib.blake2b(json.dumps([decoding.VERSION, listing]).encode(), digest_size=8).hexdigest()
    cached = store.outputs_folder() / "cache" / f"{folder.name}-{key}{'-skipped' if skip else ''}.npy"
    places = cached.with_name(f"{cached.stem}-places.npy")
    if cached.exists():
        return torch.from_numpy(read_array(cached)), read_array(places).tolist() if skip else []
    images, lost = _decoded(files, skip)
    if skip:
        write_array(places, np.array(lost, np.int64))
    write_array(cached, images)
    return torch.from_numpy(images), lost


def _decoded(files: list[os.DirEntry[str]], skip: bool) -> tuple[np.ndarray, list[int]]:
    """The readable images (N, 3, height, width) of ``files``, and the places of the others."""
    pixels, kept, first, lost = np.empty((0, 0, 0, 3), np.uint8), 0, files[0], []
    for index, file in enumerate(files):
        try:
            image = np.asarray(decoding.decode(file.path))
        except DataError:
            if not skip:
                raise
            lost.append(index)
            continue
        if not kept:
            first, pixels = file, _room_for(len(files), image, file)
        if image.shape != pixels.shape[1:]:
            sizes = [f"{shape[1]}×{shape[0]}" for shape in (image.shape, pixels.shape[1:])]
            raise DataError(
                f"{shown(file.path)} is {sizes[0]} and {shown(first.path)} {sizes[1]}: images in memory must have one "
                f"size. {STREAM}"
            )
        pixels[kept] = image
        kept += 1
    if not kept:
        raise none_readable(Path(files[0].path).parent.parent, len(files))
    return np.ascontiguousarray(pixels[:kept].transpose(0, 3, 1, 2)), lost


def _room_for(count: int, image: np.ndarray, file: os.DirEntry[str]) -> np.ndarray:
    """An empty array for ``count`` images like this one. Raises :class:`DataError` if it is too large."""
    needed = count * image.nbytes
    if needed > IN_MEMORY_BYTES:
        raise DataError(
            f"{count:,} images such as {shown(file.path)} take {needed / 1e9:.1f} GB, more than the limit of "
            f"{IN_MEMORY_BYTES / 1e9:g} GB for images in memory. {STREAM}"
        )
    return np.empty((count, *image.shape), np.uint8)
