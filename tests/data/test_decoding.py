"""One file in any mode that Pillow knows: its grey values survive, or it is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnrepro.data import decoding

GREY = np.array([[0, 100, 128, 255]], np.uint8)


def saved(path: Path, mode: str) -> str:
    """An image of this mode with the grey values ``GREY``, as its file holds them."""
    deep = GREY.astype(np.uint16) * 257
    if mode == "I;16":
        Image.fromarray(deep).save(path, "PNG")
    elif mode == "I;16B":
        Image.frombytes(mode, (4, 1), deep.astype(">u2").tobytes()).save(path, "TIFF")
    elif mode == "I":
        path.write_bytes(b"P5 4 1 65535\n" + deep.astype(">u2").tobytes())
    else:
        image = Image.fromarray(GREY).convert("RGB").convert("L" if mode == "P" else mode)
        if mode == "P":
            image = image.convert("P")
            image.info["transparency"] = bytes(range(256))
        image.save(path, "TIFF" if mode in ("CMYK", "YCbCr", "LAB") else "PNG", **image.info)
    with Image.open(path) as found:
        assert found.mode == mode
    return str(path)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_grey_values_are_those_of_the_file_in_every_mode(mode: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decoding.decode(saved(tmp_path / "grey.png", mode))
    assert found.mode == "RGB"
    for channel in np.moveaxis(np.asarray(found).astype(int), 2, 0):
        assert np.abs(channel - GREY).max() <= (2 if mode in ("YCbCr", "LAB") else 0)


def test_black_and_white_are_the_ends_of_the_range(tmp_path: Path) -> None:
    Image.fromarray(GREY > 127).save(tmp_path / "two.png")
    assert np.asarray(decoding.decode(str(tmp_path / "two.png")))[0, :, 0].tolist() == [0, 0, 255, 255]


def test_values_between_two_levels_are_rounded(tmp_path: Path) -> None:
    Image.fromarray(np.array([[128, 129, 65406, 65407]], np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(decoding.decode(str(tmp_path / "deep.png")))[0, :, 0].tolist() == [0, 1, 254, 255]


def test_a_photograph_with_a_preview_is_one_image(tmp_path: Path) -> None:
    photo, preview = Image.new("RGB", (16, 16), "white"), Image.new("RGB", (8, 8))
    photo.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[preview])
    assert decoding.decode(str(tmp_path / "photo.jpg")).size == (16, 16)


def test_a_large_photograph_is_read_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoding.decode(str(tmp_path / "large.png")).size == (16, 16)
