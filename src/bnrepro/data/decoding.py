"""One image file as 8-bit RGB, whatever its mode."""

from __future__ import annotations

import os
import stat
import warnings

import numpy as np
from PIL import Image

from bnrepro.data.places import shown
from bnrepro.errors import DataError

VERSION = 2
"""Increase it when the pixels of a decoded file change: what was cached with another version is not used."""
DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
"""Modes of Pillow with 16-bit grey values."""
DEEP_FORMATS = ("PNG", "PPM")
"""Formats whose images of mode I hold 16-bit values; elsewhere the range of this mode is not known."""


def decode(path: str) -> Image.Image:
    """One image as RGB; transparency is left out. Raises :class:`DataError` that names the file.

    16-bit grey values are scaled to 8 bits. An image of mode I or F without a known range is refused, since Pillow
    would clip its values; so is a file with several images, except for the previews beside a photograph (MPO).
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its other end
            raise OSError("not a file")
        # Between Pillow's limit and twice this limit it only warns; photographs are allowed to be that large.
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path) as file,
        ):
            return _rgb(file)
    except MemoryError:
        raise
    except DataError as error:
        raise DataError(f"{shown(path)} {error}. Convert it, or delete it.") from None
    except PermissionError as error:
        raise DataError(f"{shown(path)} cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged file can make a decoder raise anything
        raise DataError(
            f"{shown(path)} cannot be read as an image ({_why(error)}). Replace it, or delete it."
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise DataError(
            f"holds {getattr(image, 'n_frames', 2)} images, as an animation does: one in a file can be read"
        )
    if image.mode in DEEP or (image.mode == "I" and image.format in DEEP_FORMATS):
        return Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError(f"has the mode {image.mode} of Pillow, numbers without a known range: 8 or 16 bits can be read")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # a palette with transparency is not converted to RGB without a warning
    return image.convert("RGB")


def _why(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "unknown format"
    return " ".join(shown(line) for line in str(error).split("\n")) or type(error).__name__
