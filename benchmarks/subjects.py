"""The subjects of the measurements: the network of §4.1 as this repository trains it, and in plain torch."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from bnrepro import data, store
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.data import Dataset, Split
from bnrepro.data.mnist import MNIST_FILES
from bnrepro.data.places import data_folders
from bnrepro.training.loop import Trainer

ARMS = ("none", "batch")
BATCH_SIZE = 60
SLICE_STEPS = 100
"""Updates in a timed slice. A run of 50,000 steps takes 135 between two stops, on average."""

MEGABYTE = 10**6

PEAK_MEMORY = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def config(arm: str, *overrides: str, experiment: str = "mnist_training") -> Config:
    """A run of Fig. 1's experiment, or of another on MNIST. W&B is off unless ``overrides`` say otherwise."""
    with Composer() as composer:
        common = (f"experiment={experiment}", f"norm={arm}", "seed=0", "wandb=disabled")
        [found] = composer.sweep([*common, *overrides])
    return found


def has_mnist() -> bool:
    """Whether the real files are on this disk. Never downloads."""
    return mnist_root() is not None


def mnist_root() -> Path | None:
    """The folder with the files as torchvision, too, reads them: uncompressed, in ``MNIST/raw``."""

    def complete(root: Path) -> bool:
        return all((root / "MNIST" / "raw" / name).is_file() for name in MNIST_FILES)

    return next(filter(complete, data_folders()), None)


def dataset(quick: bool = False) -> Dataset:
    """MNIST if found, else random binary images of its shape: a dense network takes equally long for both."""
    return data.load(config("none").data) if has_mnist() else _random_images(6_000 if quick else 55_000)


@functools.lru_cache(maxsize=1)
def _random_images(examples: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 2, (count, 1, 28, 28), generator=generator).float()
        return Split(images, torch.randint(0, 10, (count,), generator=generator))

    return Dataset("random images", split(examples), split(examples // 11), split(examples // 6), 10, "random")


def data_note() -> str:
    return "" if has_mnist() else "random binary images of MNIST's shape: MNIST not found"


def on_digits() -> str:
    """The note of a row that trains whole runs, if it cannot train them on MNIST."""
    return "" if has_mnist() else "on digits: MNIST not found"


def trainer(arm: str, quick: bool, probes: bool = False, experiment: str = "mnist_training") -> Trainer:
    """The real Trainer, ready for its first step; with ``probes`` it has the activation probe."""
    made = Trainer(config(arm, f"probes.activations.enabled={probes}", experiment=experiment), dataset(quick))
    made.model.train()
    return made


def steps_of(subject: Trainer, count: int = SLICE_STEPS) -> Callable[[], None]:
    """Takes the next ``count`` updates of a run, as ``Trainer.run`` does between two evaluations."""
    return lambda: subject.advance(count)


def plain_network(subject: Trainer, *first: nn.Module) -> nn.Sequential:
    """The same network with the same weights, of torch's own layers. The layers in ``first`` come before them."""
    layers: list[nn.Module] = list(first)
    normalised = any(block.norm is not None for block in subject.model.hidden)  # pyright: ignore
    widths = [28 * 28, *(block.linear.out_features for block in subject.model.hidden)]  # pyright: ignore
    for inputs, outputs in itertools.pairwise(widths):
        layers.append(nn.Linear(inputs, outputs, bias=not normalised))
        if normalised:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.Sigmoid())
    network = nn.Sequential(*layers, nn.Linear(widths[-1], 10))
    with torch.no_grad():
        for own, theirs in zip(network.parameters(), subject.model.parameters(), strict=True):
            own.copy_(theirs)
    return network


@contextlib.contextmanager
def outputs_in(folder: Path) -> Iterator[Path]:
    """Keep the runs of this process, and of those that it starts, in ``folder``."""
    before = os.environ.get("BNREPRO_OUTPUTS")
    os.environ["BNREPRO_OUTPUTS"] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ["BNREPRO_OUTPUTS"]
        else:
            os.environ["BNREPRO_OUTPUTS"] = before


def call(command: Sequence[str], code: int = 0) -> str:
    """Run a command in the repository and return its standard output.

    Raises ``RuntimeError``, with the end of what it printed, if its exit code is not ``code``.
    """
    done = subprocess.run(command, cwd=store.REPOSITORY, capture_output=True, encoding="utf-8")
    if done.returncode != code:
        name, words = " ".join(command[1:])[-80:], (done.stderr or done.stdout)[-400:].strip()
        raise RuntimeError(f"{name} left with {done.returncode} instead of {code}: {words}")
    return done.stdout


def peak_memory(command: Sequence[str]) -> float:
    """The largest resident set of a command, in MB, or of one of its processes."""
    # Started by a small process: a large one would leave its own size in the child's count.
    said = call([sys.executable, "-c", PEAK_MEMORY, *command])
    return int(said.split()[-1]) * (1 if sys.platform == "darwin" else 1024) / MEGABYTE


def require(outputs: Path, runs: int = 0, views: int = 0) -> None:
    """Raise ``RuntimeError`` unless a folder of outputs holds that many finished runs and offline W&B views.

    A process that did no work would seem fast.
    """
    done, kept = len(list(outputs.glob("runs/*/*/DONE"))), len(list(outputs.glob("wandb/offline-run-*")))
    if (done, kept) != (runs, views):
        raise RuntimeError(f"{done} of {runs} runs are finished, and W&B shows {kept} of {views}")
