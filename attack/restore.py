"""What `make restore` does for the experiments and values that are asked for, from the tables of another folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from bnrepro.door import door


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--profile")
    parser.add_argument("--experiments")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()

    from rich.console import Console

    from bnrepro import tables
    from bnrepro.config.compose import Composer
    from bnrepro.pipeline.plan import Plan, Request
    from bnrepro.pipeline.restore import restore_measurement, restore_runs

    held = tables.Results(given.results)
    held.check()
    only = tuple(given.experiments.split(","))
    with Composer() as composer:
        plan = Plan(composer, Request(given.profile, only=only, overrides=tuple(given.overrides)), Console())
        for name, planned in plan.runs.items():
            print(name, restore_runs(name, planned, held))
        for name in plan.measurements:
            print(name, restore_measurement(plan.measurement(name, with_networks=False), held))


if __name__ == "__main__":
    door(main)
