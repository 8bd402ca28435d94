"""What the notebooks import: pictures in the house style, and the results folder they read.

A picture or table is displayed as the same bytes whenever its cell is run, so that the outputs can be committed.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from pandas.io.formats.style import Styler

from bnrepro import store
from bnrepro.claims import style
from bnrepro.errors import StoreError

BEFORE, AFTER = style.colour("none"), style.colour("batch")
"""The colours of values that are not normalised, and of values that are."""
BLUE = style.COLOURS["batch-after"]
DPI = 120
"""Pixels per inch on the page."""
SHARPNESS = 1.25
"""Pixels of the file per pixel of the page: sharper type, in a notebook that a code host still shows."""


# ---------------------------------------------------------------------------------------------------- pictures


def show(draw: Callable[..., Figure], *arguments: Any) -> None:
    """Draw a figure, ``draw(*arguments)``, in the house style, and display it."""
    with style.house_style():
        _display(draw(*arguments))


@contextlib.contextmanager
def picture(height: float, columns: int = 2, width: float = style.PAGE, **options: Any) -> Iterator[np.ndarray]:
    """``columns`` axes side by side, in the house style; the figure is displayed when the block ends.

    Height and width are in inches; ``options`` are those of :meth:`matplotlib.figure.Figure.subplots`.
    """
    with style.house_style():
        figure, [axes] = style.canvas(width, height, 1, columns, **options)
        yield axes
        _display(figure)


def _display(figure: Figure) -> None:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=SHARPNESS * DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})
    display(Image(png.getvalue(), width=round(figure.get_figwidth() * DPI)))


def strips(axes: Axes, values: ArrayLike, colour: str, title: str) -> None:
    """Values (examples × features) as one row of dots per feature, with its mean and one standard deviation to either
    side."""
    features = np.asarray(values).T
    for k, column in enumerate(features):
        axes.plot(column, np.full_like(column, -k), ".", color=colour, alpha=0.4, markersize=5, markeredgewidth=0)
        axes.errorbar(column.mean(), -k - 0.3, xerr=column.std(), fmt="|", color=colour, markersize=7)
    axes.set_yticks(range(0, -len(features), -1), [f"feature {k + 1}" for k in range(len(features))])
    axes.set(xlabel="value; the bar: mean ± standard deviation", title=title, ylim=(0.4 - len(features), 0.4))


# ------------------------------------------------------------------------------------------------------ tables


def results_with(experiment: str) -> Path:
    """The results folder to explore: the committed one, or the one that BNREPRO_RESULTS names.

    Where nothing is committed yet and nothing is named, it is what `make reproduce` left among the outputs, and a line
    says so. Raises :class:`StoreError` if no folder has a table of the experiment.
    """
    wanted = store.results_folder("full")
    candidates = [wanted]
    if not os.environ.get("BNREPRO_RESULTS"):
        candidates += [
            store.results_folder(profile, substitute=data)
            for profile in ("quick", "smoke")
            for data in (None, "digits")
        ]
    found = [folder for folder in candidates if store.find_table(folder / "tables", experiment) is not None]
    if not found:
        raise StoreError(
            f"{wanted.name}/tables has no table of {experiment}. `make reproduce` makes one within minutes, "
            "`make reproduce PROFILE=full` the committed one; then run this notebook again."
        )
    if found[0] != wanted:
        print(f"{wanted.name}/tables has no table of {experiment} yet; what follows is from outputs/{found[0].name}")
    return found[0]


def contents(folder: Path, experiment: str = "*") -> pd.DataFrame:
    """The tables of an experiment, or of all: file name → size in kB and the first twelve columns."""
    paths = sorted((folder / "tables").glob(f"{experiment}.*csv*"))
    return pd.DataFrame(
        {
            "kB": [round(path.stat().st_size / 1000) for path in paths],
            "columns": [", ".join(pd.read_csv(path, nrows=0).columns[:12]) for path in paths],
        },
        index=[path.name for path in paths],
    )


def table(styled: Styler) -> None:
    """Display a styled frame. By itself it would carry a random identifier, and an address of memory as its text."""
    shown = styled.set_uuid("table")
    display({"text/html": shown.to_html(), "text/plain": shown.to_string()}, raw=True)
