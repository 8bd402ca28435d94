"""A results folder with a made-up map on disk, as `make reproduce` would leave it."""

from __future__ import annotations

import math
from pathlib import Path

import mapped
from fabricated import vouch
from mapped import Run

from bnrepro.claims.operating_points import rules
from bnrepro.config.columns import recorded_keys
from bnrepro.store.record import TIMING_COLUMNS
from bnrepro.tables import LONG, Tables

SCALES, RATES = (0.003, 0.03, 0.3, 3.0), (0.1, 1.0, 10.0, 100.0)
"""Of the small map of most tests."""
IDENTITY = "bias_redundant"
"""The one other claim that has a table there, and the figure."""
STEPS = (0, 10, 20, 40, 80, 160, 320, 640, *range(1000, 10001, 1000))
RUN = {"fingerprint": "0" * 16, "python": "3", "torch": "2", "numpy": "2", "commit": "c0ffee"}


def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
    """BN trains in more cells and faster at small scales; beyond rate 50 the plain network diverges."""
    treated = arm == "batch"
    trains = (0.02 < rate < 50) if treated else (0.2 < rate < 5 and 0.02 < scale < 2)
    half = (30 + 9 / rate if treated else 60 / rate * (1 + abs(math.log10(scale / 0.2)))) * (1 + seed / 20)
    if treated and scale > 0.5:
        half *= 4 * scale
    drift = {(name, part): 1 + rate * treated / 9 for name in rules.STATISTICS for part in rules.PARTS}
    end = (0.975 if treated else 0.968) + seed / 1000 if trains else 0.11 + 0.3 * treated
    return Run(lambda step: 0.1 + (end - 0.1) * (1 - 2.0 ** (-step / half)),
               lambda step: 0.004 + 2.3 * 2.0 ** (-step / half / 2) if trains else 2.3, drift,
               (0.2, 0.1, 0.1 + treated / 9), (scale, 2.0, 3.0 - treated / 2),
               diverged_at=300 if rate > 50 and not treated and seed else None)  # fmt: skip


def made(**options: object) -> Tables:
    """The made-up map, in memory."""
    return mapped.tables(cell, steps=STEPS, **options)  # pyright: ignore[reportArgumentType]


def on_disk(folder: Path, tables: Tables) -> Path:
    """``tables`` below ``folder``, and digests of all tables there."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    runs = tables.runs.assign(**RUN, key=[f"{place:08x}" + "0" * 8 for place in range(len(tables.runs))])
    absent = [key for key, always in recorded_keys().items() if always and key not in {*runs, "seed", "norm"}]
    runs = runs.assign(**dict.fromkeys(absent, "made up"))
    names = dict(zip(runs["run"], runs["arm"] + "-s" + runs["seed"].astype(str) + "-" + runs["key"].str[:8],
                     strict=True))  # fmt: skip
    frames = {"": tables.metrics, ".runs": runs, ".timing": tables.timing.merge(runs[["run", *LONG[1:4]]])}
    frames |= {f".{name}": frame for name, frame in tables.probes.items()}
    frames[".timing"] = frames[".timing"][[*TIMING_COLUMNS]]
    last = runs.set_index("run")["last_step"]
    for name, frame in frames.items():
        if "step" in frame:  # a run that diverged has no lines after it
            frame = frame[frame["step"] <= frame["run"].map(last)]
        path = folder / "tables" / f"{tables.experiment}{name}.csv"
        frame.assign(run=frame["run"].map(names)).to_csv(path, index=False)
    vouch(folder)
    return folder
