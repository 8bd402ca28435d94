"""Rewrite claims.json, REPORT.md and the README's table from the committed tables, without torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from bnrepro import store
from bnrepro.errors import door


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="a folder with tables/")
    parser.add_argument("--treatment", default="batch", help="the normaliser that the tables compare with none")
    given = parser.parse_args()

    from rich.console import Console

    from bnrepro.report import judge, markdown
    from bnrepro.tables import Results

    judge.print_verdicts(markdown.write_report(Results(given.results, given.treatment)), Console())


if __name__ == "__main__":
    door(main)
