"""Restore finished runs and measurements from the committed tables; `make reproduce` then trains only the others."""

from __future__ import annotations

import argparse
from pathlib import Path

from bnrepro import store
from bnrepro.errors import door


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--profile", default="full", choices=["smoke", "quick", "full"])
    given = parser.parse_args()

    from rich.console import Console

    from bnrepro.pipeline import restore

    restore.restore_all(given.results, given.profile, Console())


if __name__ == "__main__":
    door(main)
