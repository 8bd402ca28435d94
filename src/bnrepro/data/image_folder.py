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
from bnrepro.data.sources import Source, data_folders
from bnrepro.errors import ConfigError, DataError, DataUnavailable

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
TESTS = ("test", "val")


def load(root: str | None, title: str | None) -> Source:
    """All images of a small folder, from the cache if they were decoded before; they must have one size.

    A relative ``root`` is looked for below $BNREPRO_DATA and data/. Raises :class:`DataUnavailable` where there is
    none, :class:`DataError` that names the file or folder that is wrong.
    """
    folder = find(root)
    train, test = folder / "train", next((folder / name for name in TESTS if (folder / name).is_dir()), None)
    if not train.is_dir() or test is None:
        raise DataError(f"{folder} must hold train/<class>/ and test/<class>/ (or val/<class>/)")
    listed, tested = classes(train), classes(test)
    if set(listed) != set(tested):
        odd = sorted(set(listed) ^ set(tested))
        raise DataError(f"{folder}: train and {test.name} have other classes; only one of them has {', '.join(odd)}")
    parts = []
    for part in (listed, tested):
        files = [file for files in part.values() for file in files]
        labels = [index for index, files in enumerate(part.values()) for _ in files]
        parts += [_images(folder, files), torch.tensor(labels)]
    return Source(title or folder.name, 255, *parts)


def find(root: str | None) -> Path:
    """The folder that ``data.root`` names."""
    if root is None:
        raise ConfigError("data=image_folder needs data.root=FOLDER, a folder with train/<class>/ and test/<class>/")
    candidates = [Path(root)] if Path(root).is_absolute() else [Path(root), *(at / root for at in data_folders())]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise DataUnavailable(f"data.root={root}: there is no such folder")


def classes(folder: Path) -> dict[str, list[os.DirEntry[str]]]:
    """The images of every class folder of ``folder``, classes and files in the order of their names."""
    found = {}
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        with os.scandir(path) as entries:
            images = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES)]
        if not images:
            raise DataError(f"{path} holds no image ({', '.join(SUFFIXES)})")
        found[path.name] = sorted(images, key=lambda entry: entry.name)
    if len(found) < 2:
        raise DataError(f"{folder} holds {len(found) or 'no'} class folder{'' if found else 's'}: two are the least")
    return found


def decode(path: str) -> Image.Image:
    """One image, in colour. Raises :class:`DataError` that names the file."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}). Replace it, or delete it.") from error


def _images(folder: Path, files: list[os.DirEntry[str]]) -> Tensor:
    """The images (N, 3, height, width) uint8 of ``files``, decoded once: kept by what the files are."""
    listing = [(file.path, (status := file.stat()).st_size, status.st_mtime_ns) for file in files]
    key = hashlib.blake2b(json.dumps(listing).encode(), digest_size=8).hexdigest()
    cached = store.outputs_folder() / "cache" / f"{folder.name}-{key}.npy"
    if cached.exists():
        try:
            return torch.from_numpy(store.read_array(cached))
        except ValueError as error:
            raise DataError(f"the cache {cached} is damaged ({error}): delete it, it is made anew") from error
    first = np.asarray(decode(files[0].path))
    pixels = np.empty((len(files), *first.shape), np.uint8)
    for index, file in enumerate(files):
        image = np.asarray(decode(file.path))
        if image.shape != first.shape:
            sizes = [f"{pixels.shape[1]}×{pixels.shape[0]}" for pixels in (image, first)]
            raise DataError(
                f"{file.path} is {sizes[0]} and {files[0].path} {sizes[1]}: images held in memory must have one size"
            )
        pixels[index] = image
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    store.write_array(cached, images)
    return torch.from_numpy(images)
