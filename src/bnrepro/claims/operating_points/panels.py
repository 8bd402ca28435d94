"""The other claims over the same plane, small: a panel each, in the colours of the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from bnrepro.claims import style
from bnrepro.claims.claim import NotRun
from bnrepro.claims.operating_points import effects, plane
from bnrepro.claims.operating_points.effects import Effect
from bnrepro.claims.operating_points.reading import Map
from bnrepro.stats import BASELINE


@dataclass(frozen=True)
class Panel:
    """One effect over the plane. ``ticks`` go from the treatment's end of the colours to the baseline's."""

    title: str
    effect: Effect
    ticks: Sequence[float]
    row: str | None = None
    factor: float = 1.0
    """What the values are multiplied by: 100 gives points."""
    higher_is_better: bool = False

    def norm(self) -> Normalize:
        """The ends of the colours."""
        low, high = self.ticks[0], self.ticks[-1]
        return LogNorm(low, high) if low > 0 else TwoSlopeNorm(0, low, high)

    def labels(self) -> list[str]:
        """What stands at the ticks: ratios as 1/4, 1, 4, differences with their sign."""
        if self.ticks[0] > 0:
            return [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in self.ticks]
        return [style.signed(-tick if self.higher_is_better else tick, 0) for tick in self.ticks]


MEDIAN = effects.part_label("median", 1.0)
RATIOS = (1 / 8, 1 / 2, 1, 2, 8)
PANELS = (
    Panel("final test accuracy,\ndifference in points", effects.accuracy, (-4, -2, 0, 2, 4), factor=-100,
          higher_is_better=True),
    Panel("steps to a training loss\nof 1, ratio", effects.steps_to_loss, RATIOS, "1"),
    Panel("steps to a training loss\nof 0.03, ratio", effects.steps_to_loss, RATIOS, "0.03"),
    Panel("drift of the median unit,\nall of training, ratio", effects.drift, RATIOS, MEDIAN),
    Panel("saturated outputs, mean of\nthe layers, points", effects.saturation, (-20, -10, 0, 10, 20), factor=100),
    Panel("growth of the weights in\nthe second half, ratio", effects.late_growth, RATIOS),
)  # fmt: skip
COLUMNS = 3


def draw(found: Map) -> Figure:
    """Six panels, each with the strip of its colours below."""
    rows = len(PANELS) // COLUMNS
    figure, axes = style.canvas(style.PAGE, 5.6, 2 * rows, COLUMNS, height_ratios=[1, 0.06] * rows)
    maps, strips = axes[0::2].ravel(), axes[1::2].ravel()
    for number, (panel, drawn, strip) in enumerate(zip(PANELS, maps, strips, strict=True)):
        norm = panel.norm()
        plane.scale_below(strip, norm, found.treatment, panel.ticks, panel.labels())
        try:
            values = panel.factor * plane.means(found, panel.effect, panel.row)
        except NotRun as reason:
            style.nothing(drawn, str(reason).partition(":")[0])
            continue
        plane.cells(drawn, found, values, norm)
        _sparse(drawn, found, number % COLUMNS == 0)
    style.panel_letters(maps, [panel.title for panel in PANELS])
    figure.supxlabel(
        "learning rate (on each map; below it the scale of its colours, which are those of the arm that does better)"
    )
    figure.suptitle(
        f"{found.tables.data_label}, {found.budget:,} steps; {plane.within(found.treatment)} against "
        f"{plane.within(BASELINE)}, where both train; hatched: only one does; dots: neither reaches the loss"
    )
    return figure


def _sparse(axes: Axes, found: Map, first: bool) -> None:
    """Every other label on the x-axis; the scales only at the first panel of a row."""
    axes.set_xticks(
        range(0, len(found.rates), 2), [f"{rate:g}" for rate in found.rates[::2]]
    )  # fmt: skip
    if first:
        axes.set_ylabel("initial standard deviation")
    else:
        axes.set_yticklabels([])
