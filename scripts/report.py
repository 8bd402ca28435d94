"""Rewrite claims.json, REPORT.md and the README's table from the committed tables, without torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from bnrepro import store
from bnrepro.claims import Results
from bnrepro.errors import UserError
from bnrepro.report import judge, markdown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--treatment", default="batch", help="the normaliser that the tables put against none")
    given = parser.parse_args()
    try:
        judge.print_verdicts(markdown.write_report(Results(given.results, given.treatment)), Console())
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
