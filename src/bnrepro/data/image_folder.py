"""A folder of images as a data set: ``root/train/<class>/*`` and ``root/test/<class>/*`` (or ``val``), decoded once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bnrepro import store
from bnrepro.data.cache import read_array, write_array
from bnrepro.data.sources import Source, data_folders
from bnrepro.errors import ConfigError, DataError, DataUnavailable

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
TESTS = ("test", "val")
IN_MEMORY_BYTES = 4 * 10**9
"""Limit for uint8 pixels; training needs four times as much memory, for float32."""
STREAM = "data.stream=true reads them from disk during training, cropped to data.image_size."


def load(root: str | None, title: str | None, skip: bool = False) -> Source:
    """All images of a small folder, from the cache if they were decoded before; they must have the same size.

    ``root`` is found as by :func:`find`. ``skip`` leaves out images that cannot be read. Raises
    :class:`DataUnavailable` if there is no such folder, :class:`DataError` that names a wrong file or folder.
    """
    folder = find(root)
    parts = (_labelled(folder, part, skip) for part in train_and_test(folder))
    (images, labels, lost), (test_images, test_labels, test_lost) = parts
    return Source(title or folder.name, 255, images, labels, test_images, test_labels, (*lost, *test_lost))


def find(root: str | None) -> Path:
    """The folder ``data.root``; a relative path is also searched below $BNREPRO_DATA and data/.

    Raises :class:`DataUnavailable` if there is none, :class:`ConfigError` for None.
    """
    if root is None:
        raise ConfigError("data=image_folder needs data.root=FOLDER, a folder with train/<class>/ and test/<class>/")
    candidates = [Path(root)] if Path(root).is_absolute() else [Path(root), *(at / root for at in data_folders())]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise DataUnavailable(f"data.root={root}: there is no such folder")


def train_and_test(folder: Path) -> tuple[Path, Path]:
    """The two parts of ``folder``. Raises :class:`DataError` if one is missing or their classes differ."""
    train, test = folder / "train", next((folder / name for name in TESTS if (folder / name).is_dir()), None)
    if not train.is_dir() or test is None:
        raise DataError(f"{folder} must hold train/<class>/ and test/<class>/ (or val/<class>/)")
    listed, tested = ({path.name for path in class_folders(part)} for part in (train, test))
    if listed != tested:
        odd = sorted(listed ^ tested)
        raise DataError(f"{folder}: train and {test.name} have different classes; only one has {', '.join(odd)}")
    return train, test


def class_folders(folder: Path) -> list[Path]:
    """The class folders in ``folder``, sorted by name. Raises :class:`DataError` if there are fewer than two."""
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(found) < 2:
        raise DataError(f"{folder} needs at least two class folders, but holds {len(found)}")
    return found


def images_in(folder: Path) -> list[os.DirEntry[str]]:
    """The images in a class folder, sorted by name. Raises :class:`DataError` if there is none."""
    with os.scandir(folder) as entries:
        images = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    if not images:
        raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return sorted(images, key=lambda entry: entry.name)


def size_and_time(entry: os.DirEntry[str], skip: bool) -> tuple[int, int]:
    """Size and time of a file. A broken link raises :class:`DataError`, or gives (-1, -1) if ``skip``."""
    try:
        found = entry.stat()
        return found.st_size, found.st_mtime_ns
    except OSError as error:
        if skip:
            return -1, -1
        raise DataError(f"{entry.path} cannot be read ({error.strerror}). Replace it, or delete it.") from error


def decode(path: str) -> Image.Image:
    """One image as RGB. Raises :class:`DataError` that names the file."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}). Replace it, or delete it.") from error


def _labelled(folder: Path, part: Path, skip: bool) -> tuple[Tensor, Tensor, list[str]]:
    """Images (N, 3, height, width) uint8 and labels (N,) of one part, and the paths of the unreadable images."""
    listed = [images_in(path) for path in class_folders(part)]
    files = [file for files in listed for file in files]
    labels = torch.repeat_interleave(torch.tensor([len(files) for files in listed]))
    images, lost = _images(folder, files, skip)
    readable = torch.ones(len(files), dtype=torch.bool)
    readable[lost] = False
    return images, labels[readable], [files[index].path for index in lost]


def _images(folder: Path, files: list[os.DirEntry[str]], skip: bool) -> tuple[Tensor, list[int]]:
    """The readable images of ``files``, and the places of the others: from a cache named after paths, sizes, times."""
    listing = [(file.path, *size_and_time(file, skip)) for file in files]
    key = hashlib.blake2b(json.dumps(listing).encode(), digest_size=8).hexdigest()
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
            image = np.asarray(decode(file.path))
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
                f"{file.path} is {sizes[0]} and {first.path} {sizes[1]}: images in memory must have one size. {STREAM}"
            )
        pixels[kept] = image
        kept += 1
    if not kept:
        raise DataError(f"{Path(files[0].path).parent.parent}: not one of {len(files):,} images can be read")
    return np.ascontiguousarray(pixels[:kept].transpose(0, 3, 1, 2)), lost


def _room_for(count: int, image: np.ndarray, file: os.DirEntry[str]) -> np.ndarray:
    """An empty array for ``count`` images like this one. Raises :class:`DataError` if it is too large."""
    needed = count * image.nbytes
    if needed > IN_MEMORY_BYTES:
        raise DataError(
            f"{count:,} images such as {file.path} take {needed / 1e9:.1f} GB, more than the limit of "
            f"{IN_MEMORY_BYTES / 1e9:g} GB for images in memory. {STREAM}"
        )
    return np.empty((count, *image.shape), np.uint8)
