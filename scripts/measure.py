"""Make one exact measurement and print its table: python scripts/measure.py measurement=scale_invariance"""

from __future__ import annotations

import sys

from bnrepro.errors import UserError, door


def main() -> None:
    arguments = sys.argv[1:]

    from bnrepro.config.compose import Composer, measurements

    names = measurements()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{__doc__}\n\nmeasurements: {', '.join(names)}")
        print("Any further KEY=VALUE overrides the measurement's settings or the profile.")
        return
    chosen = [text.removeprefix("measurement=") for text in arguments if text.startswith("measurement=")]
    if len(chosen) != 1:
        raise UserError(f"name one measurement: measurement={'|'.join(names)}")
    rest = [text for text in arguments if not text.startswith("measurement=")]

    from rich.console import Console

    from bnrepro.measurements import base

    with Composer() as composer:
        planned = base.plan(composer, chosen[0], rest)
    status = base.execute(planned)
    _, files = planned.folder.read()
    table = files[f"{planned.name}.csv"].decode()
    Console().print(table, highlight=False, markup=False, soft_wrap=True)
    print(f"{status}: {planned.folder.path}")


if __name__ == "__main__":
    door(main)
