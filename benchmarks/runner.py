"""Measure rows one after another, show them in one table, write them as JSON."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.registry import ROWS, Bench, Measured, Row, Skipped
from bnrepro import store
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.runs import provenance

PACKAGES = ("torchvision", "wandb", "hydra-core")


@dataclass
class Result:
    """A row with its measurements, or the reason why there are none."""

    row: Row
    measured: list[Measured] = field(default_factory=list)
    skipped: str = ""
    failed: str = ""


@dataclass
class Benchmark:
    """The results of all rows.

    ``running`` is the share of the measured time in which this process had a core; None if no time was measured in it.
    ``load`` is the machine's load over 1, 5 and 15 minutes.
    """

    results: list[Result]
    rounds: int
    quick: bool
    running: float | None
    load: tuple[float, float, float]


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows of these names in the table's order, or all. Raises :class:`ConfigError` for an unknown name."""
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise ConfigError(f"no row {', '.join(unknown)}: choose from {', '.join(ROWS)}")
    return [found for name, found in ROWS.items() if not names or name in names]


def measure(rows: Sequence[Row], rounds: int, quick: bool, console: Console) -> Benchmark:
    """Measure ``rows``, each in a temporary folder. A row that fails is reported, and the others go on."""
    results, timings = [], []
    for item in rows:
        console.print(f"[dim]{item.name} …[/dim]", highlight=False)
        result = Result(item)
        with tempfile.TemporaryDirectory(prefix="bnrepro-bench-") as folder:
            bench = Bench(rounds, quick, Path(folder))
            try:
                result.measured = list(item.measure(bench))
            except Skipped as reason:
                result.skipped = str(reason)
            except Interrupted:
                raise
            except Exception as error:
                result.failed = f"{type(error).__name__}: {error}"
        results.append(result)
        timings += bench.timings
    wall = sum(found.wall_seconds for found in timings if not found.waits)
    running = sum(found.cpu_seconds for found in timings if not found.waits) / wall if wall else None
    return Benchmark(results, rounds, quick, running, os.getloadavg())


# -------------------------------------------------------------------------------------------------- for readers


def table(benchmark: Benchmark) -> Table:
    """A table of the rows: what is compared, the median with its range over rounds, the bound, whether it is met."""
    shown = Table(title="Benchmark" + (" (quick: shows that it works, not how fast)" if benchmark.quick else ""))
    shown.add_column("row", no_wrap=True)
    shown.add_column("what is compared")
    shown.add_column("arm")
    for name in ("measured (range over rounds)", "bound"):
        shown.add_column(name, justify="right")
    shown.add_column("met")
    for result in benchmark.results:
        name, compared = result.row.name, result.row.compared
        if result.skipped or result.failed:
            reason = f"skipped: {result.skipped}" if result.skipped else f"[red]failed: {escape(result.failed)}[/red]"
            shown.add_row(name, f"{compared}\n{reason}", "", "–", "", "–")
        for found in result.measured:
            lines = [line for line in (compared, found.note) if line]
            shown.add_row(name, "\n".join(lines), found.arm, *_numbers(found))
            name = compared = ""
    return shown


def _numbers(found: Measured) -> tuple[str, str, str]:
    value = f"{found.value:.3g} {found.unit} ({min(found.rounds):.3g} – {max(found.rounds):.3g})"
    if found.bound is None:
        return value, "", ""
    sign = "≥" if found.bound.kind == "least" else "≤"
    return value, f"{sign} {found.bound.value:g} {found.unit}", "yes" if found.met else "[bold red]no[/bold red]"


def footer(benchmark: Benchmark) -> str:
    """The machine, and how busy it was: every number in the table depends on it."""
    hardware = provenance.machine("cpu")
    parts = [f"{hardware['hardware']}, {hardware['cores']} cores", f"rounds: {benchmark.rounds}"]
    if benchmark.running is not None:
        parts.append(f"this process had a core for {benchmark.running:.0%} of the time measured in it")
    parts.append(f"load over 1, 5, 15 min {', '.join(f'{value:.1f}' for value in benchmark.load)}")
    return "; ".join(parts)


# -------------------------------------------------------------------------------------------------------- json


def as_json(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "hardware": provenance.machine("cpu") | {"platform": platform.platform()},
        "versions": provenance.versions() | {name: metadata.version(name) for name in PACKAGES},
        "finished": round(time.time(), 3),
        "rounds": benchmark.rounds,
        "quick": benchmark.quick,
        "running": benchmark.running,
        "load": list(benchmark.load),
        "rows": [line for result in benchmark.results for line in _as_json(result)],
    }


def _as_json(result: Result) -> Iterator[dict[str, Any]]:
    common = {"row": result.row.name, "compared": result.row.compared}
    if result.skipped or result.failed:
        yield common | {"skipped": result.skipped or None, "failed": result.failed or None}
    for found in result.measured:
        yield common | {
            "arm": found.arm,
            "unit": found.unit,
            "value": found.value,
            "low": min(found.rounds),
            "high": max(found.rounds),
            "rounds": found.rounds,
            "bound": {"kind": found.bound.kind, "value": found.bound.value} if found.bound else None,
            "met": found.met,
            "note": found.note or None,
            "details": found.details,
        }


def write(benchmark: Benchmark, path: Path) -> None:
    store.write_atomic(path, json.dumps(as_json(benchmark), indent=1, ensure_ascii=False) + "\n")
