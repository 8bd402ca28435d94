"""The figures of the map, on tables in memory: full, of one seed at chance, partial, of another treatment."""

from __future__ import annotations

import dataclasses
import math

import mapped
import numpy as np
import pandas as pd
import pytest
from mapped import Run
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from bnrepro.claims import depth, operating_points, style
from bnrepro.claims.operating_points import appendix, curves, effects, one_cell, plane, rules
from bnrepro.claims.operating_points.reading import read
from bnrepro.tables import Tables

STEPS = (0, 50, 100, 200, 400, 800, 1600, 2500, 5000, 10000)
SIZES = {7.5, 8.0}


def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
    treated = arm == "batch"
    trains = rate < (50 if treated else 5) and (treated or 0.02 < scale < 2)
    half = (40 if treated else 90 * rate) * (1 + seed / 20)
    drift = {(name, part): 1 + rate * treated / 9 for name in rules.STATISTICS for part in rules.PARTS}
    end = 0.97 + seed / 1000 if trains else 0.2
    return Run(lambda step: 0.1 + (end - 0.1) * (1 - 2.0 ** (-step / half)), lambda step: 2.3 * 2.0 ** (-step / half),
               drift, (0.2, 0.1, 0.1 + treated / 9), (scale, 2.0, 3.0 - treated / 2),
               diverged_at=300 if rate > 50 and not treated else None)  # fmt: skip


def lost(arm: str, scale: float, rate: float, seed: int) -> Run:
    return Run(lambda step: 0.1, diverged_at=80 if arm == "batch" else None)


def ladder() -> Tables:
    top = {"none": 0.9, "batch": 4.0}
    by_activation = [
        mapped.tables(lambda arm, scale, rate, seed: mapped.flat(0.95 if rate < top[arm] else 0.2), "stability_limit",
                      scales=(0.1, 0.3, 1.0), rates=tuple(0.3 * 1.3**rung for rung in range(12)), seeds=(0, 1),
                      steps=(0, 1000, 2000), activation=activation)
        for activation in ("sigmoid", "relu")
    ]  # fmt: skip
    runs, metrics = (pd.concat([getattr(each, name) for each in by_activation]) for name in ("runs", "metrics"))
    return dataclasses.replace(by_activation[0], runs=runs, metrics=metrics)


def whole() -> Tables:
    return mapped.tables(cell, steps=STEPS, seeds=(0, 1))


