"""Each figure, as a reader meets it: type of one size, nothing cut off or covered, and no panel empty without a word.

Drawn from the committed tables, and from what a run of some minutes gives: one seed, chance, and runs that diverge.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from bnrepro import store
from bnrepro.claims import EXPERIMENTS, asked_of, paired, style, sweeps
from bnrepro.stats import Interval, pair_by_seed
from bnrepro.tables import Measured, Results, Tables

COMMITTED = store.REPOSITORY / "results"
SIZES = {7.5, 8.0}
"""Points: ticks, legends and notes; labels and titles."""


def one_seed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first seed, repetition or round."""
    for column in ("seed", "round", "repetition"):
        if column in frame:
            return frame[frame[column] == frame[column].min()]
    return frame


class AtChance(Results):
    """One seed that learns nothing within a few evaluations; of the treatments every other one diverges."""

    @functools.cache  # noqa: B019
    def tables(self, experiment: str) -> Tables | None:
        found = super().tables(experiment)
        if found is None:
            return None
        steps = sorted(found.metrics["step"].unique())
        metrics, runs = one_seed(found.metrics), one_seed(found.runs)
        metrics = metrics[metrics["step"].isin([*steps[:4], steps[-1]])].copy()
        accuracy = metrics["metric"] == "accuracy"
        metrics.loc[accuracy, "value"] = 0.1 + 0.01 * metrics.loc[accuracy, "value"]
        lost = runs["arm"].isin(sorted({*runs["arm"]} - {"none"})[::2])
        metrics = metrics[~metrics["run"].isin(runs.loc[lost, "run"]) | (metrics["step"] == steps[0])]
        runs = runs.assign(status=np.where(lost, "diverged", runs["status"]))
        probes = {name: one_seed(probe) for name, probe in found.probes.items()}
        return Tables(experiment, metrics, runs, found.timing, probes)

    @functools.cache  # noqa: B019
    def measured(self, name: str) -> Measured | None:
        found = super().measured(name)
        return found and dataclasses.replace(found, frame=one_seed(found.frame))


