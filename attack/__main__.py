"""Kill the project's commands at random moments, call each once more, and compare every file it leaves with those of an
undisturbed call; with --disk, fill the disk instead. Called by `make attack`.

The exit code is 1 if anything differs, stays half-written, keeps running, or ends with the wrong exit code.
"""

from __future__ import annotations

import argparse
import collections
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from attack import disk, subjects, trial
from attack.starts import Forked, Interpreter, Start
from attack.subjects import SUBJECTS
from attack.trial import Strike, Undisturbed
from bnrepro.door import door
from bnrepro.errors import Interrupted

T = TypeVar("T")
Trial = tuple[str, str, list[str]]
"""A command, how it ended, and everything that was not as it should be."""
WHOM = (("group", 6), ("parent", 2), ("worker", 2))
SIGNALS = ((signal.SIGKILL, 6), (signal.SIGINT, 2), (signal.SIGTERM, 2))


def draw(number: int, seed: int, names: list[str]) -> list[tuple[str, str, int, float, bool]]:
    """The strikes, as subject, whom, signal, place between 0 and 1, and whether it is a place among the operations on
    files or in time."""
    generator = random.Random(seed)
    drawn = []
    for index in range(number):
        subject = SUBJECTS[names[index % len(names)]]
        whom = _chosen(generator, WHOM) if subject.workers else "group"
        number_of = _chosen(generator, SIGNALS) if whom != "worker" else signal.SIGKILL
        drawn.append((subject.name, whom, number_of, generator.random(), generator.random() < 0.5))
    return drawn


def _chosen(generator: random.Random, weighted: tuple[tuple[T, int], ...]) -> T:
    values, weights = zip(*weighted, strict=True)
    return generator.choices(values, weights)[0]


def strikes(
    number: int, seed: int, base: Path, folder: Path, names: list[str], start: Start
) -> Iterator[tuple[str, str, list[str]]]:
    """The trials of every drawn strike."""
    expected: dict[str, Undisturbed] = {}
    for name, whom, number_of, place, by_operation in draw(number, seed, names):
        subject = SUBJECTS[name]
        if name not in expected:
            expected[name] = trial.undisturbed(subject, base, folder, start)
        operations = expected[name].of_workers if whom == "worker" else expected[name].operations
        at = 1 + int(place * operations) if by_operation and operations else place
        strike = Strike(whom, number_of, at)
        outcome, wrong = trial.faults(subject, strike, expected[name], base, folder, start)
        yield name, f"{signal.Signals(number_of).name} to {whom}: {outcome}", [f"{strike}: {line}" for line in wrong]


def fillings(
    sizes: int, base: Path, folder: Path, names: list[str], start: Start
) -> Iterator[tuple[str, str, list[str]]]:
    """Command, outcome and faults for every size of the disk."""
    for name in names:
        subject = SUBJECTS[name]
        expected = trial.undisturbed(subject, base, folder, start)
        for outcome, wrong in disk.fill(subject, expected, sizes, base, folder, start):
            yield name, outcome, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", nargs="?", type=int, help="trials (default: 300; 30 with --disk)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disk", action="store_true", help="fill the disk instead; needs the right to mount")
    parser.add_argument("--forked", action="store_true", help="start the commands sooner, with their imports done")
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(SUBJECTS)}")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name] or [
        name for name in SUBJECTS if not given.disk or name != "verify"
    ]
    # A shell's background ignores Ctrl-C, and so would the commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    failed = 0
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as place:
        base, folder = Path(place) / "base", Path(place) / "trial"
        base.mkdir()
        start = Forked if given.forked else Interpreter
        subjects.prepare(base, start)
        try:
            number = given.number or (30 if given.disk else 300)
            number += -number % len(names) if given.disk else 0  # as many sizes for each command
            trials = (
                fillings(number // len(names), base, folder, names, start)
                if given.disk
                else strikes(number, given.seed, base, folder, names, start)
            )
            for name, outcome, wrong in trials:
                counts[name, outcome] += 1
                failed += bool(wrong)
                print(
                    f"{sum(counts.values())}/{number} {name}  {outcome}  {'FAULT' if wrong else 'healed'}", flush=True
                )
                for line in wrong:
                    print(f"    {line}", flush=True)
        except KeyboardInterrupt:
            raise Interrupted("stopped") from None
        finally:
            console.print(table(counts))
    print(f"{sum(counts.values())} trials, {failed} with a fault")
    sys.exit(int(failed > 0))


def table(counts: collections.Counter[tuple[str, str]]) -> Table:
    shown = Table("command", "struck", "trials")
    for (name, outcome), number in sorted(counts.items()):
        shown.add_row(name, outcome, str(number))
    return shown


if __name__ == "__main__":
    door(main)
