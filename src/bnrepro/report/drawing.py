"""The figures of a results folder, drawn on all cores."""

from __future__ import annotations

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnrepro import claims, store
from bnrepro.claims import beyond, style
from bnrepro.claims.comparison import figure
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.report import comparison
from bnrepro.store import files
from bnrepro.store.workers import Emit, WorkerDied, side_by_side
from bnrepro.tables import Results

TOLERANCE = 1.0
"""Root mean square difference of two figures, in grey levels of 255, up to which they are the same. On another CPU
the edges of lines and letters differ by far less; a curve that lies elsewhere differs by more."""
DRAWN_BY = ("store", "tables", "stats", "claims")
"""The rooms whose code makes a figure."""


def publish(results: Results) -> None:
    """Draw the figures of a results folder, unless they already are those of its tables and this code.

    A stamp in the outputs folder, written last, records the figures and their sources. If a figure is missing, cut or
    altered, or an earlier call was stopped, all are drawn again.
    """
    stamp = store.outputs_folder() / "cache" / f"drawn-{files.digest(str(results.folder.resolve()).encode())}.json"
    source = _source(results)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == _stamp(source, results.folder):
        return
    draw(results)
    store.write_atomic(stamp, _stamp(source, results.folder))


def _source(results: Results) -> str:
    """A digest of everything that the figures depend on: tables, code, the version of matplotlib, the treatment."""
    found = sorted((results.folder / "tables").glob("*.csv*"))
    # A report writes its comparison after its figures, and draws none of it.
    drawn = comparison.is_drawn(results.folder)
    tables = [path for path in found if drawn or not path.name.startswith(f"{comparison.NAME}.")]
    code = [path for room in DRAWN_BY for path in sorted((Path(__file__).parents[1] / room).rglob("*.py"))]
    contents = [files.digest(path.read_bytes()) for path in [*tables, *code]]
    return files.digest("\n".join([*contents, importlib.metadata.version("matplotlib"), results.treatment]).encode())


def _stamp(source: str, folder: Path) -> str:
    """The digests of the figures below ``folder``, and of their sources."""
    drawn = {path.name: files.digest(path.read_bytes()) for path in sorted((folder / "figures").glob("*.*"))}
    return json.dumps({"source": source, "figures": drawn}, indent=1)


def differences(results: Results, only: Sequence[str] = ()) -> dict[str, str]:
    """How the PNG figures of a results folder differ from those of its tables: file name → how; empty if they agree.

    They are drawn into a temporary folder, and compared by :mod:`matplotlib.testing.compare`, within
    :data:`TOLERANCE`. Raises :class:`ConfigError` for an unknown name.
    """
    found = {}
    with tempfile.TemporaryDirectory() as made:
        drawn = draw(results, only, Path(made), ("png",))
        for path in drawn:
            if how := difference(results.folder / "figures" / path.name, path):
                found[path.name] = how
    if not only:
        there = {path.name for path in (results.folder / "figures").glob("*.png")}
        found |= dict.fromkeys(sorted(there - {path.name for path in drawn}), "is drawn from no table")
    return found


def difference(there: Path, drawn: Path) -> str | None:
    """How one PNG differs from another, within :data:`TOLERANCE`; None if they agree."""
    # Here: a report needs none of it.
    from matplotlib.testing.compare import compare_images
    from matplotlib.testing.exceptions import ImageComparisonFailure

    if not there.exists():
        return "is missing"
    try:
        compared: Any = compare_images(str(there), str(drawn), TOLERANCE, in_decorator=True)
    except (ImageComparisonFailure, OSError) as error:
        return f"cannot be compared: {' '.join(str(error).split())}"
    return f"differs by {compared['rms']:.1f} grey levels (root mean square)" if compared else None


def draw(
    results: Results, only: Sequence[str] = (), folder: Path | None = None, kinds: Sequence[str] = ()
) -> list[Path]:
    """Draw the figures of every experiment that has tables, or of those in ``only``. Returns the figures' paths.

    They go into ``folder``, by default ``figures`` of the results, as ``kinds`` of files or as all. One whose bytes do
    not change is not written again. Raises :class:`ConfigError` for an unknown name, and
    :class:`~bnrepro.errors.StoreError`, before anything is drawn, if a table does not fit.
    """
    results.check()
    known = claims.of(results)
    if unknown := [name for name in only if name not in (*known, comparison.NAME)]:
        raise ConfigError(f"no experiment {', '.join(unknown)}: choose from {', '.join(known)}")
    names = [name for name in known if not only or name in only]
    into = folder or results.folder / "figures"
    compared = [] if only and comparison.NAME not in only else draw_comparison(results.folder, into, kinds)
    tasks = [(results.folder, results.treatment, name, into, tuple(kinds)) for name in names]
    # A claim may draw from another experiment's tables; how many tables there are tells how much there is to draw.
    tables = {path.name.partition(".")[0] for path in (results.folder / "tables").glob("*.csv*")}
    workers = min(os.cpu_count() or 1, len(tables.intersection(names)) // 3)
    if workers < 2:
        return [path for task in tasks for path in _draw(task)] + compared
    drawn: dict[int, list[Path]] = {}
    try:
        for event in side_by_side(_draw, tasks, workers):
            if event.kind == "error":
                raise event.value
            if event.kind == "result":
                drawn[event.task] = event.value
    except WorkerDied as error:
        raise Interrupted("a process that drew figures was killed: out of memory? Call again.") from error
    return [path for _, paths in sorted(drawn.items()) for path in paths] + compared


def draw_comparison(results: Path, into: Path | None = None, kinds: Sequence[str] = ()) -> list[Path]:
    """Draw the comparison of normalisers, where the tables below ``results`` have one of many runs' verdicts."""
    if not comparison.is_drawn(results):
        return []
    frame = comparison.read(results)
    assert frame is not None
    with style.house_style():
        return style.save({figure.NAME: figure.draw(frame)}, into or results / "figures", kinds)


def _draw(task: tuple[Path, str, str, Path, tuple[str, ...]], emit: Emit | None = None) -> list[Path]:
    folder, treatment, name, into, kinds = task
    results = Results(folder, treatment)
    with style.house_style():
        return style.save(beyond.figures(results, claims.of(results)[name]), into, kinds)
