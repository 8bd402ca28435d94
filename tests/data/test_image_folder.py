"""Image folders: decoded once, kept, and refused with the file's name where something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bnrepro import data
from bnrepro.config.schema import DataConfig
from bnrepro.data import image_folder
from bnrepro.errors import ConfigError, DataError, DataUnavailable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of six training and three test images; the cats are bright, the dogs dark."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for name, low in (("cat", 200), ("dog", 0)):
            for index in range(count):
                path = tmp_path / "pets" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(low, low + 50, (5, 4, 3), np.uint8)).save(path)
    return tmp_path / "pets"


def config(folder: Path, **more: object) -> DataConfig:
    return DataConfig(name="image_folder", root=str(folder), validation_examples=4, **more)  # type: ignore[arg-type]


def test_images_labels_and_splits(folder: Path) -> None:
    dataset = data.load(config(folder, title="pets of ours"))
    assert dataset.label == "pets of ours"
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 4, 6)
    assert dataset.train.images.shape == (8, 3, 5, 4)
    assert dataset.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    bright = dataset.test.images.mean((1, 2, 3)) > 0.5
    assert bright.tolist() == [True, True, True, False, False, False]


def test_standardised_by_the_training_images(folder: Path) -> None:
    dataset = data.load(config(folder, standardize=True))
    assert torch.allclose(dataset.train.images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(dataset.train.images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)


def test_decoded_once_and_again_when_a_file_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = image_folder.load(str(folder), None)
    decoded: list[str] = []
    decode = image_folder.decode
    monkeypatch.setattr(image_folder, "decode", lambda path: (decoded.append(path), decode(path))[1])
    again = image_folder.load(str(folder), None)
    assert not decoded
    assert torch.equal(first.images, again.images)
    Image.new("RGB", (4, 5)).save(folder / "train" / "cat" / "0.png")
    assert not torch.equal(first.images, image_folder.load(str(folder), None).images)
    assert decoded


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies(folder: Path, tmp_path: Path) -> None:
    before = data.load(config(folder)).fingerprint
    folder.rename(tmp_path / "elsewhere")
    assert data.load(config(tmp_path / "elsewhere")).fingerprint == before


def test_a_relative_root_is_found_below_the_data_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNREPRO_DATA", str(folder.parent))
    assert image_folder.find("pets") == folder


def unreadable(folder: Path) -> None:
    (folder / "train" / "dog" / "3.png").write_bytes(b"not an image")


def empty_class(folder: Path) -> None:
    for path in (folder / "train" / "dog").iterdir():
        path.unlink()


def one_class(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / split / "dog").rename(folder / f"moved-{split}")


def other_classes(folder: Path) -> None:
    (folder / "test" / "dog").rename(folder / "test" / "wolf")


def other_size(folder: Path) -> None:
    Image.new("RGB", (9, 9)).save(folder / "test" / "dog" / "1.png")


def no_test(folder: Path) -> None:
    (folder / "test").rename(folder / "tested")


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "an unreadable image": (unreadable, r"train/dog/3\.png cannot be read as an image"),
    "an empty class folder": (empty_class, r"train/dog holds no image"),
    "one class": (one_class, r"train needs at least two class folders, but holds 1"),
    "classes that differ": (other_classes, r"train and test have different classes; only one has dog, wolf"),
    "images of two sizes": (other_size, r"test/dog/1\.png is 9×9 and .* 4×5"),
    "no test images": (no_test, r"must hold train/<class>/ and test/<class>/"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, folder: Path) -> None:
    spoil, message = WRONG[case]
    spoil(folder)
    with pytest.raises(DataError, match=message):
        image_folder.load(str(folder), None)


def test_a_damaged_cache_is_named(folder: Path, outputs: Path) -> None:
    image_folder.load(str(folder), None)
    cached = sorted((outputs / "cache").glob("*.npy"))
    assert len(cached) == 2
    for path in cached:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"the cache .*pets-.*\.npy is damaged"):
        image_folder.load(str(folder), None)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs data\.root=FOLDER"):
        image_folder.load(None, None)
    with pytest.raises(DataUnavailable, match="there is no such folder"):
        image_folder.load("nowhere", None)
