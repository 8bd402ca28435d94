"""Folders too large for memory: every mini-batch a function of the seed and its number, whoever reads it."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils import data as torch_data

from bnrepro import data
from bnrepro.config.schema import Config, DataConfig
from bnrepro.data import decoding, image_folder, streaming
from bnrepro.data.listing import PassedOver
from bnrepro.data.sets import StreamedDataset
from bnrepro.errors import ConfigError, DataError, UserError
from bnrepro.runs import run
from bnrepro.training import checkpoint
from bnrepro.training.evaluation import evaluate
from bnrepro.training.loop import Trainer

CLASSES = 12
STREAMED = (
    "data=image_folder", "data.stream=true", "data.image_size=8", "data.validation_examples=20", "data.workers=0",
    "batch_size=8", "steps=6", "wandb=disabled", "checkpoint_every_s=0", "evaluation.min_interval=3",
    "optimizer.lr=0.05",
)  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve classes of five training and two test images of unequal sizes; each class has a brightness of its own."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 2)):
        for label in range(CLASSES):
            folder = tmp_path / "photos" / part / f"class {label:02d}"
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = draw.integers(9, 16, 2)
                pixels = draw.integers(0, 30, (height, width, 3), np.uint8) + 18 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "photos"


def dataset(photos: Path, **more: Any) -> StreamedDataset:
    settings = {"validation_examples": 20, "stream": True, "image_size": 8, "workers": 0} | more
    found = data.open_dataset(DataConfig("image_folder", root=str(photos), **settings))
    assert isinstance(found, StreamedDataset)
    return found


@pytest.fixture
def configured(photos: Path, sweep: Callable[..., list[Config]]) -> Callable[..., Config]:
    def one(*overrides: str) -> Config:
        [config] = sweep(*STREAMED, f"data.root={photos}", *overrides)
        return config

    return one


def batches(config: Config, first: int, stop: int, found: data.AnyDataset | None = None) -> list[Any]:
    found = found or data.open_dataset(config.data)
    split = found.train.to("cpu", torch.float32)
    batches = data.open_batches(config, split, data.ExampleOrder(config, len(split)))
    return list(batches.between(first, stop))


def list_files(folder: Path, skip: bool = False) -> streaming.ImageFiles:
    return streaming.list_files(folder, PassedOver(folder), skip)


def damage(photos: Path, *names: str) -> list[str]:
    for name in names:
        (photos / name).write_bytes(b"not an image")
    return [str(photos / name) for name in names]


# ----------------------------------------------------------------------------------------------------- files


def test_paths_and_labels_are_those_of_the_folder(photos: Path) -> None:
    files = list_files(photos / "train")
    expected = sorted((photos / "train").glob("*/*.png"))
    assert [files.path(position) for position in range(len(files))] == [str(path) for path in expected]
    labels = [files.label(position) for position in range(len(files))]
    assert labels == [int(path.parent.name.split()[1]) for path in expected]


def test_the_listing_takes_a_few_bytes_an_image(photos: Path) -> None:
    """Its size in memory grows with the names alone: there is no object for an image, in no process."""
    files = list_files(photos / "train")
    assert files.names.nbytes + files.ends.nbytes <= len(files) * (len("class 00/0.png") + 8)


def test_the_fingerprint_is_of_names_and_sizes(photos: Path, tmp_path: Path) -> None:
    before = dataset(photos).fingerprint
    photos.rename(tmp_path / "elsewhere")
    assert dataset(tmp_path / "elsewhere").fingerprint == before
    Image.new("RGB", (9, 9)).save(tmp_path / "elsewhere" / "val" / "class 00" / "0.png")
    assert dataset(tmp_path / "elsewhere", workers=1).fingerprint != before  # asked anew: other settings


def test_splits_and_moments(photos: Path) -> None:
    found = dataset(photos, standardize=True)
    assert (len(found.train), len(found.validation), len(found.test)) == (40, 20, 24)
    assert not set(found.train.positions.tolist()) & set(found.validation.positions.tolist())
    assert found.classes == CLASSES
    images = torch.cat([images for images, _ in found.train.chunks(7)])
    assert images.shape == (40, 3, 8, 8)
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)
    again = dataset(photos, standardize=True, workers=1)  # from the cache
    assert torch.equal(found.train.mean, again.train.mean)


def test_evaluation_sees_the_middle_of_every_image_once(photos: Path) -> None:
    test = dataset(photos).test
    images, labels = (torch.cat(parts) for parts in zip(*test.chunks(5), strict=True))
    assert labels.tolist() == [label for label in range(CLASSES) for _ in range(2)]
    # A crop keeps the brightness of its class: the images are those of their labels.
    assert torch.equal((images.mean((1, 2, 3)) * 255 - 15).div(18).round().long(), labels)
    shares = [torch.cat([part for part, _ in test.chunks(5, first, 2)]) for first in (0, 1)]
    assert sum(map(len, shares)) == len(images)
    assert torch.equal(shares[1][:5], images[5:10])


# --------------------------------------------------------------------------------------------------- batches


def test_a_mini_batch_does_not_depend_on_workers_or_on_those_before_it(configured: Callable[..., Config]) -> None:
    one = batches(configured("augmentation.flip=true"), 0, 7)
    two = batches(configured("augmentation.flip=true", "data.workers=2"), 0, 7)
    late = batches(configured("augmentation.flip=true"), 5, 7)
    for pair in (*zip(one, two, strict=True), *zip(one[5:], late, strict=True)):
        for found, expected in zip(*pair, strict=True):
            assert torch.equal(found, expected)


def test_every_mini_batch_has_crops_of_its_own(configured: Callable[..., Config]) -> None:
    config = configured("batch_size=40")  # an epoch is one mini-batch
    epochs = batches(config, 0, 2)
    order = data.ExampleOrder(config, 40)
    (first, _), (second, _) = epochs
    assert not torch.equal(first[order.batch(0).argsort()], second[order.batch(1).argsort()])
    other = batches(configured("batch_size=40", "seed=1"), 0, 1)
    assert not torch.equal(first, other[0][0])
    mirrored = batches(configured("batch_size=40", "augmentation.flip=true"), 0, 1)[0][0]
    same = [torch.equal(*pair) for pair in zip(first, mirrored, strict=True)]
    turned = [torch.equal(one.flip(2), two) for one, two in zip(first, mirrored, strict=True)]
    assert all(one or two for one, two in zip(same, turned, strict=True))
    assert 8 < sum(turned) < 32


def test_reading_draws_nothing_from_the_generator_of_the_layers(configured: Callable[..., Config]) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for workers in (0, 1):
        batches(configured(f"data.workers={workers}"), 0, 2)
        list(data.open_dataset(configured().data).test.chunks(10))
        assert torch.equal(before, torch.get_rng_state())


def test_a_streamed_run_stops_and_goes_on_bit_for_bit(configured: Callable[..., Config]) -> None:
    config = configured("model.dropout=0.3", "norm=batch")
    loaded = data.open_dataset(config.data)
    whole = Trainer(config, loaded)
    whole.run()
    states: list[bytes] = []
    interrupted = Trainer(config, loaded)
    interrupted.config.checkpoint_every_s = 1e-9
    interrupted.callbacks.on_checkpoint = states.append
    interrupted.run()
    resumed = Trainer(config, loaded)
    checkpoint.restore(resumed, states[0])
    assert resumed.progress.step == 3
    resumed.run()
    assert resumed.progress.tables == whole.progress.tables
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


# ---------------------------------------------------------------------------------------------------- faults


def test_an_unreadable_image_is_refused_by_name(photos: Path, configured: Callable[..., Config]) -> None:
    damage(photos, "train/class 03/2.png")
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"class 03/2\.png cannot be read as an image"):
            batches(configured(f"data.workers={workers}", "data.validation_examples=1"), 0, 10)


def test_unreadable_images_are_passed_over_and_counted(photos: Path, configured: Callable[..., Config]) -> None:
    paths = damage(photos, "train/class 03/2.png", "train/class 03/3.png", "val/class 05/0.png")
    config = configured("data.unreadable=skip", "data.validation_examples=1", "steps=14", "norm=batch")
    planned = run.plan(config)
    assert run.execute(planned) == "finished"
    record, _ = planned.folder.read()
    assert list(record.unreadable) == sorted(paths)
    found = data.open_dataset(config.data)
    labels = torch.cat([labels for _, labels in found.test.chunks(5)])
    assert (labels == streaming.NO_LABEL).sum() == 1
    test = found.test.to("cpu", torch.float32)
    assert evaluate(Constant(5), test).accuracy == 1 / (2 * CLASSES - 1)  # of the images that there are


class Constant(torch.nn.Module):
    """Scores by which one class always wins, those before it by rank."""

    def __init__(self, winner: int) -> None:
        super().__init__()
        self.scores = -(torch.arange(CLASSES) - winner).abs().float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores.expand(len(images), -1)


def test_the_next_image_of_the_split_takes_the_place_of_an_unreadable_one(photos: Path) -> None:
    found = dataset(photos, unreadable="skip")
    files, positions = found.train.files, found.train.positions
    decoder = streaming.Decoder(files, positions, 8, 0.5, False)
    expected = decoder[0, 1]
    paths = [files.path(int(position)) for position in positions[-2:]]
    for path in paths:
        Path(path).write_bytes(b"not an image")
    # After the last comes the first; never one of another split, whose files lie between.
    pixels, label, place, unreadable = decoder[38, 1]
    assert (label, place, unreadable) == (expected[1], 38, 2)
    assert torch.equal(pixels, expected[0])
    found.train._note(38, 2)
    assert found.train.unreadable == set(paths)  # not only the one that was asked for


def test_a_split_without_one_readable_image_is_refused(photos: Path, configured: Callable[..., Config]) -> None:
    found = dataset(photos, unreadable="skip")
    damage(photos, *(f"val/class {label:02d}/{index}.png" for label, index in itertools.product(range(12), range(2))))
    damage(photos, *(f"train/class {label:02d}/{index}.png" for label, index in itertools.product(range(12), range(5))))
    with pytest.raises(DataError, match="not one of 24 images"):
        evaluate(Constant(0), found.test)
    with pytest.raises(DataError, match="not one of 40 images"):
        batches(configured("data.unreadable=skip", "data.standardize=false"), 0, 1, found)
    with pytest.raises(DataError, match="not one of 40 images"):
        streaming.moments(found.train, found.fingerprint)


def test_a_class_without_a_readable_image_is_named_before_training(photos: Path) -> None:
    for part, count in (("val", 2), ("train", 5)):
        damage(photos, *(f"{part}/class 11/{index}.png" for index in range(count)))
        with pytest.raises(DataError, match=f"{part}/class 11: not one of {count} images can be read"):
            dataset(photos, unreadable="skip")


def test_what_is_passed_over_is_no_data_and_is_named(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = dataset(photos)
    for part in ("train", "val"):
        (photos / part / ".ipynb_checkpoints").mkdir()
        for name in (".ipynb_checkpoints/0.png", "class 00/._0.png", "class 00/0.tif"):
            (photos / part / name).write_bytes((photos / part / "class 00/0.png").read_bytes())
    after = dataset(photos, workers=1)  # asked anew: other settings
    assert (after.fingerprint, after.classes) == (before.fingerprint, CLASSES)
    [told] = [record.message for record in caplog.records]
    assert "2 hidden folders (train/.ipynb_checkpoints), 2 hidden files (train/class 00/._0.png), 2 .tif" in told


@pytest.mark.parametrize(("root", "label"), [(".", "photos"), ("..", "photos"), ("~", "photos")])
def test_the_data_are_named_after_their_folder(
    root: str, label: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(photos))
    monkeypatch.chdir(photos / "train" if root == ".." else photos)
    assert dataset(Path(root)).label == label


def test_16_bit_images_are_scaled(photos: Path) -> None:
    expected = next(dataset(photos, image_size=9).test.chunks(24))[0]
    for path in photos.glob("val/*/*.png"):
        Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 257).save(path)
    found = next(dataset(photos, image_size=9).test.chunks(24))[0]
    assert (found - expected).abs().mean() < 0.03
    assert found.std() > 0.2


def test_a_chunk_without_one_readable_image_is_passed_over(photos: Path, configured: Callable[..., Config]) -> None:
    path = damage(photos, "val/class 11/1.png")
    found = dataset(photos, unreadable="skip")
    assert [len(images) for images, _ in found.test.chunks(23)] == [23, 1]
    assert evaluate(Constant(11), found.test).accuracy == 1 / 23
    assert found.test.unreadable == set(path)
    damage(photos, *(found.train.files.path(int(place)) for place in found.train.positions[:2]))
    config = configured("data.unreadable=skip", "norm=batch")  # whose first two images try the network out
    Trainer(config, data.open_dataset(config.data))


def test_every_kind_of_damage_names_the_file(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # a damaged header can ask for any size
    with pytest.raises(DataError, match=r"class 00/0\.png cannot be read as an image"):
        decoding.decode(str(photos / "train/class 00/0.png"))
    (photos / "train/class 01/link.png").symlink_to("nowhere")
    listed = list_files(photos / "train", skip=True)
    assert len(listed) == 5 * CLASSES + 1
    for listing in (list_files, lambda folder: image_folder.load(str(folder.parent), None)):
        with pytest.raises(DataError, match=r"class 01/link\.png cannot be read \(No such file"):
            listing(photos / "train")


def test_a_name_need_not_be_text(photos: Path) -> None:
    odd = os.path.join(os.fsencode(photos), b"train/class 11/\xff.png")
    os.rename(photos / "train/class 11/4.png", odd)
    found = dataset(photos)
    assert os.fsencode(found.train.files.path(59)) == odd
    assert len(torch.cat([labels for _, labels in (*found.train.chunks(40), *found.validation.chunks(40))])) == 60


def test_a_worker_that_starts_from_nothing_can_read(photos: Path) -> None:
    """As they all do from Python 3.14 on: what it is handed must not need torchvision to be unpacked."""
    found = dataset(photos).train
    decoder = streaming.Decoder(found.files, found.positions, 8, 0.5, True)
    packed = pickle.dumps(decoder)
    assert b"torchvision" not in packed
    for one, other in zip(pickle.loads(packed)[3, 7], decoder[3, 7], strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_in_memory_too_unreadable_images_are_passed_over(photos: Path) -> None:
    for path in photos.glob("*/*/*.png"):
        Image.open(path).resize((8, 8)).save(path)
    [path] = damage(photos, "train/class 00/0.png")
    for _ in range(2):  # decoded, and from the cache
        found = image_folder.load(str(photos), None, skip=True)
        assert found.unreadable == (path,)
        assert len(found.images) == len(found.labels) == 5 * CLASSES - 1
        assert found.labels[:5].tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(DataError, match="cannot be read"):
        image_folder.load(str(photos), None)


def test_what_does_not_fit_memory_is_told_to_be_streamed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"must have one size\. data\.stream=true"):
        image_folder.load(str(photos), None)
    monkeypatch.setattr(image_folder, "IN_MEMORY_BYTES", 1000)
    with pytest.raises(DataError, match=r"60 images such as .* data\.stream=true"):
        image_folder.load(str(photos), None)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("probes.shift.enabled=true",), "images in memory"),
        (("data.threshold=0.5",), "for images in memory"),
        (("data=digits", "data.stream=true"), "reads data=image_folder"),
        (("data.validation_examples=60",), "has 60 in all"),
    ],
)
def test_what_cannot_be_streamed_is_refused(
    configured: Callable[..., Config], overrides: tuple[str, ...], expected: str
) -> None:
    config = configured(*overrides)
    with pytest.raises(ConfigError, match=expected):
        Trainer(config, data.open_dataset(config.data))


def test_what_needs_images_in_memory_says_so(photos: Path) -> None:
    with pytest.raises(ConfigError, match="needs its images in memory"):
        data.load(DataConfig("image_folder", root=str(photos), stream=True))


# ------------------------------------------------------------------------------------------ processes that read


def test_a_run_of_a_sweep_reads_by_itself(configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = batches(configured(), 0, 2)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # pyright: ignore
    for pair in zip(batches(configured("data.workers=2"), 0, 2), expected, strict=True):
        for found, alone in zip(*pair, strict=True):
            assert torch.equal(found, alone)


def test_a_killed_process_that_reads_is_one_message(
    photos: Path, configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)  # seconds to wait for each to end
    config = configured("data.workers=2")
    found = data.open_dataset(config.data)
    split = found.train.to("cpu", torch.float32)
    split.sample(1)  # imports what the processes need
    source = data.open_batches(config, split, data.ExampleOrder(config, len(split))).between(0, 100_000)
    before = set(multiprocessing.active_children())
    next(source)
    victim, other = set(multiprocessing.active_children()) - before

    def killed() -> None:
        # PyTorch raises where it is when it learns of it: in the loader, or between two mini-batches.
        with data.explained(2):
            os.kill(victim.pid or 0, signal.SIGKILL)
            for _ in source:
                time.sleep(0.001)

    with pytest.raises(UserError, match=r"^data\.workers=2: .*/dev/shm .*data\.workers=0: .*$") as caught:
        killed()
    assert "\n" not in str(caught.value)
    # The end of the others is then no news, wherever the program is.
    other.kill()
    other.join()


# ------------------------------------------------------------------------------------------------------ top-5


def test_top_5_counts_labels_among_the_five_best(photos: Path) -> None:
    test = dataset(photos).test.to("cpu", torch.float32)
    # The five best of a network that always says 2 are the classes 0 to 4.
    found = evaluate(Constant(2), test)
    assert found.accuracy == pytest.approx(1 / CLASSES)
    assert found.top5_accuracy == pytest.approx(5 / CLASSES)


def test_top_5_is_a_column_where_there_are_more_than_ten_classes(configured: Callable[..., Config]) -> None:
    config = configured("norm=none", "steps=3")
    trainer = Trainer(config, data.open_dataset(config.data))
    trainer.run()
    metrics = {tuple(line.split(",")[2:4]) for line in trainer.progress.tables["metrics"]}
    assert {("test", "top5_accuracy"), ("validation", "top5_accuracy")} <= metrics
