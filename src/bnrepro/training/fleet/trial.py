"""Whether a user's own normaliser computes in a fleet what it computes alone: tried out, not believed.

A layer may draw random numbers, count its calls in Python or branch on its data. ``torch.vmap`` refuses some of these,
and gives wrong results for others without an error.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from bnrepro.config.schema import Config, EvaluationConfig, ProbesConfig
from bnrepro.data import Dataset
from bnrepro.training.fleet.block import Block
from bnrepro.training.fleet.seat import Seat
from bnrepro.training.loop import Trainer
from bnrepro.training.state import Placed

STEPS = 20
EXAMPLES = 64
"""Of each split; in training at least ``STEPS`` mini-batches. All of them would cost an Inception minutes."""
CLOSE = 1e-9
"""The largest difference of a parameter after ``STEPS`` steps in float64."""


def refusal(config: Config, data: Dataset) -> str:
    """Why runs with this normaliser must train alone; empty if they may share a fleet.

    Runs of different lengths, rates and seeds share two places, and each is compared with itself alone.
    """
    looked_at = EvaluationConfig(
        growth=0.0, min_interval=STEPS, max_interval=STEPS, train_examples=EXAMPLES, test_examples=EXAMPLES // 2
    )
    tame = replace(
        config, precision="float64", steps=STEPS, probes=ProbesConfig(), wandb="disabled", checkpoint_every_s=0.0,
        evaluation=looked_at, optimizer=replace(config.optimizer, lr=0.01, decay=1.0),
        data=replace(config.data, train_examples=None),
    )  # fmt: skip
    runs = [
        replace(tame, seed=seed, steps=steps, optimizer=replace(tame.optimizer, lr=rate))
        for seed, steps, rate in ((0, STEPS, 0.01), (1, STEPS // 4, 0.02), (2, STEPS // 2, 0.05))
    ]
    before = torch.get_rng_state()
    try:
        few = _few(data, config.batch_size)
        placed = Placed.of(tame, few)
        seats = [Seat(run, placed) for run in runs]
        Block(seats[0], width=2).train(seats, on_end=lambda seat: None)
        for seat in seats:
            alone = Trainer(seat.config, few)
            alone.run()
            if (found := _distance(alone, seat)) > CLOSE:
                return f"after {seat.config.steps} steps in a fleet it is {found:.1g} away from itself alone"
    except Exception as error:
        text = str(error).strip()
        return text.splitlines()[0] if text else type(error).__name__
    finally:
        torch.set_rng_state(before)
    return ""


def _few(data: Dataset, batch_size: int) -> Dataset:
    """The first examples of each split."""
    splits = {"train": max(EXAMPLES, STEPS * batch_size), "validation": EXAMPLES, "test": EXAMPLES}
    return replace(data, **{name: getattr(data, name).at(torch.arange(len(getattr(data, name)))[:count])
                            for name, count in splits.items()})  # fmt: skip


def _distance(alone: Trainer, seat: Seat) -> float:
    """The largest difference between parameters, buffers and recorded values of a run alone and in a fleet."""
    if alone.progress.tables != seat.progress.tables:
        return float("inf")
    pairs = zip(alone.model.state_dict().values(), seat.model.state_dict().values(), strict=True)
    return max((one.double() - other.double()).abs().max().item() for one, other in pairs if one.numel())
