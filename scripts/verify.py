"""Train 200 steps of one committed run per experiment again, and compare every number with the committed table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bnrepro import store
from bnrepro.config.compose import experiments
from bnrepro.errors import DataUnavailable, UserError
from bnrepro.pipeline.verify import verify


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--experiments", help="only these, by comma (default: all that have a table)")
    given = parser.parse_args()
    tabulated = [name for name in experiments() if store.find_table(given.results / "tables", name)]
    names = given.experiments.split(",") if given.experiments else tabulated
    table = Table("experiment", "run", "numbers compared", "equal to the digit", "largest relative error")
    failed, missing = False, []
    try:
        for name in names:
            try:
                found = verify(name, given.results)
            except DataUnavailable as error:
                missing.append(f"{name} is not compared: {error}")
                continue
            failed |= not found.agrees
            table.add_row(name, found.run, str(found.compared), str(found.equal), f"{found.worst:.1e}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console().print(table)
    if failed:
        print("the committed tables are not what this code produces: raise CODE_EPOCH and run anew", file=sys.stderr)
    print(*missing, sep="\n", end="\n" if missing else "", file=sys.stderr)
    return 2 if missing and not failed else int(failed)


if __name__ == "__main__":
    sys.exit(main())
