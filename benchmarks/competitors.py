"""Our training loop against others: how they take turns, and the loop that most tutorials write."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch.nn.functional as F
from torch import Tensor, nn, optim

from benchmarks.rows import Bench, Bound, Measured
from bnrepro.measurements.timing import interleave
from bnrepro.training.loop import Trainer

Take = Callable[[int], None]
"""Takes that many training steps."""


def against(
    pairs: Mapping[str, tuple[Trainer, Take]],
    bounds: Mapping[str, Bound | None],
    bench: Bench,
    *,
    steps: int,
    slices: int,
    unit: tuple[str, int] = ("steps", 1),
    note: str = "",
) -> Iterator[Measured]:
    """Our loop against a competitor, arm by arm (``pairs``), all in turn with ``steps`` updates per slice.

    A bound from below is on the ratio of speeds, ours / theirs. Any other ratio is one of times, ours / theirs. The
    details hold both speeds in ``unit``, a name and how many of it make a step.
    """
    workloads: dict[str, Callable[[], None]] = {}
    for arm, (trainer, take) in pairs.items():
        workloads[f"ours-{arm}"] = functools.partial(trainer.advance, steps)
        workloads[f"other-{arm}"] = functools.partial(take, steps)
    timings = interleave(workloads, bench.rounds, slices, bench.clock())
    name, each = unit
    for arm in pairs:
        ours, theirs, bound = f"ours-{arm}", f"other-{arm}", bounds[arm]
        of_speeds = bound is not None and bound.kind == "least"
        ratios = timings.ratios(theirs, ours) if of_speeds else timings.ratios(ours, theirs)
        details = {
            f"{whose}_{name}_per_second": steps * each / statistics.median(timings.seconds(workload))
            for whose, workload in (("ours", ours), ("other", theirs))
        }
        yield Measured(arm, ratios, "×", bound, note, details)


def usual_steps(
    network: nn.Module, optimizer: optim.Optimizer, batches: Iterator[tuple[Tensor, Tensor]], read_loss: bool = False
) -> Take:
    """The loop of most tutorials. ``read_loss`` calls ``loss.item()`` after every step."""

    def take(steps: int) -> None:
        for _ in range(steps):
            images, labels = next(batches)
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            if read_loss:
                loss.item()

    return take


def endless(loader: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """The mini-batches of one epoch after another."""
    while True:
        yield from loader
