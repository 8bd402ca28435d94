"""Bring finished runs back from the committed tables: a later `make reproduce PROFILE=full` trains only the others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from bnrepro import store
from bnrepro.config.compose import Composer, experiments
from bnrepro.errors import UserError
from bnrepro.pipeline import restore
from bnrepro.pipeline.reproduce import Request, planned_runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--profile", default="full", choices=["smoke", "quick", "full"])
    given = parser.parse_args()
    try:
        with Composer() as composer:
            runs, _ = planned_runs(composer, experiments(), Request(given.profile), Console())
            for name, planned in runs.items():
                count = restore.restore(name, planned, given.results)
                print(f"{name}: {count} of {len(planned)} runs restored")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
