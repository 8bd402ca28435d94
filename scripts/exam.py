"""Put the verdicts of several treatments side by side, as the report's table: run `make exam`, which trains first."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from bnrepro import store
from bnrepro.errors import ConfigError, UserError
from bnrepro.report import comparison


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("treatments", nargs="+", help="normalisers that make reproduce TREATMENT=… has examined")
    parser.add_argument("--profile", default="quick", choices=["smoke", "quick", "full"])
    parser.add_argument("--results", type=Path, default=store.committed_results(), help="where tables/exam.csv goes")
    given = parser.parse_args()
    folders = {name: store.results_folder(given.profile, name) for name in dict.fromkeys(["batch", *given.treatments])}
    try:
        for name, folder in folders.items():
            if not (folder / "claims.json").exists():
                raise ConfigError(f"{folder} has no verdicts: make reproduce PROFILE={given.profile} TREATMENT={name}")
        comparison.write(given.results, given.profile, folders)
        frame = comparison.read(given.results)
        assert frame is not None
        comparison.print_side_by_side(frame, Console())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
