"""The figures of a results folder, drawn on all cores."""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnrepro import arguments, claims, store
from bnrepro.claims import beyond, own, style
from bnrepro.claims.comparison import figure
from bnrepro.errors import ConfigError, Interrupted
from bnrepro.report import comparison
from bnrepro.store import files
from bnrepro.store.workers import Emit, WorkerDied, side_by_side
from bnrepro.tables import Results, Watched

TOLERANCE = 1.0
"""Root mean square difference of two figures, in grey levels of 255, up to which they are the same. On another CPU
the edges of lines and letters differ by far less; a curve that lies elsewhere differs by more."""
_Task = tuple[Results, str, Path, tuple[str, ...]]
DRAWN_BY = ("store", "tables", "stats", "claims")
"""The rooms whose code makes a figure."""


def publish(results: Results, kinds: Sequence[str] = ()) -> None:
    """Draw the figures of a results folder that are not those of its tables and this code, as ``kinds`` or as all.

    A stamp in the outputs folder records, for each experiment, its figures, the tables that it asked for and their
    contents. Where a figure is missing, cut or altered, or an earlier call was stopped, the experiment is drawn again.
    """
    if names := outdated(results):
        draw(results, names, kinds=kinds)
    draw_comparison(results.folder, kinds=kinds)


def outdated(results: Results) -> list[str]:
    """The experiments whose figures are missing, or were drawn from other tables or by other code."""
    stamp = _stamp(results)
    known = stamp["experiments"] if stamp["code"] == _code(results) else {}
    return [name for name in claims.of(results) if name not in known or known[name] != _drawn(results, **known[name])]


def pictures(results: Results, name: str) -> list[Path]:
    """The PNG figures of an experiment that has been drawn, in alphabetical order."""
    found = _stamp(results)["experiments"].get(name, {"figures": {}})["figures"]
    return [results.folder / "figures" / figure for figure in sorted(found) if figure.endswith(".png")]


def _stamp(results: Results) -> dict[str, Any]:
    """What is recorded of the figures below the results' folder."""
    path = _stamped(results)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"code": "", "experiments": {}}


def _stamped(results: Results) -> Path:
    return store.outputs_folder() / "cache" / f"figures-{files.digest(str(results.folder.resolve()).encode())}.json"


def _record(results: Results, drawn: dict[str, _Drawn]) -> None:
    """Add to the stamp that the experiments in ``drawn`` have been drawn."""
    code, before = _code(results), _stamp(results)
    known = before["experiments"] if before["code"] == code else {}
    for name, each in drawn.items():
        known[name] = _drawn(results, asked=each.asked, figures=dict.fromkeys(path.name for path in each.paths))
    store.write_atomic(_stamped(results), json.dumps({"code": code, "experiments": known}, indent=1))


def _drawn(results: Results, asked: Sequence[str], figures: Mapping[str, Any], tables: str = "") -> dict[str, Any]:
    """The present digests of the tables that an experiment's drawing ``asked`` for, and of its ``figures``."""
    folder, shown = results.folder / "tables", results.folder / "figures"
    found = sorted(path for name in asked for path in folder.glob(f"{name}.*"))
    contents = "\n".join(f"{path.name} {files.digest(path.read_bytes())}" for path in found)
    present = {
        name: files.digest((shown / name).read_bytes()) if (shown / name).exists() else "missing" for name in figures
    }
    return {"asked": list(asked), "figures": present, "tables": files.digest(contents.encode())}


def _code(results: Results) -> str:
    """A digest of what makes figures of tables: code, version of matplotlib, treatment."""
    code = [path for room in DRAWN_BY for path in sorted((Path(__file__).parents[1] / room).rglob("*.py"))]
    code += own.sources(results.own) if results.own else []
    contents = [files.digest(path.read_bytes()) for path in code]
    return files.digest("\n".join([*contents, importlib.metadata.version("matplotlib"), results.treatment]).encode())


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
    known = claims.of(results)
    if unknown := [name for name in only if name not in (*known, comparison.NAME)]:
        raise ConfigError(f"no experiment {', '.join(unknown)}: {arguments.near(unknown[0], known)}")
    results.check()
    names = [name for name in known if not only or name in only]
    into = folder or results.folder / "figures"
    compared = [] if only and comparison.NAME not in only else draw_comparison(results.folder, into, kinds)
    tasks = [(results, name, into, tuple(kinds)) for name in names]
    # A claim may draw from another experiment's tables; how many tables there are tells how much there is to draw.
    tables = {path.name.partition(".")[0] for path in (results.folder / "tables").glob("*.csv*")}
    # A worker, which cannot have workers of its own, has one core.
    cores = 1 if multiprocessing.current_process().daemon else os.cpu_count() or 1
    drawn = _all_drawn(tasks, min(cores, len(tables.intersection(names)) // 3))
    if folder is None:
        _record(results, dict(zip(names, drawn, strict=True)))
    return [path for each in drawn for path in each.paths] + compared


@dataclass(frozen=True)
class _Drawn:
    """The figures of an experiment, and the owners of the tables that were asked for, whether or not they exist."""

    paths: list[Path]
    asked: list[str]


def _all_drawn(tasks: Sequence[_Task], workers: int) -> list[_Drawn]:
    if workers < 2:
        return [_draw(task) for task in tasks]
    drawn: dict[int, _Drawn] = {}
    try:
        for event in side_by_side(_draw, tasks, workers):
            if event.kind == "error":
                raise event.value
            if event.kind == "result":
                drawn[event.task] = event.value
    except WorkerDied as error:
        raise Interrupted("a process that drew figures was killed: out of memory? Call again.") from error
    return [each for _, each in sorted(drawn.items())]


def draw_comparison(results: Path, into: Path | None = None, kinds: Sequence[str] = ()) -> list[Path]:
    """Draw the comparison of normalisers, where the tables below ``results`` have one of many runs' verdicts."""
    if not comparison.is_drawn(results):
        return []
    frame = comparison.read(results)
    assert frame is not None
    with style.house_style():
        return style.save({figure.NAME: figure.draw(frame)}, into or results / "figures", kinds)


def _draw(task: _Task, emit: Emit | None = None) -> _Drawn:
    results, name, into, kinds = task
    watched = Watched.over(results)
    with style.house_style():
        paths = style.save(beyond.figures(watched, claims.of(results)[name]), into, kinds)
    return _Drawn(list(paths), sorted(watched.asked))
