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
    parser.add_argument(
        "--compare", action="store_true", help="write nothing: say which figures differ from the tables'"
    )
    given = parser.parse_args()

    from bnrepro.errors import StoreError
    from bnrepro.report import drawing
    from bnrepro.tables import Results

    results = Results(given.results, given.treatment)
    if given.compare:
        if found := drawing.differences(results, given.experiments):
            listed = "\n".join(f"  {name} {how}" for name, how in found.items())
            raise StoreError(
                f"{given.results / 'figures'} is not what its tables give, within {drawing.TOLERANCE:g} of 255 grey "
                f"levels; `make figures` redraws it:\n{listed}"
            )
        print(f"{given.results / 'figures'}: as the tables give it")
        return
    for path in drawing.draw(results, given.experiments):
        print(path)


if __name__ == "__main__":
    door(main)
