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

from benchmarks import ROWS, Bench, Measured, Row, Skipped
from bnrepro import store
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.runs import provenance

PACKAGES = ("torchvision", "wandb", "hydra-core")


@dataclass
class Result:
    """A row with what it measured, or why it did not."""

    row: Row
    measured: list[Measured] = field(default_factory=list)
    skipped: str = ""
    failed: str = ""


@dataclass
class Benchmark:
    """All rows measured. ``running`` is the share of the time measured inside this process in which it had a core;
    None if nothing was."""

    results: list[Result]
    rounds: int
    quick: bool
    running: float | None
    load: tuple[float, float, float]


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows of these names, in their own order; all of them for none. Raises :class:`ConfigError`."""
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise ConfigError(f"no row {', '.join(unknown)}: choose from {', '.join(ROWS)}")
    return [found for name, found in ROWS.items() if not names or name in names]


def measure(rows: Sequence[Row], rounds: int, quick: bool, console: Console) -> Benchmark:
    """Measure ``rows``, in temporary folders. One that fails is reported and does not take the others with it."""
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


# ------------------------------------------------------------------------------------------------------- shown


def table(benchmark: Benchmark) -> Table:
    """Row, what is compared, the median with its range over rounds, the bound, met or not."""
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
    """How far the machine was free: what every number above depends on."""
    hardware = provenance.machine("cpu")
    parts = [f"{hardware['hardware']}, {hardware['cores']} cores", f"rounds: {benchmark.rounds}"]
    if benchmark.running is not None:
        parts.append(f"this process ran for {benchmark.running:.0%} of the time that was measured in it")
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
