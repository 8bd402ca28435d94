"""Train 200 steps of one committed run per experiment again, and compare every number with the committed table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bnrepro import store
from bnrepro.errors import door


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--experiments", help="only these, comma-separated (default: all that have a table)")
    given = parser.parse_args()

    from rich.console import Console

    from bnrepro.pipeline import verify

    sys.exit(verify.verify_all(given.results, given.experiments.split(",") if given.experiments else None, Console()))


if __name__ == "__main__":
    door(main)
