"""What no claim judges: a user's own experiment, and arms that are not among those of an experiment's claims.

They are shown nonetheless: curves, final values, and a sentence that says so, in the report and on the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bnrepro import stats
from bnrepro.claims import style
from bnrepro.claims.claim import LAST, Experiment, tables_of
from bnrepro.claims.markdown import table
from bnrepro.claims.naming import asked_of
from bnrepro.stats import BASELINE, amount, paired_difference
from bnrepro.store.record import RUN_COLUMNS, VERSIONS
from bnrepro.tables import Results, Tables

TOLD_APART = 12
"""At most this many curves get legend entries; beyond that, the report's table tells them apart."""
LINES = ("-", ":", "-.", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)))
"""For the arms besides none, which is dashed as everywhere."""


@dataclass(frozen=True)
class Setting:
    """Runs that differ only in their seeds: an arm, with what else its experiment varies."""

    arm: str
    varied: str
    runs: pd.DataFrame

    @property
    def label(self) -> str:
        return f"{style.name(self.arm)}, {self.varied}" if self.varied else style.name(self.arm)


def own(results: Results, declared: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """The experiments that have tables but are not ``declared``, by name."""
    found = sorted(path.name.partition(".")[0] for path in (results.folder / "tables").glob("*.runs.csv*"))
    return {name: experiment(name) for name in found if name not in declared}


def experiment(name: str, judged: bool = False) -> Experiment:
    """A user's own experiment without claims: its curves, and a section that says whether others have ``judged`` it."""
    return Experiment(
        name,
        LAST,
        draw=lambda results: {curves_name(name): curves(tables_of(results, name))},
        section=partial(_own_section, name, judged),
        own=True,
    )


def curves_name(name: str) -> str:
    """The figure of :func:`curves`."""
    return f"{name}_curves"


def unjudged(results: Results, experiment: Experiment) -> list[str]:
    """The arms in an experiment's tables that its claims do not ask for."""
    tables = results.tables(experiment.name)
    if tables is None or (experiment.own and not experiment.claims):
        return []
    treatment = results.treatment
    return sorted(set(tables.runs["arm"]) - {BASELINE, treatment, f"{treatment}-after", *experiment.arms})


def figures(results: Results, experiment: Experiment) -> dict[str, Figure]:
    """The experiment's figures, and its curves if they would lack an arm that no claim judges."""
    found = experiment.figures(results)
    if unjudged(results, experiment) and not experiment.draws_all:
        with asked_of(results.treatment):
            found[curves_name(experiment.name)] = style.completed(curves(tables_of(results, experiment.name)))
    return found


def remark(results: Results, experiment: Experiment) -> str:
    """One sentence on what no claim judges in an experiment; empty if there is nothing."""
    if experiment.own and not experiment.claims:
        return (
            f"{experiment.name} is an experiment of your own: no claim judges it; --config-dir FOLDER with "
            f"FOLDER/claims/{experiment.name}.py asks one"
        )
    arms = unjudged(results, experiment)
    if not arms:
        return ""
    which = f"the arm {arms[0]}" if len(arms) == 1 else f"the arms {', '.join(arms)}"
    return f"no claim of {experiment.name} judges {which}: a claim names the arms that it compares"


def section(results: Results, experiment: Experiment) -> str:
    """The section of the report on the arms that no claim judges; empty if there are none."""
    arms = unjudged(results, experiment)
    if not arms:
        return ""
    tables = tables_of(results, experiment.name)
    chosen = [setting for setting in settings(tables) if setting.arm in arms]
    shown = "Its figures show every arm." if experiment.draws_all else _link(experiment.name)
    heading = f"## Beyond the claims of {experiment.name}: {', '.join(arms)}"
    return "\n\n".join([heading, _capital(remark(results, experiment)) + ".", _values(tables, chosen), shown])


def _own_section(name: str, judged: bool, results: Results) -> str:
    tables = tables_of(results, name)
    said = f"{name} is an experiment of your own" if judged else remark(results, experiment(name))
    said += f". Its data: {tables.data_label}; its rows: `tables/{name}*`."
    return "\n\n".join([f"## {name}", said, _values(tables, settings(tables)), _link(name)])


def _capital(text: str) -> str:
    return "No" + text.removeprefix("no") if text.startswith("no claim") else text  # a name stays as it is


def _link(name: str) -> str:
    return f"![curves of every arm of {name}](figures/{curves_name(name)}.png)"


def settings(tables: Tables) -> list[Setting]:
    """The settings of an experiment's runs, in the order of its tables."""
    keys = [key for key in tables.runs.columns if key not in (*RUN_COLUMNS, *VERSIONS)]
    texts = tables.runs[keys].astype(str)
    varied = [key for key in keys if texts[key].groupby(tables.runs["arm"]).nunique().max() > 1]
    names = [", ".join(f"{str(key).rpartition('.')[2]} {value}" for key, value in row.items())
             for row in texts[varied].to_dict("records")]  # fmt: skip
    groups = tables.runs.groupby([tables.runs["arm"], pd.Series(names, index=tables.runs.index)], sort=False)
    return [Setting(str(arm), str(name), runs) for (arm, name), runs in groups]


def _values(tables: Tables, chosen: list[Setting]) -> str:
    """A table of the final values of every setting: mean of the seeds with its interval."""
    columns = {
        "final training loss": (stats.final(stats.curve(tables.metrics, "train", "loss")), "number"),
        "final test accuracy": (stats.final(stats.curve(tables.metrics, "test", "accuracy")), "share"),
    }
    rows = []
    for setting in chosen:
        lost = int((setting.runs["status"] == "diverged").sum())
        finished = setting.runs.loc[setting.runs["status"] == "finished", "run"]
        cells = []
        for values, unit in columns.values():
            ends = values.reindex(finished).dropna()
            cells.append(amount(paired_difference(ends), unit) if len(ends) else "–")
        rows.append([setting.arm, setting.varied or "–", f"{len(setting.runs)} ({lost})", *cells])
    return table(["arm", "varied", "seeds (diverged)", *columns], rows)


def _looks(found: list[Setting]) -> list[tuple[Any, str]]:
    """Line and colour of each setting: the line tells the arms apart, the colour what is varied, or else the arms."""
    arms = list(dict.fromkeys(setting.arm for setting in found if setting.arm != BASELINE))
    varied = list(dict.fromkeys(setting.varied for setting in found))
    shades = list(dict.fromkeys(style.COLOURS.values()))
    lines = {BASELINE: style.line(BASELINE)} | {arm: LINES[number % len(LINES)] for number, arm in enumerate(arms)}
    looks = []
    for setting in found:
        number = varied.index(setting.varied) if len(varied) > 1 else list(lines).index(setting.arm)
        looks.append((lines[setting.arm], shades[number % len(shades)]))
    return looks


def curves(tables: Tables) -> Figure:
    """Training loss and test accuracy of every setting against training steps, median and range of the seeds."""
    figure, [axes] = style.canvas(style.PAGE, 2.6, 1, 2)
    found = settings(tables)
    looks = _looks(found)
    for panel, (split, metric) in zip(axes, (("train", "loss"), ("test", "accuracy")), strict=True):
        seen = stats.curve(tables.metrics, split, metric)
        for setting, (line, shade) in zip(found, looks, strict=True):
            runs = [run for run in setting.runs["run"] if run in seen]
            if runs:
                style.median_and_range(panel, seen[runs].dropna(how="all"), line, shade, label=setting.label)
        panel.set(xlabel="training steps", xlim=(0, max(tables.metrics["step"].max(), 1)))
        style.thousands(panel)
        if metric == "loss" and (seen > 0).any(axis=None):
            panel.set_yscale("log")
    axes[0].set_ylabel("training loss (nats)")
    axes[1].set_ylabel("test accuracy")
    seeds = max(len(setting.runs) for setting in found)
    note = "" if len(found) <= TOLD_APART else f"; {len(found)} settings, which the report's table tells apart"
    figure.suptitle(f"{tables.data_label}; {style.summary('median and range', seeds)}{note}")
    if len(found) <= TOLD_APART:
        style.legend_below(figure, axes[1], min(len(found), 3))
    return figure
