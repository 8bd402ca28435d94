"""Measure every claim about speed, print one table and write outputs/benchmark.json. Called by `make bench`.

A missed bound is shown, and is no failure: the exit code is 1 only if a row could not be measured. Let nothing else use
the machine meanwhile; the line below the table shows how busy it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnrepro.door import door

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.runner import Benchmark


def parser():
    import argparse

    from benchmarks.registry import ROWS
    from bnrepro import arguments

    found = arguments.Parser(
        description=__doc__, epilog=f"Rows: {', '.join(ROWS)}.", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("rows", nargs="*", type=arguments.one_of("row", lambda: ROWS), help="only these (default: all)")
    found.add_argument(
        "--rounds", type=arguments.count, default=5, help="more rounds give more stable medians (default: 5)"
    )
    found.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes: shows that it works, not how fast"
    )
    found.add_argument("--engines", action="store_true", help="write the fleets' ratios into the table of engines")
    found.add_argument("--out", type=arguments.new_file, help="the JSON file (default: outputs/benchmark.json)")
    return found


def main() -> None:
    import sys

    given = parser().parse_args()

    from rich.console import Console

    from benchmarks import runner
    from bnrepro import store

    out = given.out or store.outputs_folder() / "benchmark.json"
    console = Console() if sys.stdout.isatty() else Console(width=130)
    found = runner.measure(runner.chosen(given.rows), given.rounds, given.quick, console)
    console.print(runner.table(found), runner.footer(found), sep="\n", highlight=False)
    runner.write(found, out)
    if given.engines:
        _write_engines(found, console)
    sys.exit(int(any(result.failed for result in found.results)))


def _write_engines(found: Benchmark, console: Console) -> None:
    from benchmarks import fleet
    from bnrepro.runs import engines, provenance

    measured = [each for result in found.results for each in result.measured]
    device = "cuda" if any(each.details.get("device") == "cuda" for each in measured) else "cpu"
    hardware = str(provenance.machine(device)["hardware"])
    for line in fleet.write_engines(measured, hardware, engines.TABLE):
        console.print(line, highlight=False)


if __name__ == "__main__":
    door(main)
