"""Make one exact measurement and print its table: python scripts/measure.py measurement=scale_invariance."""

from __future__ import annotations

import sys

from rich.console import Console

from bnrepro.config.compose import Composer
from bnrepro.errors import UserError
from bnrepro.measurements import base


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        names = ", ".join(base.measurements())
        print(f"{__doc__}\n\nmeasurements: {names}\nfurther KEY=VALUE override a measurement's settings and profile.")
        return 0
    chosen = [text.removeprefix("measurement=") for text in arguments if text.startswith("measurement=")]
    try:
        if len(chosen) != 1:
            raise UserError(f"name one measurement: measurement={'|'.join(base.measurements())}")
        rest = [text for text in arguments if not text.startswith("measurement=")]
        with Composer() as composer:
            planned = base.plan(composer, chosen[0], rest)
        status = base.execute(planned)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = planned.folder.read()[f"{planned.name}.csv"].decode()
    Console().print(table, highlight=False, markup=False, soft_wrap=True)
    print(f"{status}: {planned.folder.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