KINDS = {
    "whole": lambda: mapped.results(whole(), ladder()),
    "one seed at chance": lambda: mapped.results(
        mapped.tables(lost, scales=(0.01, 0.1), rates=(1.0, 30.0), seeds=(0,), steps=(0, 20, 100))
    ),
    "smoke": lambda: mapped.results(
        mapped.tables(cell, scales=(0.01, 0.1), rates=(1.0, 30.0), seeds=(0, 1), steps=(0, 20, 40, 60, 80, 100))
    ),
    "another treatment": lambda: mapped.results(
        mapped.tables(lambda arm, *rest: cell(arm, *rest), steps=STEPS, seeds=(0,), arms=("none", "group_then_layer")),
        treatment="group_then_layer",
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def drawn(request: pytest.FixtureRequest) -> dict[str, Figure]:
    with style.house_style():
        figures = operating_points.DECLARED.figures(KINDS[request.param]())
        for figure in figures.values():
            figure.draw_without_rendering()
    return figures


def test_every_figure_of_the_claims_is_drawn_in_one_width_and_two_sizes(drawn: dict[str, Figure]) -> None:
    assert {claim.figure for claim in operating_points.CLAIMS} <= set(drawn)
    for name, figure in drawn.items():
        assert figure.get_figwidth() == style.PAGE, name
        texts = [each for each in figure.findobj(Text) if each.get_text().strip()]  # type: ignore[attr-defined]
        assert {each.get_fontsize() for each in texts} <= SIZES, name  # type: ignore[attr-defined]
        assert not any("1 seeds" in each.get_text() or "1 cells" in each.get_text() for each in texts), name  # type: ignore[attr-defined]


def test_nothing_is_cut_off_or_covered(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        taken = figure.get_tightbbox()
        assert taken.x0 >= -0.05, name
        assert taken.y0 >= -0.05, name
        assert taken.x1 <= figure.get_figwidth() + 0.05, name
        assert taken.y1 <= figure.get_figheight() + 0.05, name
        for legend in figure.legends:
            assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes), name


def test_every_cell_of_the_map_is_shown_as_what_it_is() -> None:
    results = mapped.results(whole())
    found = read(results)
    with style.house_style():
        axes = plane.draw(found).axes[0]
    hatched = [each for each in axes.patches if isinstance(each, Rectangle) and each.get_hatch()]
    counts = found.classes.value_counts()
    assert len(hatched) == counts["only treatment"] > 0
    numbers = [text.get_text() for text in axes.texts if text.get_text().endswith("×")]
    assert len(numbers) == counts["both"]
    boxes = [each for each in axes.patches if isinstance(each, Rectangle) and not each.get_hatch()]
    centres = {(each.get_x() + each.get_width() / 2, each.get_y() + each.get_height() / 2) for each in boxes}
    best = {
        (float(found.rates.index(rate)), float(found.scales.index(scale)))
        for scale, rate in (found.best(arm) for arm in ("none", "batch"))
    }
    assert {(round(x, 6), round(y, 6)) for x, y in centres} == best


def test_the_colour_is_that_of_the_arm_that_does_better() -> None:
    shade = plane.colours("batch")
    assert np.allclose(shade(0.0)[:3], [0xD5 / 255, 0x5E / 255, 0], atol=0.01)
    assert sum(shade(1.0)[:3]) < 1  # nearly the black of the network without
    assert np.allclose(shade(0.5)[:3], 1, atol=0.02)


def test_the_number_in_a_cell_is_that_of_the_report_s_table() -> None:
    """In the picture, in the table and on the page."""
    found = read(mapped.results(whole()))
    shown = one_cell.speeds(found)
    rows = [row.split(" | ") for row in appendix.every_cell(found).splitlines()[2:]]
    for scale, rate, trains, *_, ratio, _ in rows:
        value = shown.loc[float(scale.removeprefix("| ")), float(rate)]
        assert np.isfinite(value) == (trains == "both")
        assert (f"{value:.3g}×" if trains == "both" else "–") in ratio
    with style.house_style():
        drawn = [text.get_text() for text in plane.draw(found).axes[0].texts if text.get_text().endswith("×")]
    assert sorted(drawn) == sorted(map(plane._short, shown.stack().dropna()))


def test_an_effect_is_the_geometric_mean_of_the_seeds() -> None:
    found = read(mapped.results(whole()))
    shown = plane.means(found, effects.steps_to_accuracy)
    values = effects.over_cells(effects.steps_to_accuracy, found, found.cells()).value
    at = values.loc[(0.1, 1.0, effects.WHOLE)]
    assert shown.loc[0.1, 1.0] == pytest.approx(math.exp(np.log(at).mean()))
    assert np.isnan(shown.loc[0.001, 1.0])
    gap = plane.means(found, effects.saturation)
    assert gap.loc[0.1, 1.0] == pytest.approx(1 / 27)


def test_other_people_s_settings_lie_where_they_are() -> None:
    grid = [0.01, 0.1, 1.0]
    assert plane._place(0.1, grid) == 1.0
    assert plane._place(0.0316227766, grid) == pytest.approx(0.5)
    assert plane._place(2.0, grid) is None
    low, high = plane.DEFAULT_SCALES
    assert low == pytest.approx(1 / math.sqrt(3 * 784), abs=0.002)
    assert high == pytest.approx(1 / math.sqrt(3 * 100), abs=0.003)


def test_the_three_stories_are_three_cells_of_the_map() -> None:
    found = read(mapped.results(whole()))
    with style.house_style():
        axes = curves.stories(found).axes
    scale, rate = curves.small_weights(found)
    assert scale == 0.01
    assert f"σ = 0.01, rate {rate:g}" in axes[0].get_xlabel()
    assert axes[1].get_xlabel().count("σ") in (1, 2)
    plain_scale, plain_rate = found.best("none")
    assert f"σ = {plain_scale:g}, rate {curves.nearest(found.rates, plain_rate / 10):g}" in axes[2].get_xlabel()
    accuracy = found.curve("test", "accuracy")
    median = accuracy[list(found.names["batch"].loc[(scale, rate)])].median(axis=1).iloc[1:]
    lines = {line.get_color(): line.get_ydata() for line in axes[0].lines}
    np.testing.assert_allclose(lines[style.colour("batch")], median)


def test_the_appendix_lists_every_cell_and_how_the_rules_came() -> None:
    section = operating_points.DECLARED.section
    assert section is not None
    text = section(mapped.results(whole()))
    assert text.count("\n| 0.") + text.count("\n| 1 ") + text.count("\n| 3 ") == 72
    assert "**after** the first report" in text
    assert "pilot" in text
    assert "8 seeds, 50,000 steps" in text
    assert "operating_points_digits" in text


def deep(trains: dict[str, int], depths: tuple[int, ...] = (3, 5, 10, 20, 50)) -> Tables:
    """Stacks that train up to a depth at the smaller of two rates, and nowhere at the larger."""
    made = [
        mapped.tables(
            lambda arm, layers, rate, seed: mapped.flat(0.95 if layers <= trains[arm] and rate < 0.1 else 0.2),
            "depth", scales=tuple(map(float, depths)), rates=(0.03, 0.3), steps=(0, 1500, 3000), activation=activation,
        )
        for activation in ("relu", "sigmoid")
    ]  # fmt: skip
    runs, metrics = (pd.concat([getattr(each, name) for each in made]) for name in ("runs", "metrics"))
    hidden = [str([100] * int(layers)) for layers in runs["model.init_scale"]]
    return dataclasses.replace(made[0], runs=runs.assign(**{"model.hidden": hidden}), metrics=metrics)


@pytest.mark.parametrize(
    ("trains", "expected", "low", "high"),
    [
        ({"none": 5, "batch": 20}, "supported", 2.0, 10.0),
        ({"none": 5, "batch": 10}, "inconclusive", 1.0, 4.0),
        ({"none": 20, "batch": 5}, "contradicted", 0.1, 0.5),
        ({"none": 2, "batch": 50}, "supported", 50 / 3, math.inf),
    ],
)
def test_the_depth_lies_between_two_of_the_grid(trains: dict[str, int], expected: str, low: float, high: float) -> None:
    results = mapped.results(deep(trains))
    found = depth.CLAIMS[0].judge(results)
    assert found.verdict == expected
    assert found.primary is not None
    assert (found.primary.interval.low, found.primary.interval.high) == (pytest.approx(low), pytest.approx(high))
    assert "ReLU" in found.primary.name
    with style.house_style():
        figure = depth.DECLARED.figures(results)["depth_accuracy"]
    assert len(figure.axes) == 2


def test_one_depth_alone_is_not_run_with_the_reason() -> None:
    found = depth.CLAIMS[0].judge(mapped.results(deep({"none": 5, "batch": 20}, depths=(3,))))
    assert found.verdict == "not run"
    assert "at two or more depths" in found.notes[0]
