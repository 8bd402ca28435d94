"""Three verdicts of the map once more, from the rows of the tables, with loops of this file's own.

Nothing here comes from the statistics of the project: what it shares with them is the written rule.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import mapped
import pytest
from mapped import Run

from bnrepro import store
from bnrepro.claims import operating_points
from bnrepro.tables import Results

STUDENT = {2: 12.7062, 3: 4.30265, 4: 3.18245, 5: 2.77645, 6: 2.57058, 8: 2.36462, 10: 2.26216, 20: 2.09302}
"""The 97.5th percentile of Student's t for so many seeds, from a printed table."""
Rows = list[dict[str, str]]


def rows_of(folder: Path, name: str) -> Rows | None:
    path = folder / f"{name}.csv"
    if path.exists():
        return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    packed = folder / f"{name}.csv.gz"
    return list(csv.DictReader(gzip.decompress(packed.read_bytes()).decode().splitlines())) if packed.exists() else None


class Raw:
    """Runs by (arm, scale, rate, seed), and the points of every curve in order."""

    def __init__(self, metrics: Rows, runs: Rows) -> None:
        self.alive = {row["run"]: row["status"] == "finished" for row in runs}
        self.budget = max(int(float(row["steps"])) for row in runs)
        self.run = {
            (row["arm"], float(row["model.init_scale"]), float(row["optimizer.lr"]), int(row["seed"])): row["run"]
            for row in runs
        }
        self.scales = sorted({key[1] for key in self.run})
        self.rates = sorted({key[2] for key in self.run})
        self.seeds = sorted({key[3] for key in self.run})
        self.points: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for row in metrics:
            if row["metric"] == "accuracy" and row["value"]:
                key = (row["run"], row["split"])
                self.points.setdefault(key, []).append((int(row["step"]), float(row["value"])))
        for each in self.points.values():
            each.sort()

    def trains(self, arm: str, scale: float, rate: float, seed: int) -> bool:
        run = self.run[arm, scale, rate, seed]
        return self.alive[run] and self.points[run, "validation"][-1][1] >= 0.9

    def end(self, run: str) -> float:
        last = [value for _, value in self.points[run, "test"][-5:]]
        return sum(last) / len(last)

    def both(self) -> list[tuple[float, float]]:
        found = []
        for scale in self.scales:
            for rate in self.rates:
                if all(self.trains(arm, scale, rate, seed) for arm in ("none", "batch") for seed in self.seeds):
                    found.append((scale, rate))
        return found

    def reached(self, run: str, goal: float) -> tuple[float, float]:
        """After which step and by which step."""
        before = 0.0
        for step, value in self.points[run, "test"]:
            if value >= goal:
                return before, max(float(step), 1.0)
            before = float(step)
        return float(self.budget), math.inf


def ends_of(shares: list[float]) -> tuple[float, float]:
    n = len(shares)
    mean = sum(shares) / n
    if n < 2:
        return math.nan, math.nan
    spread = math.sqrt(sum((each - mean) ** 2 for each in shares) / (n - 1))
    half = STUDENT[n] * spread / math.sqrt(n)
    return mean - half, mean + half


def verdict(sides: Iterable[list[tuple[bool, bool, bool]]], least: int) -> str:
    """From every seed's list of units: (beyond the margin, on the claimed side, on the other side)."""
    a, w, b, fewest = [], [], [], math.inf
    for seed in sides:
        fewest = min(fewest, len(seed))
        for shares, place in ((a, 0), (w, 1), (b, 2)):
            shares.append(sum(each[place] for each in seed) / len(seed) if seed else math.nan)
    if fewest < least:
        return "inconclusive"
    (a_low, _), (w_low, w_high), (b_low, b_high) = ends_of(a), ends_of(w), ends_of(b)
    if a_low > 0.5 and b_high <= 0.2:
        return "supported"
    if w_low > 0.5 and b_high <= 0.2:
        return "weaker"
    if b_low > 0.5 and w_high <= 0.2:
        return "contradicted"
    return "depends" if w_low >= 0.1 and b_low >= 0.1 else "inconclusive"


def faster_training(raw: Raw) -> str:
    seeds = []
    for seed in raw.seeds:
        units = []
        for scale, rate in raw.both():
            plain, treated = (raw.run[arm, scale, rate, seed] for arm in ("none", "batch"))
            goal = raw.end(plain)
            (after, by), (plain_after, plain_by) = raw.reached(treated, goal), raw.reached(plain, goal)
            low = after / plain_by
            high = math.inf if plain_after == 0 else by / plain_after
            units.append((high <= 0.5 + 1e-9, high <= 1, low >= 1))
        seeds.append(units)
    return verdict(seeds, 10)


