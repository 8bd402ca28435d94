"""The size of the paper's own network. It carries no claim; the report has the count and what 13.6·10⁶ may mean."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.claim import Experiment
from bnrepro.tables import Results

NAME = "network_size"
PAPER = 13.6e6
"""Parameters, §4.2."""
PARTS = ["convolutions", "γ and β", "classifier"]
GOOGLENET, DEARER = 1.5e9, 1.3
"""GoogLeNet's multiply-adds for one image (Szegedy et al. 2014, §1), and the factor that the appendix gives."""


def section(results: Results) -> str:
    """Parameters and multiply-adds of the table's four versions, and how close other readings come to the paper."""
    found = results.measured(NAME)
    assert found is not None
    parameters, costs = (_by_version(found.frame, quantity) for quantity in ("parameters", "multiply-adds"))
    sizes, costs = parameters.filter(PARTS).sum(axis=1), costs.sum(axis=1)
    lines = [
        "## The network of the appendix, counted",
        "",
        "| pool projection of 4c and 4d | first convolution | convolutions | γ and β | classifier | parameters, 10⁶ | "
        "multiply-adds an image, 10⁹ |",
        "|---|---|---|---|---|---|---|",
    ]
    for projection, stem in parameters.index:
        version = (projection, stem)
        cells = " | ".join(f"{parameters.loc[version, part]:,.0f}" for part in PARTS)
        size, cost = sizes[version] / 1e6, costs[version] / 1e9
        lines.append(f"| {projection} | {stem} | {cells} | {size:.2f} | {cost:.2f} |")
    lines += [
        "",
        f"§4.2 gives {PAPER / 1e6:.1f}·10⁶ parameters. The table makes {_millions(sizes)}, whichever way its open "
        "entries are read. Readings that would make another number:",
        "",
        "| the table, and | parameters, 10⁶ | from the paper's, 10⁶ |",
        "|---|---|---|",
    ]
    matching = []
    for reading in [part for part in parameters if part not in PARTS]:
        sums = sizes + parameters[reading]
        nearest = sums.iloc[(sums - PAPER).abs().argmin()]
        lines.append(f"| {reading} | {_millions(sums, '')} | {(nearest - PAPER) / 1e6:+.2f} |")
        if f"{nearest / 1e6:.1f}" == f"{PAPER / 1e6:.1f}":
            matching.append(reading)
    lines += ["", *(f"- {line}" for line in _conclusions(matching, costs))]
    return "\n".join(lines)


def _by_version(frame: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A row for each version of the table, a column for each part."""
    chosen = frame[frame["quantity"] == quantity]
    return chosen.pivot_table("count", ["projection", "stem"], "part", sort=False)


def _conclusions(matching: list[str], costs: pd.Series) -> list[str]:
    rounded = (
        f"To {PAPER / 1e6:.1f} rounds: {'; '.join(matching)}. The paper mentions nothing of the kind, and with as many "
        "readings as these one may fit by chance."
        if matching
        else f"None of them rounds to {PAPER / 1e6:.1f}."
    )
    return [
        rounded,
        "The table is not misread here: two published implementations of it have as many parameters to the unit, "
        "TF-Slim's Inception v2 (separable, 96) and the BN-Inception of pretrained-models.pytorch (plain, 128), biases "
        "and running statistics counted as they do.",
        "The sentence with the number also says that only the softmax layer is fully connected, which rules out a "
        "hidden layer and the auxiliary classifiers, and that the double 3×3 convolutions have up to 128 filters, "
        "which the table exceeds from 4c on. Sentence and table cannot both describe one network.",
        f"The appendix says that the double 3×3 make the network about {DEARER - 1:.0%} dearer than GoogLeNet, whose "
        f"authors give {GOOGLENET / 1e9:.1f}·10⁹ multiply-adds: {GOOGLENET * DEARER / 1e9:.2f}·10⁹. The table's "
        f"{costs.min() / 1e9:.2f} to {costs.max() / 1e9:.2f}·10⁹ agree: it lacks no layer of any cost.",
        "The network here is the table's; the number of §4.2 stays unexplained.",
    ]


def _millions(counts: pd.Series, unit: str = " million") -> str:
    low, high = (f"{value / 1e6:.2f}" for value in (counts.min(), counts.max()))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


DECLARED = Experiment(NAME, 130, section=section, any_normaliser=False)
