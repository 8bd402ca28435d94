"""Data is what it says: disjoint splits, binary values, and an order that the seed alone fixes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnrepro import data
from bnrepro.config.schema import Config, DataConfig
from bnrepro.data import ExampleOrder, sets, sources
from bnrepro.errors import ConfigError

DIGITS = DataConfig("digits", threshold=0.5, validation_examples=200)


@pytest.mark.mnist
def test_mnist_itself(mnist: Path) -> None:
    loaded = data.load(DataConfig("mnist", threshold=0.5, validation_examples=5000))
    assert [len(split) for split in (loaded.train, loaded.validation, loaded.test)] == [55_000, 5000, 10_000]
    assert loaded.train.images.shape == (55_000, 1, 28, 28)
    assert set(loaded.test.images.unique().tolist()) == {0.0, 1.0}
    assert loaded.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (loaded.classes, loaded.label) == (10, "MNIST, binary")
    sets._load.cache_clear()


# ----------------------------------------------------------------------------------------------------- splits


def test_the_digits_splits_are_disjoint_and_complete() -> None:
    grey = data.load(DataConfig("digits", validation_examples=200))
    splits = (grey.train, grey.validation, grey.test)
    assert [len(split) for split in splits] == [1237, 200, 360]
    from sklearn.datasets import load_digits

    found = [tuple(image.flatten().tolist()) for split in splits for image in split.images * 16]
    assert sorted(found) == sorted(map(tuple, load_digits().data.tolist()))
    for split in splits:
        assert split.labels.unique().tolist() == list(range(10))
        assert split.images.dtype == torch.float32
        assert (split.images.min(), split.images.max()) == (0, 1)


def test_labels_stay_with_their_images() -> None:
    from sklearn.datasets import load_digits

    features, target = load_digits(return_X_y=True)
    known = {tuple(row): label for row, label in zip(features.tolist(), target.tolist(), strict=True)}
    grey = data.load(DataConfig("digits", validation_examples=200))
    for split in (grey.train, grey.validation, grey.test):
        for image, label in zip(split.images, split.labels.tolist(), strict=True):
            assert known[tuple((image * 16).flatten().tolist())] == label


def test_binary_is_what_reaches_the_threshold() -> None:
    grey, binary = data.load(DataConfig("digits", validation_examples=200)), data.load(DIGITS)
    assert torch.equal(binary.train.images, (grey.train.images >= 0.5).float())
    assert (grey.train.images == 0.5).any(), "the edge itself must be seen"
    assert binary.label == "UCI digits, binary"
    assert grey.label == "UCI digits"


def test_the_test_set_does_not_depend_on_the_validation_set() -> None:
    one, two = data.load(DIGITS), data.load(DataConfig("digits", threshold=0.5, validation_examples=100))
    assert torch.equal(one.test.images, two.test.images)
    assert one.fingerprint == two.fingerprint


def test_the_fingerprint_sees_a_single_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    before = data.load(DIGITS).fingerprint
    source = sources.digits()
    source.test_images[5, 0, 3, 3] += 1
    monkeypatch.setattr(sources, "digits", lambda: source)
    sets._load.cache_clear()
    changed = data.load(DIGITS).fingerprint
    sets._load.cache_clear()
    assert changed != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"validation_examples": 1437},
            r"=1437: UCI digits has 1437 .*data\.validation_examples=143$",
        ),
        (
            {"validation_examples": 400, "train_examples": 1038},
            r"=1038: UCI digits has 1037 .*data\.train_examples=null$",
        ),
    ],
)
def test_splits_that_do_not_fit_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        data.load(DataConfig("digits", **changes))


# ------------------------------------------------------------------------------------------------------ order


@pytest.fixture
def order(small: Callable[..., Config]) -> Callable[..., ExampleOrder]:
    return lambda *overrides, available=107: ExampleOrder(small(*overrides), available)


def test_each_epoch_is_a_permutation_of_its_own(order: Callable[..., ExampleOrder]) -> None:
    found = order("batch_size=10")
    assert found.batches_per_epoch == 10
    epochs = [torch.cat([found.batch(epoch * 10 + i) for i in range(10)]).tolist() for epoch in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == 100, "an example came twice within an epoch"
        assert set(epoch) <= set(range(107))
    for one, other in itertools.combinations(epochs, 2):
        assert one != other
    whole = order("batch_size=107")
    assert sorted(whole.batch(5).tolist()) == list(range(107))


def test_a_batch_does_not_depend_on_those_asked_for_before(order: Callable[..., ExampleOrder]) -> None:
    one = order("batch_size=10")
    forward = [one.batch(i).clone() for i in range(35)]
    for index in (34, 0, 12, 12, 33, 9, 10):
        assert torch.equal(one.batch(index), forward[index])
        assert torch.equal(order("batch_size=10").batch(index), forward[index])


def test_the_order_depends_on_the_seed_and_on_nothing_else(order: Callable[..., ExampleOrder]) -> None:
    base = order("seed=1").batch(7)
    same = order("seed=1", "norm=none", "optimizer.lr=3", "model.dropout=0.5", "steps=3").batch(7)
    assert torch.equal(base, same)
    assert not torch.equal(base, order("seed=2").batch(7))
    torch.manual_seed(99)
    assert torch.equal(base, order("seed=1").batch(7))


def test_a_subset_is_drawn_by_the_seed_and_kept(order: Callable[..., ExampleOrder]) -> None:
    found = order("data.train_examples=40", "batch_size=20")
    assert found.batches_per_epoch == 2
    seen = set(torch.cat([found.batch(i) for i in range(20)]).tolist())
    assert len(seen) == 40
    assert seen != set(range(40))
    assert seen != set(order("data.train_examples=40", "batch_size=20", "seed=1").subset.tolist())


def test_a_batch_larger_than_the_data_is_refused(order: Callable[..., ExampleOrder]) -> None:
    with pytest.raises(ConfigError, match="batch_size=108: larger than the 107 training examples"):
        order("batch_size=108")


def test_digits_enlarged_to_photographs() -> None:
    dataset = data.load(DataConfig("digits", validation_examples=300, standardize=True, enlarge=32))
    assert dataset.train.images.shape[1:] == (3, 32, 32)
    assert dataset.train.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(dataset.train.images.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)


def test_a_part_of_a_split_is_the_same_for_every_run() -> None:
    test = data.load(DIGITS).test
    assert torch.equal(data.part_of(test, 50, "test").images, data.part_of(test, 50, "test").images)
    assert len(data.part_of(test, 50, "test")) == 50
    assert len(data.part_of(test, 50, "test").labels.unique()) == 10  # drawn, not the first ones
    assert data.part_of(test, 0, "test") is test


def test_the_same_examples_stay_together_if_batches_are_shuffled(small: Callable[..., Config]) -> None:
    config = small("shuffle=batches", "batch_size=10")
    order = ExampleOrder(config, 95)
    first, second = ([order.batch(epoch * 9 + index) for index in range(9)] for epoch in (0, 1))
    together = {frozenset(batch.tolist()) for batch in first}
    assert {frozenset(batch.tolist()) for batch in second} == together
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    apart = ExampleOrder(small("batch_size=10"), 95)
    assert {frozenset(apart.batch(9 + index).tolist()) for index in range(9)} != together
    assert torch.equal(apart.batch(0), first[0])  # the first epoch is the same
