"""Redraw the figures from the committed tables, in seconds and without torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from bnrepro import store
from bnrepro.errors import door


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", help="only these (default: all)")
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--treatment", default="batch", help="the normaliser that the tables compare with none")
    given = parser.parse_args()

    from bnrepro.report import drawing
    from bnrepro.tables import Results

    for path in drawing.draw(Results(given.results, given.treatment), given.experiments):
        print(path)


if __name__ == "__main__":
    door(main)
