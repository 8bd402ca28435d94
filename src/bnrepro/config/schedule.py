"""At which steps of training something is looked at, and the learning rate of each step."""

from __future__ import annotations

from bnrepro.config.schema import OptimizerConfig, ScheduleConfig


def points(steps: int, schedule: ScheduleConfig) -> list[int]:
    """Steps 0 … ``steps``, both included, strictly increasing; dense at first.

    After step t comes t + max(min_interval, min(max_interval, growth·t)), rounded down: a time to a target is known
    to within ``growth`` of itself, wherever in the run it falls.
    """
    found, step = [0], 0
    while step < steps:
        interval = min(schedule.max_interval, max(schedule.min_interval, int(schedule.growth * step)))
        step = min(steps, step + interval)
        found.append(step)
    return found


def evenly(steps: int, count: int) -> list[int]:
    """``count`` steps from 0 to ``steps`` at equal distances (fewer if there are not so many steps)."""
    if count <= 1:
        return [steps] if count else []
    return sorted({round(steps * i / (count - 1)) for i in range(count)})


def learning_rate(optimizer: OptimizerConfig, step: int, steps: int) -> float:
    """The rate of the update after ``step`` of ``steps``: it falls exponentially, by ``decay`` in all (§4.2)."""
    return optimizer.lr if optimizer.decay == 1.0 else optimizer.lr * optimizer.decay ** (step / max(steps, 1))
