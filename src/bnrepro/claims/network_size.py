"""The size of the paper's own network. It carries no claim; the report shows the count, and readings of 13.6·10⁶."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims.claim import Experiment, measurement_of
from bnrepro.claims.markdown import table
from bnrepro.tables import Results

NAME = "network_size"
PAPER = 13.6e6
"""Parameters, §4.2."""
PARTS = ["convolutions", "γ and β", "classifier"]
GOOGLENET, DEARER = 1.5e9, 1.3
"""GoogLeNet's multiply-adds per image (Szegedy et al. 2014, §1), and the appendix's factor over them."""


def section(results: Results) -> str:
    """Parameters and multiply-adds of the table's four versions, and how close other readings come to the paper."""
    frame = measurement_of(results, NAME).frame
    parameters, costs = (_by_version(frame, quantity) for quantity in ("parameters", "multiply-adds"))
    sizes, costs = parameters.filter(PARTS).sum(axis=1), costs.sum(axis=1)
    versions = [
        [*version, *(f"{count:,.0f}" for count in parts), f"{sizes[version] / 1e6:.2f}", f"{costs[version] / 1e9:.2f}"]
        for version, parts in zip(parameters.index, parameters[PARTS].to_numpy(), strict=True)
    ]
    readings, matching = [], []
    for reading in parameters.columns.drop(PARTS):
        sums = sizes + parameters[reading]
        nearest = sums.iloc[(sums - PAPER).abs().argmin()]
        readings.append([reading, _millions(sums, ""), f"{(nearest - PAPER) / 1e6:+.2f}"])
        if f"{nearest / 1e6:.1f}" == f"{PAPER / 1e6:.1f}":
            matching.append(str(reading))
    header = ["pool projection of 4c and 4d", "first convolution", *PARTS, "parameters, 10⁶"]
    return "\n\n".join(
        [
            "## The network of the appendix, counted",
            table([*header, "multiply-adds per image, 10⁹"], versions),
            f"§4.2 gives {PAPER / 1e6:.1f}·10⁶ parameters. The table makes {_millions(sizes)}, whichever way its open "
            "entries are read. Readings that would change the number:",
            table(["the table, and", "parameters, 10⁶", "from the paper's, 10⁶"], readings),
            "\n".join(f"- {line}" for line in _conclusions(matching, costs)),
        ]
    )


def _by_version(frame: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Counts of ``quantity``: versions of the table (rows) × parts (columns)."""
    chosen = frame[frame["quantity"] == quantity]
    return chosen.pivot_table("count", ["projection", "stem"], "part", sort=False)


def _conclusions(matching: list[str], costs: pd.Series) -> list[str]:
    rounded = (
        f"Rounding to {PAPER / 1e6:.1f}: {'; '.join(matching)}. The paper mentions nothing of the kind, and among this "
        "many readings one may fit by chance."
        if matching
        else f"None of them rounds to {PAPER / 1e6:.1f}."
    )
    return [
        rounded,
        "We do not misread the table: two published implementations have exactly as many parameters, TF-Slim's "
        "Inception v2 (separable, 96) and the BN-Inception of pretrained-models.pytorch (plain, 128), if biases and "
        "running statistics are counted as they count them.",
        "The sentence with the number also says that only the softmax layer is fully connected, which rules out a "
        "hidden layer and the auxiliary classifiers, and that the double 3×3 convolutions have up to 128 filters, "
        "which the table exceeds from 4c on. Sentence and table cannot both describe one network.",
        f"The appendix says that the double 3×3 make the network about {DEARER - 1:.0%} dearer than GoogLeNet, whose "
        f"authors give {GOOGLENET / 1e9:.1f}·10⁹ multiply-adds: {GOOGLENET * DEARER / 1e9:.2f}·10⁹. The table's "
        f"{costs.min() / 1e9:.2f} to {costs.max() / 1e9:.2f}·10⁹ agree, so it lacks no costly layer.",
        "The network here is the table's; the number of §4.2 stays unexplained.",
    ]


def _millions(counts: pd.Series, unit: str = " million") -> str:
    low, high = (f"{value / 1e6:.2f}" for value in (counts.min(), counts.max()))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


DECLARED = Experiment(NAME, 130, section=section, any_normaliser=False)
