"""The steps of training that are observed, and the learning rate of each step."""

from __future__ import annotations

from bnrepro.config.schema import EvaluationConfig, OptimizerConfig, ScheduleConfig


def points(steps: int, schedule: ScheduleConfig) -> list[int]:
    """Strictly increasing steps from 0 to ``steps``, both included; dense at first.

    Step t is followed by t + max(min_interval, min(max_interval, growth·t)), rounded down, so that the time to a target
    is known with a relative precision of ``growth``.
    """
    found, step = [0], 0
    while step < steps:
        interval = min(schedule.max_interval, max(schedule.min_interval, int(schedule.growth * step)))
        step = min(steps, step + interval)
        found.append(step)
    return found


def evaluations(steps: int, evaluation: EvaluationConfig) -> frozenset[int]:
    """The steps at which a run of ``steps`` is evaluated."""
    return frozenset(points(steps, evaluation)) | whole_evaluations(steps, evaluation)


def whole_evaluations(steps: int, evaluation: EvaluationConfig) -> frozenset[int]:
    """Those at which all of the test set is used, if the others use a part of it."""
    return frozenset(evenly(steps, evaluation.whole_test if evaluation.test_examples else 0))


def evenly(steps: int, count: int) -> list[int]:
    """``count`` evenly spaced steps from 0 to ``steps``, both included; fewer if there are not enough steps."""
    if count <= 1:
        return [steps] if count else []
    return sorted({round(steps * i / (count - 1)) for i in range(count)})


def learning_rate(optimizer: OptimizerConfig, step: int, steps: int) -> float:
    """Learning rate of the update after ``step`` of ``steps``; it falls exponentially by ``decay`` in all (§4.2)."""
    return optimizer.lr if optimizer.decay == 1.0 else optimizer.lr * optimizer.decay ** (step / max(steps, 1))
