"""The curves of one run or several, without a claim: loss and accuracy over the steps, and the inputs of the layers.

Reads the folders of finished runs alone. A single run is drawn at its end, so this imports neither torch nor pandas.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnrepro import store
from bnrepro.errors import ConfigError, StoreError
from bnrepro.store import RunFolder
from bnrepro.store.files import digest

PICTURE = "curves.png"
"""In the folder of a run: a view of its files, and none of them, so that it can be drawn again at any time."""
FORMATS = ("png", "svg", "pdf")
METRICS, LAYERS = "metrics.csv", "layers.csv"
SPLITS = {"train": "-", "validation": "--", "test": ":"}
"""Split → line, where a single run shows them all."""
MOST_LAYERS = 4
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999")
DASHES = ("-", "--", "-.", ":")
LOOK: Any = {
    "font.family": "STIXGeneral", "mathtext.fontset": "stix", "font.size": 8, "axes.titlesize": 8,
    "legend.fontsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.linewidth": 0.6, "lines.linewidth": 1.0,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "savefig.dpi": 200,
}  # fmt: skip

Curve = tuple[list[int], list[float]]
"""Steps, and a value at each."""


@dataclass(frozen=True)
class Curves:
    """What a finished run recorded: ``metrics`` by (split, metric), ``layers`` by hidden layer and percentile."""

    name: str
    data: str
    metrics: Mapping[tuple[str, str], Curve]
    layers: Mapping[int, Mapping[str, Curve]]


def read(folder: RunFolder) -> Curves:
    """The curves in a run's folder. Raises :class:`StoreError` if the run is unfinished, damaged, or no training."""
    if not folder.is_done():
        raise StoreError(f"{folder.path} holds no finished run")
    record, files = folder.read()
    if METRICS not in files:
        raise StoreError(f"{folder.path} is a measurement, which has no curves")
    metrics: dict[tuple[str, str], Curve] = {}
    for row in _rows(files[METRICS]):
        _add(metrics.setdefault((row["split"], row["metric"]), ([], [])), row["step"], row["value"])
    layers: dict[int, dict[str, Curve]] = {}
    for row in _rows(files.get(LAYERS, b"")):
        if row["statistics"] == "running":
            for percentile in ("p15", "p50", "p85"):
                found = layers.setdefault(int(row["layer"]), {}).setdefault(percentile, ([], []))
                _add(found, row["step"], row[percentile])
    return Curves(record.run, record.data, metrics, layers)


def _rows(content: bytes) -> csv.DictReader[str]:
    return csv.DictReader(io.StringIO(content.decode()))


def _add(curve: Curve, step: str, value: str) -> None:
    curve[0].append(int(step))
    curve[1].append(float(value or "nan"))


# -------------------------------------------------------------------------------------------------- drawing


def draw(folders: Sequence[RunFolder], out: Path | None = None) -> Path:
    """Draw the curves of ``folders`` over each other into one figure, and return its path.

    Without ``out``, a single run's figure goes into its folder, and that of several below the outputs folder. Raises
    :class:`ConfigError` for a format that cannot be drawn, and :class:`StoreError`.
    """
    path = out or _usual_place(folders)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ConfigError(f"{path}: the name of a figure ends in .{', .'.join(FORMATS)}")
    runs = [read(folder) for folder in dict.fromkeys(folders)]
    with mpl.rc_context():
        mpl.rcdefaults()  # not those of a matplotlibrc
        mpl.rcParams.update(LOOK)
        buffer = io.BytesIO()
        _figure(runs).savefig(buffer, format=kind)
    store.write_atomic(path, buffer.getvalue())
    return path


def _usual_place(folders: Sequence[RunFolder]) -> Path:
    if len(folders) == 1:
        return folders[0].path / PICTURE
    names = digest("\n".join(str(folder.path.resolve()) for folder in folders).encode())
    return store.outputs_folder() / "figures" / f"curves-{names[:8]}.png"


def _figure(runs: Sequence[Curves]) -> Figure:
    seen = sorted({layer for run in runs for layer in run.layers})
    if len(seen) > MOST_LAYERS:  # evenly, from the first to the last
        seen = [seen[round(place * (len(seen) - 1) / (MOST_LAYERS - 1))] for place in range(MOST_LAYERS)]
    figure = Figure(figsize=(6.9, 2.6 + 2.0 * bool(seen) + 0.12 * len(runs)), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=(1.3, 1), squeeze=False).ravel() if seen else [figure]
    loss, accuracy = rows[0].subplots(1, 2)
    looks = list(itertools.product(DASHES, COLOURS))
    alone = len(runs) == 1
    for run, (dash, colour) in zip(runs, itertools.cycle(looks)):
        for panel, metric, split in ((loss, "loss", "train"), (accuracy, "accuracy", "test")):
            for each, line in SPLITS.items() if alone else ((split, dash),):
                if curve := run.metrics.get((each, metric)):
                    shade = COLOURS[list(SPLITS).index(each)] if alone else colour
                    _plot(panel, curve, line, shade, each if alone else run.name)
    loss.set_ylabel("loss (nats)" if alone else "training loss (nats)")
    accuracy.set_ylabel("accuracy" if alone else "test accuracy")
    losses = [value for run in runs for (_, metric), (_, values) in run.metrics.items() if metric == "loss"
              for value in values if math.isfinite(value)]  # fmt: skip
    if losses and min(losses) > 0:
        loss.set_yscale("log")
    end = max([1, *(steps[-1] for run in runs for steps, _ in run.metrics.values())])
    handles = {line.get_label(): line for panel in (loss, accuracy) for line in panel.lines}
    rows[0].legend(handles=list(handles.values()), loc="outside lower center", ncols=3 if alone else 2)
    if seen:
        _layers(rows[1], runs, seen, looks)
    for panel in figure.axes:
        panel.set(xlabel="training steps", xlim=(0, end))
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}K" if value >= 1000 else f"{value:g}")
    figure.suptitle(f"{runs[0].name}; {runs[0].data}" if alone else ", ".join(sorted({run.data for run in runs})))
    return figure


def _layers(place: Any, runs: Sequence[Curves], seen: Sequence[int], looks: Sequence[tuple[str, str]]) -> None:
    """A panel for each layer: median and 15th to 85th percentile of the inputs to its activation."""
    [panels] = place.subplots(1, len(seen), squeeze=False)
    for panel, layer in zip(panels, seen, strict=True):
        for run, (dash, colour) in zip(runs, itertools.cycle(looks)):
            if layer in run.layers:
                (steps, low), (_, high) = (run.layers[layer][percentile] for percentile in ("p15", "p85"))
                panel.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                _plot(panel, run.layers[layer]["p50"], dash, colour, run.name)
        panel.set_title(f"inputs of hidden layer {layer + 1}")
    panels[0].set_ylabel("median; 15th to 85th percentile")


def _plot(axes: Axes, curve: Curve, line: str, colour: str, label: str) -> None:
    marker = "." if len(curve[0]) == 1 else ""
    axes.plot(*curve, linestyle=line, color=colour, label=label, marker=marker)
