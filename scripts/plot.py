"""Draw the curves of finished runs over each other: python scripts/plot.py RUN [RUN ...]; no claim is needed."""

from __future__ import annotations

import argparse
from pathlib import Path

from bnrepro.errors import door


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, or the beginning of its name or key")
    parser.add_argument("--out", type=Path, help="the figure: .png, .svg or .pdf (default: a place that is printed)")
    given = parser.parse_args()

    from bnrepro import store
    from bnrepro.report import curves

    print(curves.draw([store.found_run(text) for text in given.runs], given.out))


if __name__ == "__main__":
    door(main)
