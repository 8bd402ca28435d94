"""Image folders: decoded once, kept, and refused with the file's name where something is wrong."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bnrepro import data
from bnrepro.config.schema import DataConfig
from bnrepro.data import decoding, image_folder, listing
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
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda path: (decoded.append(path), decode(path))[1])
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
    assert listing.find("pets") == folder


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


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "test" / "dog" / "4.png")


def link_to_itself(folder: Path) -> None:
    (folder / "test" / "dog" / "4.png").symlink_to("4.png")


def emptied(folder: Path) -> None:
    (folder / "train" / "cat" / "1.png").write_bytes(b"")


def cut_short(folder: Path) -> None:
    path = folder / "train" / "cat" / "1.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-200])


def animation(folder: Path) -> None:
    frames = [Image.new("RGB", (4, 5), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "train" / "cat" / "1.webp", save_all=True, append_images=frames[1:])


def enormous(folder: Path) -> None:
    path = folder / "train" / "cat" / "1.png"
    content = bytearray(path.read_bytes())
    content[16:24] = np.array([100_000, 100_000], ">u4").tobytes()  # width and height
    content[29:33] = np.array(zlib.crc32(content[12:29]), ">u4").tobytes()
    path.write_bytes(content)


def line_break(folder: Path) -> None:
    (folder / "train" / "cat" / "one\ntwo.png").write_bytes(b"not an image")


def other_bytes(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder / "train" / "cat") + b"/\xff.png")).write_bytes(b"not an image")


def unlimited(folder: Path) -> None:
    Image.fromarray(np.full((5, 4), 0.5, np.float32)).save(folder / "train" / "cat" / "1.png", "TIFF")


def unlimited_integers(folder: Path) -> None:
    Image.fromarray(np.full((5, 4), 70_000, np.int32)).save(folder / "train" / "cat" / "1.png", "TIFF")


def only_others(folder: Path) -> None:
    for path in (folder / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".tif"))


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "an unreadable image": (unreadable, r"train/dog/3\.png cannot be read as an image"),
    "an empty class folder": (empty_class, r"train/dog holds no image"),
    "one class": (one_class, r"train needs at least two class folders, but holds 1"),
    "classes that differ": (other_classes, r"train and test have different classes; only one has dog, wolf"),
    "images of two sizes": (other_size, r"test/dog/1\.png is 9×9 and .* 4×5"),
    "a class of other files": (only_others, r"train/dog holds no image .*; it holds 0\.tif, .* and 1 more"),
    "a pipe": (pipe, r"test/dog/4\.png cannot be read \(not a file\)"),
    "a link to itself": (link_to_itself, r"test/dog/4\.png cannot be read \(Too many levels"),
    "an empty file": (emptied, r"cat/1\.png cannot be read as an image \(unknown format\)"),
    "a file cut short": (cut_short, r"cat/1\.jpg cannot be read as an image \(image file is truncated"),
    "an animation": (animation, r"cat/1\.webp holds 2 images.*Convert it"),
    "an enormous image": (enormous, r"cat/1\.png cannot be read as an image \(Image size \(10000000000 pixels"),
    "a name with a line break": (line_break, r"cat/one\\ntwo\.png cannot be read as an image"),
    "a name that is no text": (other_bytes, r"cat/\\udcff\.png cannot be read as an image"),
    "floating point": (unlimited, r"cat/1\.png has the mode F of Pillow"),
    "32 bits": (unlimited_integers, r"cat/1\.png has the mode I of Pillow"),
    "no test images": (no_test, r"must hold train/<class>/ and test/<class>/"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, folder: Path) -> None:
    spoil, message = WRONG[case]
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        image_folder.load(str(folder), None)
    assert str(caught.value).isprintable()


def test_skipped_files_are_named_in_text(folder: Path) -> None:
    for spoil in (pipe, line_break, other_bytes, unlimited):
        spoil(folder)
    found = data.load(config(folder, unreadable="skip"))
    assert len(found.unreadable) == 4
    assert all(name.isprintable() for name in found.unreadable)


def test_a_class_without_a_readable_image_is_named(folder: Path) -> None:
    for part in ("test", "train"):
        for path in (folder / part / "dog").iterdir():
            path.write_bytes(b"not an image")
        for _ in range(2):  # decoded, and from the cache
            with pytest.raises(DataError, match=f"{part}/dog: not one of [36] images can be read"):
                image_folder.load(str(folder), None, skip=True)


def test_classes_are_folders_whatever_is_drawn_from_them(folder: Path) -> None:
    for path in sorted((folder / "train" / "dog").iterdir())[1:]:
        path.write_bytes(b"not an image")
    assert data.load(config(folder, unreadable="skip")).classes == 2


def test_what_is_passed_over_is_counted_and_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = image_folder.load(str(folder), None)
    assert not caplog.text
    for part in ("train", "test"):
        for service in (".ipynb_checkpoints", "__MACOSX"):
            (folder / part / service).mkdir()
            (folder / part / "cat" / service).mkdir()
            (folder / part / service / "0.png").write_bytes((folder / part / "cat" / "0.png").read_bytes())
        (folder / part / "cat" / "._0.png").write_bytes(b"of a Mac")
        (folder / part / ".DS_Store").write_bytes(b"of a Mac")
        (folder / part / "cat" / ".DS_Store").write_bytes(b"of a Mac")
    for index in range(40):
        (folder / "train" / "cat" / f"{index:02d}.TIF").write_bytes(b"a photograph")
    (folder / "train" / "labels.csv").write_bytes(b"")
    (folder / "train" / "loop").symlink_to("loop")
    (folder / "test" / "dog" / "puppies").mkdir()
    after = image_folder.load(str(folder), None)
    assert torch.equal(before.images, after.images)
    assert after.classes == 2
    [told] = [record.message for record in caplog.records]
    for part in (
        "40 .tif (train/cat/00.TIF)", "4 hidden folders (train/.ipynb_checkpoints)", "4 folders of the system",
        "2 hidden files (train/cat/._0.png)", "1 folders within a class (test/dog/puppies)",
        "2 beside the class folders (train/labels.csv)",
    ):  # fmt: skip
        assert part in told
    assert "\n" not in told


@pytest.mark.parametrize("place", ["", "train", "train/cat", "train/cat/0.png"])
def test_what_may_not_be_read_is_named(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = str(folder / place)

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *args: Any, **more: Any) -> Any:
            if str(path).startswith(closed):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *args, **more)

        return refuse

    with monkeypatch.context() as patch:  # permissions do not bind root
        patch.setattr(os, "scandir", refusing(os.scandir))
        patch.setattr(os, "stat", refusing(os.stat))
        patch.setattr("builtins.open", refusing(open))
        with pytest.raises(DataError, match=f"^{closed}[a-z/]* cannot be read \\(Permission denied\\)$"):
            image_folder.load(str(folder), None)


def test_pixels_cached_by_another_decoder_are_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_folder.load(str(folder), None)
    monkeypatch.setattr(decoding, "VERSION", decoding.VERSION + 1)
    monkeypatch.setattr(decoding, "decode", lambda path: Image.new("RGB", (4, 5)))
    assert not image_folder.load(str(folder), None).images.any()


def test_a_damaged_cache_is_named(folder: Path, outputs: Path) -> None:
    image_folder.load(str(folder), None)
    cached = sorted((outputs / "cache").glob("*.npy"))
    assert len(cached) == 2
    for path in cached:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"the cache .*pets-.*\.npy is damaged"):
        image_folder.load(str(folder), None)


def test_no_folder_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"needs data\.root=FOLDER"):
        image_folder.load(None, None)
    (tmp_path / "nowhere").write_bytes(b"")
    monkeypatch.setenv("BNREPRO_DATA", str(tmp_path))
    with pytest.raises(
        DataUnavailable, match=r"there is no such folder \(nowhere does not exist; .*nowhere is a file; "
    ):
        image_folder.load("nowhere", None)


@pytest.mark.parametrize(
    ("root", "where"),
    [(".", "pets"), ("../pets/", "pets"), ("..", "pets/train"), ("~/pets", "pets/test"), ("pets", "")],
)
def test_the_data_are_named_after_their_folder_however_it_is_written(
    root: str, where: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(folder.parent / where)
    assert data.load(DataConfig("image_folder", root=root, validation_examples=4)).label == "pets"


def test_too_many_for_validation_names_a_number_that_works(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"pets has 12 in all.* data\.validation_examples=1$"):
        data.load(DataConfig("image_folder", root=str(folder)))
    assert len(data.load(DataConfig("image_folder", root=str(folder), validation_examples=1)).train) == 11