def higher_accuracy(raw: Raw) -> str:
    seeds = []
    for seed in raw.seeds:
        units = []
        for scale, rate in raw.both():
            gap = raw.end(raw.run["batch", scale, rate, seed]) - raw.end(raw.run["none", scale, rate, seed])
            units.append((gap > 0, gap > 0, gap < 0))
        seeds.append(units)
    return verdict(seeds, 10)


def robust_to_init(raw: Raw) -> str:
    places = [round(math.log10(scale), 1) for scale in raw.scales]

    def span(arm: str, rate: float, seed: int) -> tuple[float, float] | None:
        best: tuple[int, int] | None = None
        for first in range(len(places)):
            last = first
            while last < len(places) and raw.trains(arm, raw.scales[last], rate, seed):
                last += 1
            if last > first and (best is None or places[last - 1] - places[first] > places[best[1]] - places[best[0]]):
                best = (first, last - 1)
        if best is None:
            return None
        first, last = best
        edge = first == 0 or last == len(places) - 1
        return places[last] - places[first], math.inf if edge else places[last + 1] - places[first - 1]

    nowhere = (0.0, max(after - before for before, after in itertools.pairwise(places)))
    seeds = []
    for seed in raw.seeds:
        units = []
        for rate in raw.rates:
            with_, without = span("batch", rate, seed), span("none", rate, seed)
            if with_ is None and without is None:
                continue
            (low, high), (plain_low, plain_high) = with_ or nowhere, without or nowhere
            units.append((low - plain_high >= 0.5 - 1e-9, low - plain_high >= 0, high - plain_low <= 0))
        seeds.append(units)
    return verdict(seeds, 5)


OWN = {"faster_training": faster_training, "higher_accuracy": higher_accuracy, "robust_to_init": robust_to_init}


def of_the_project(slug: str, results: Results) -> str:
    [claim] = [each for each in operating_points.CLAIMS if each.slug == slug]
    return claim.judge(results).verdict


@pytest.mark.parametrize("slug", OWN)
def test_the_committed_verdicts_are_those_of_the_raw_rows(slug: str) -> None:
    folder = store.REPOSITORY / "results"
    metrics, runs = (rows_of(folder / "tables", name) for name in ("operating_points", "operating_points.runs"))
    if metrics is None or runs is None:
        pytest.skip("results/tables has no operating_points.csv: the map has not been run in full")
    raw = Raw(metrics, [row for row in runs if row["arm"] in ("none", "batch")])
    assert OWN[slug](raw) == of_the_project(slug, Results(folder))


def wobble(*of: float) -> float:
    """Between −1 and 1, without a pattern."""
    return math.sin(sum((place + 1) * 12.9898 * value for place, value in enumerate(of)) * 43758.5453)


def world(gain: float, speed: float, width: float, turned: bool = False) -> mapped.Cell:
    """Networks that train from some scales and up to some rates, with BN from wider ones, and differ by seed.

    ``turned``: at large rates BN is as much worse as it is better at small ones.
    """

    def cell(arm: str, scale: float, rate: float, seed: int) -> Run:
        treated = arm == "batch"
        off = abs(math.log10(scale) + 1) + 0.15 * wobble(scale, rate, seed, treated)
        trains = off < (width if treated else 0.9) and rate < (40 if treated else 12)
        sign = (-1 if turned and rate > 0.5 else 1) if treated else 0
        end = 0.955 + sign * gain + 0.01 * wobble(seed, rate, scale, treated) if trains else 0.3
        half = 40 / rate**0.25 * speed**sign * 2 ** wobble(rate, scale, seed, treated)
        return Run(lambda step: 0.1 + (end - 0.1) * (1 - 2.0 ** (-step / half)),
                   diverged_at=700 if rate > 80 and not treated else None)  # fmt: skip

    return cell


WORLDS = {"for it": world(0.02, 0.1, 2.5), "a little": world(0.004, 0.7, 1.6), "against": world(-0.02, 8.0, 0.7),
          "both": world(0.02, 0.1, 1.2, turned=True)}  # fmt: skip


def test_the_verdicts_on_made_up_maps_are_those_of_the_raw_rows(tmp_path: Path) -> None:
    seen = set()
    for name, cell in WORLDS.items():
        made = mapped.tables(cell)
        made.metrics.to_csv(tmp_path / "m.csv", index=False)
        made.runs.to_csv(tmp_path / "r.csv", index=False)
        metrics, runs = rows_of(tmp_path, "m"), rows_of(tmp_path, "r")
        assert metrics is not None
        assert runs is not None
        raw = Raw(metrics, runs)
        assert len(raw.both()) >= 10, name
        found = {slug: own(raw) for slug, own in OWN.items()}
        assert found == {slug: of_the_project(slug, mapped.results(made)) for slug in OWN}, name
        seen |= set(found.values())
    assert {"supported", "contradicted", "depends", "inconclusive"} <= seen  # else little was compared
