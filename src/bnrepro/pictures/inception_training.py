"""Fig. 2 of the paper: test accuracy of the Inception's variants against training steps."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims.style import PAGE, band, canvas, colour, thousands
from bnrepro.tables import Results

STYLES = {
    "inception": ("--", "Inception"),
    "bn_baseline": (":", "BN-Baseline"),
    "bn_x5": ("-", "BN-x5"),
    "bn_x30": ("-", "BN-x30"),
    "bn_x5_sigmoid": ("-.", "BN-x5-Sigmoid"),
    "inception_x5": ("--", "Inception at ×5"),
    "inception_sigmoid": ("-.", "Inception, sigmoid"),
}


def figures(results: Results) -> dict[str, Figure]:
    """Median and range of the seeds; a dot where the median reaches Inception's best, as in the paper."""
    tables = results.tables("inception_training")
    if tables is None:
        return {}
    figure, [[axes]] = canvas(PAGE, 3.2)
    curves = stats.curve(tables.metrics, "test", "accuracy")
    plain = tables.runs[(tables.runs["arm"] == "inception") & (tables.runs["status"] == "finished")]
    target = float(curves[list(plain["run"])].max().mean()) if len(plain) else None
    for arm, (style, label) in STYLES.items():
        runs = list(tables.runs.loc[tables.runs["arm"] == arm, "run"])
        if not runs:
            continue
        lost = int((tables.runs.loc[tables.runs["arm"] == arm, "status"] == "diverged").sum())
        band(axes, curves[runs], arm, label + (f" ({lost} of {len(runs)} diverged)" if lost else ""), style)
        median = curves[runs].median(axis=1)
        reached = median.index[median >= target] if target is not None else median.index[:0]
        if len(reached):
            axes.plot(reached[0], median[reached[0]], "o", color=colour(arm), markersize=5)
    if target is not None:
        axes.axhline(target, color="0.6", linewidth=0.6, linestyle=":")
    axes.set(xlabel="training steps", ylabel="test accuracy", xlim=(0, curves.index.max()), ylim=(0, None))
    thousands(axes)
    seeds = tables.runs["seed"].nunique()
    axes.set_title(f"{tables.data_label}; median and range of {seeds} seeds", loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return {"inception_training_accuracy": figure}