class OfAnother(Results):
    """The committed numbers of Batch Normalization as those of ``treatment``, in all that is asked of it."""

    @functools.cache  # noqa: B019
    def tables(self, experiment: str) -> Tables | None:
        found = super().tables(experiment)
        if found is None:
            return None
        probes = {name: self._called(probe) for name, probe in found.probes.items()}
        return Tables(experiment, self._called(found.metrics), self._called(found.runs), found.timing, probes)

    def _called(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.replace({"arm": {"batch": self.treatment, "batch-after": f"{self.treatment}-after"}})


OWN = "group_then_layer"
"""A user's own normaliser, with a name longer than those of ours."""
TABLES = {
    "committed": lambda: Results(COMMITTED),
    "one seed at chance": lambda: AtChance(COMMITTED),
    "another treatment": lambda: OfAnother(COMMITTED, OWN),
}


def drawn_from(results: Results, experiments: Iterable[str]) -> dict[str, Figure]:
    """The figures of some experiments, laid out."""
    with style.house_style():
        figures = {key: each for name in experiments for key, each in EXPERIMENTS[name].figures(results).items()}
        for figure in figures.values():
            figure.draw_without_rendering()
    return figures


@pytest.fixture(scope="module", params=TABLES)
def drawn(request: pytest.FixtureRequest) -> dict[str, Figure]:
    """Every figure of what is asked of the treatment, laid out."""
    results = TABLES[request.param]()
    return drawn_from(results, asked_of(results.treatment))


def panels_of(figure: Figure) -> list[Axes]:
    return [*figure.axes, *(child for axes in figure.axes for child in axes.child_axes)]  # type: ignore[attr-defined]


def texts_of(figure: Figure) -> list[Text]:
    found = figure.findobj(Text)
    return [each for each in found if each.get_visible() and each.get_text().strip()]  # type: ignore[attr-defined]


def test_all_are_as_wide_as_the_page_and_have_two_sizes_of_type(drawn: dict[str, Figure]) -> None:
    assert len(drawn) >= (25 if "transfer_accuracy" in drawn else 10)
    for name, figure in drawn.items():
        assert figure.get_figwidth() == style.PAGE, name
        assert {each.get_fontsize() for each in texts_of(figure)} <= SIZES, name


def test_no_curve_leaves_its_panel(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        for axes in figure.axes:
            for line in axes.lines:
                if line.get_transform() is not axes.transData:
                    continue  # a margin, across the whole panel
                points = np.asarray(line.get_xydata(), dtype=float)
                inside = axes.transAxes.inverted().transform(axes.transData.transform(points))
                inside = inside[np.isfinite(inside).all(axis=1)]
                assert not len(inside) or (inside.min() > -0.01 and inside.max() < 1.01), (name, axes.get_ylabel())


def test_no_legend_and_no_strip_covers_a_panel(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        boxes = [axes.get_window_extent() for axes in panels_of(figure)]
        assert not any(one.padded(-1).overlaps(other.padded(-1)) for one, other in itertools.combinations(boxes, 2)), (
            name
        )
        for axes in panels_of(figure):
            assert axes.get_legend() is None, name
        for legend in figure.legends:
            assert not any(legend.get_window_extent().overlaps(box) for box in boxes), name


def test_nothing_reaches_beyond_the_figure(drawn: dict[str, Figure]) -> None:
    """Within half a letter, to which the layout is found."""
    for name, figure in drawn.items():
        taken = figure.get_tightbbox()
        assert taken.x0 >= -0.05, name
        assert taken.y0 >= -0.05, name
        assert taken.x1 <= figure.get_figwidth() + 0.05, name
        assert taken.y1 <= figure.get_figheight() + 0.05, name


def test_labels_of_rows_do_not_run_together(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        for axes in figure.axes:
            shown = [each for each in axes.get_yticklabels() if each.get_text() and each.get_visible()]
            boxes = [each.get_window_extent() for each in shown]
            if boxes and axes.yaxis.get_tick_params().get("labelleft", True):
                inside = [box for box in boxes if axes.bbox.y0 - 2 <= (box.y0 + box.y1) / 2 <= axes.bbox.y1 + 2]
                for one, other in itertools.combinations(inside, 2):
                    assert not one.padded(-2).overlaps(other.padded(-2)), (name, axes.get_ylabel())


def test_a_panel_without_data_says_so(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        for axes in figure.axes:
            lines = [line for line in axes.lines if line.get_transform() is axes.transData]
            shown = any(np.isfinite(np.asarray(line.get_xydata(), dtype=float)).all(axis=1).any() for line in lines)
            assert shown or axes.images or axes.patches or axes.texts, (name, axes.get_ylabel())


def test_one_seed_is_no_range_and_no_interval(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        for text in texts_of(figure):
            assert "1 seeds" not in text.get_text(), name
            assert not re.search("(mean|median|range) of 1 ", text.get_text()), name


def test_another_treatment_is_drawn_in_full_under_its_own_name() -> None:
    own, ours = (drawn_from(results, ["learning_rate"])
                 for results in (OfAnother(COMMITTED, OWN), Results(COMMITTED)))  # fmt: skip
    assert own.keys() == ours.keys()
    for name, figure in own.items():
        assert [len(axes.lines) for axes in figure.axes] == [len(axes.lines) for axes in ours[name].axes], name
        legends = " ".join(text.get_text() for legend in figure.legends for text in legend.get_texts())
        assert "BN" not in legends, name
        assert OWN in " ".join(text.get_text() for text in texts_of(figure)), name


@pytest.mark.parametrize("tables", ["committed", "one seed at chance"])
def test_points_are_not_stretched_and_harm_is_shown(tables: str) -> None:
    """The traps' axes are linear, so that 83 points look like 83; re-estimating has a bar below zero where it harms."""
    drawn = drawn_from(TABLES[tables](), ["convention_traps", "transfer"])
    assert {axes.get_xscale() for axes in drawn["convention_traps_accuracy"].axes} == {"linear"}
    heights = [patch.get_height() for axes in drawn["transfer_accuracy"].axes for patch in axes.patches]  # type: ignore[attr-defined]
    assert min(heights) < 0


def test_arms_are_compared_seed_by_seed_at_every_step() -> None:
    runs = pd.DataFrame({"run": list("abcd"), "arm": ["none", "none", "batch", "batch"], "seed": [0, 1, 0, 1]})
    pairs = pair_by_seed(runs.assign(status="finished"), "batch")
    curves = pd.DataFrame({"a": [1.0, 4.0, 0.0], "b": [10.0, 1.0, 0.0], "c": [2.0, 8.0, 1.0], "d": [20.0, np.nan, 1.0]})
    ratios = paired.ratios(pairs, curves)
    assert {step: each.value for step, each in ratios.items()} == pytest.approx({0.0: 2.0, 1.0: 2.0})
    assert ratios[1.0].n == 1
    assert ratios[0.0].low == pytest.approx(ratios[0.0].high)  # the seeds differ tenfold, and agree on the ratio
    differences = paired.differences(pairs, curves)
    assert {step: each.value for step, each in differences.items()} == {0.0: 5.5, 1.0: 4.0, 2.0: 1.0}


def by_seed(frame: pd.DataFrame, arm: str, value: str) -> pd.DataFrame:
    return frame[frame["arm"] == arm].pivot(index="step", columns="seed", values=value)


def heights(axes: Axes, arm: str) -> np.ndarray:
    """Of the one curve in an arm's colour."""
    curves = [line for line in axes.lines if line.get_color() == style.colour(arm) and len(line.get_xdata()) > 2]
    [curve] = curves
    return np.asarray(curve.get_ydata())


def test_landscape_and_shift_are_drawn_seed_by_seed_against_the_plain_network() -> None:
    """Computed here from the tables; both have the same seeds in every arm."""
    results = Results(COMMITTED)
    figures = drawn_from(results, ["landscape", "shift"])
    landscape, shift = results.tables("landscape"), results.tables("shift")
    assert landscape is not None
    assert shift is not None

    seen = landscape.probes["landscape"]
    logs = np.log(by_seed(seen, "batch", "loss_range")) - np.log(by_seed(seen, "none", "loss_range"))
    panel = figures["landscape_ranges"].axes[1]
    np.testing.assert_allclose(heights(panel, "batch"), np.exp(logs.mean(axis=1)))

    seen = shift.probes["shift"]
    seen = seen[seen["layer"] > 0].assign(log=lambda rows: np.log(rows["distance"]))
    layers = seen.groupby(["arm", "seed", "step"])[["log", "cosine"]].mean().reset_index()
    metrics = shift.metrics
    rows = metrics[(metrics["split"] == "test") & (metrics["metric"] == "accuracy")]
    rows = rows[rows["step"] >= rows["step"].max() / 10]
    moved, turned, accuracy, *_ = figures["shift_gradients"].axes
    for arm in ("batch", "batch_noisy"):
        logs, cosine = (by_seed(layers, arm, name) - by_seed(layers, "none", name) for name in ("log", "cosine"))
        np.testing.assert_allclose(heights(moved, arm), np.exp(logs.mean(axis=1)))
        np.testing.assert_allclose(heights(turned, arm), cosine.mean(axis=1), atol=1e-12)
        points = 100 * (by_seed(rows, arm, "value") - by_seed(rows, "none", "value"))
        np.testing.assert_allclose(heights(accuracy, arm), points.mean(axis=1), atol=1e-9)


@pytest.mark.parametrize("order", [("none", "batch"), ("batch", "none")])
def test_arms_with_the_same_values_are_all_seen(order: tuple[str, ...]) -> None:
    with style.house_style():
        figure, [[axes]] = style.canvas(style.PAGE, 2.5)
        for arm in order:
            sweeps.with_intervals(axes, {x: Interval(0.5, 0.5, 0.5, 2) for x in (1.0, 2.0, 3.0)}, arm)
        axes.set_axis_off()
        figure.set_dpi(300)  # as a file has
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3)
    for arm in order:
        shade = np.round(255 * np.array(to_rgb(style.colour(arm))))
        assert (abs(pixels - shade).max(axis=1) <= 40).sum() > 50, arm


def test_an_arm_without_a_value_is_named_in_the_legend() -> None:
    _, [[axes]] = style.canvas(style.PAGE, 2.5)
    style.band(axes, pd.DataFrame({"run": [np.nan, np.nan]}), "batch")
    assert axes.get_legend_handles_labels()[1] == [f"{style.name('batch')}: no value"]


def test_runs_without_a_value_are_counted_apart_from_the_values() -> None:
    runs = pd.DataFrame({"arm": ["none"] * 4, "factor": [1, 1, 10, 10], "end": [0.9, 0.8, None, None]})
    runs = runs.assign(status=["finished", "finished", "diverged", "diverged"])
    figure, [[axes]] = style.canvas(style.PAGE, 2.5)
    sweeps.ends_against([axes], [runs], "factor", ["none"])
    [strip] = axes.child_axes
    assert [(text.get_position(), text.get_text()) for text in strip.texts] == [((10, 0), "2")]
    low, high = axes.get_xlim()
    assert low < 1
    assert high > 10
    assert [list(line.get_xdata()) for line in axes.lines] == [[1.0]]
    figure.draw_without_rendering()
    assert strip.get_window_extent().y0 >= axes.get_window_extent().y1


def test_an_interval_of_two_seeds_does_not_pass_the_values_that_can_be() -> None:
    _, [[axes]] = style.canvas(style.PAGE, 2.5)
    sweeps.with_intervals(axes, {1.0: Interval(0.5, -60.0, 61.0, 2), 2.0: Interval(0.6, 0.5, 0.7, 2)}, "none", (0, 1))
    low, high = axes.get_ylim()
    assert low >= -0.1
    assert high <= 1.1


def test_a_matplotlibrc_changes_no_figure(tmp_path: Path) -> None:
    def written(folder: Path) -> bytes:
        with style.house_style():
            figure, [[axes]] = style.canvas(style.PAGE, 2.5)
            axes.plot([0, 1], [0, 1], label="a line")
            style.legend_below(figure, axes, 1)
            [path] = [each for each in style.save({"figure": figure}, folder) if each.suffix == ".svg"]
        return path.read_bytes()

    plain = written(tmp_path / "plain")
    odd: Any = {
        "axes.grid": True,
        "axes.facecolor": "yellow",
        "lines.marker": "x",
        "savefig.bbox": "tight",
        "figure.dpi": 50,
    }
    with mpl.rc_context(odd):
        assert written(tmp_path / "odd") == plain


@pytest.mark.spawned
def test_a_backend_that_does_not_exist_stops_no_figure(tmp_path: Path) -> None:
    """Nor does a matplotlibrc that matplotlib finds by itself; a backend that exists is left to a notebook's plots."""
    (tmp_path / "matplotlibrc").write_text("axes.grid: True\naxes.facecolor: yellow\n")
    code = (
        "from pathlib import Path\n"
        "from bnrepro.report import drawing\n"
        "from bnrepro.tables import Results\n"
        f"drawing.draw(Results(Path({str(COMMITTED)!r})), ['identity_recoverable'], Path('drawn'))\n"
        "import matplotlib, os\n"
        "print(matplotlib.rcParams['backend'], os.environ['MPLBACKEND'])\n"
    )
    said = []
    for backend in ("nonsense", "svg"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"MPLBACKEND": backend}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        said.append(done.stdout.split())
    assert said[0][1] == "nonsense"
    assert said[1] == ["svg", "svg"]
    with style.house_style():
        style.save(EXPERIMENTS["identity_recoverable"].figures(Results(COMMITTED)), tmp_path / "here")
    for path in sorted((tmp_path / "here").iterdir()):
        assert (tmp_path / "drawn" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_grid_on_which_an_arm_diverges_everywhere_has_no_best_cell_and_says_so() -> None:
    section = EXPERIMENTS["mnist_tuning"].section
    assert section is not None
    text = section(AtChance(COMMITTED))
    assert "- **batch**: in every cell a seed diverged." in text
    assert "- **none**: best on validation" in text
