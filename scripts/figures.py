"""Redraw the figures from the committed tables, in seconds and without torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bnrepro import store
from bnrepro.claims import EXPERIMENTS, Results
from bnrepro.errors import UserError
from bnrepro.report import markdown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", choices=[*EXPERIMENTS, []], help="only these (default: all)")
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--treatment", default="batch", help="the normaliser that the tables put against none")
    given = parser.parse_args()
    try:
        for path in markdown.draw(Results(given.results, given.treatment), tuple(given.experiments)):
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
