"""Reproduce the claims: train what is missing, then write tables, figures, report. Called by `make reproduce`."""

from __future__ import annotations

import argparse

from bnrepro.errors import door


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="quick", choices=["smoke", "quick", "full"])
    parser.add_argument("--treatment", default="batch", help="compared with none; a name in configs/norm")
    parser.add_argument("--config-dir", help="a folder with groups of your own, e.g. norm/mine.yaml")
    parser.add_argument("--experiments", default="", help="only these, comma-separated: names in configs/experiment "
                        "and configs/measurement")  # fmt: skip
    parser.add_argument("--jobs", type=int, help="parallel processes (default: one per core)")
    parser.add_argument("--no-train", action="store_true", help="tables and report of the existing runs")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every run, e.g. wandb=disabled")
    given = parser.parse_args()

    from rich.console import Console

    from bnrepro.pipeline.plan import Request
    from bnrepro.pipeline.reproduce import reproduce

    request = Request(
        profile=given.profile,
        treatment=given.treatment,
        only=tuple(name for name in given.experiments.split(",") if name),
        overrides=tuple(given.overrides),
        config_dir=given.config_dir,
        jobs=given.jobs,
        train=not given.no_train,
    )
    reproduce(request, Console())


if __name__ == "__main__":
    door(main)
