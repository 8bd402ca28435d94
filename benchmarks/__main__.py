"""Measure every claim about speed, print one table and write outputs/benchmark.json. Called by `make bench`.

A missed bound is shown, and is no failure: the exit code is 1 only if a row could not be measured. Let nothing else use
the machine meanwhile; the line below the table shows how busy it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import ROWS, runner
from bnrepro import store
from bnrepro.errors import Interrupted, door


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"Rows: {', '.join(ROWS)}.", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", help="only these (default: all)")
    parser.add_argument("--rounds", type=_positive, default=5, help="more rounds give more stable medians (default: 5)")
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes: shows that it works, not how fast"
    )
    parser.add_argument("--out", type=Path, help="the JSON file (default: outputs/benchmark.json)")
    given = parser.parse_args()
    out = given.out or store.outputs_folder() / "benchmark.json"
    console = Console() if sys.stdout.isatty() else Console(width=130)
    try:
        found = runner.measure(runner.chosen(given.rows), given.rounds, given.quick, console)
        console.print(runner.table(found), runner.footer(found), sep="\n", highlight=False)
        runner.write(found, out)
    except KeyboardInterrupt:
        raise Interrupted("\nstopped") from None
    sys.exit(int(any(result.failed for result in found.results)))


if __name__ == "__main__":
    door(main)
