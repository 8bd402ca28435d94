"""Make one exact measurement and print what it says of its claims: scripts/measure.py measurement=scale_invariance"""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments, store

    found = arguments.Parser(
        description=__doc__,
        epilog=f"measurements: {', '.join(store.choices('measurement'))}. "
        "Any further KEY=VALUE overrides the measurement's settings or the profile.",
    )
    found.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="measurement=NAME, then its settings")
    return found


def chosen(overrides: list[str]) -> tuple[str, list[str]]:
    """The measurement that ``overrides`` name, and the others. Raises :class:`ConfigError` unless it is exactly one."""
    from bnrepro import arguments, store
    from bnrepro.errors import ConfigError

    known = store.choices("measurement")
    names = [text.removeprefix("measurement=") for text in overrides if text.startswith("measurement=")]
    if len(names) != 1:
        raise ConfigError(f"name one measurement: measurement={'|'.join(known)}")
    if names[0] not in known:
        raise ConfigError(f"no measurement {names[0]!r}: {arguments.near(names[0], known)}")
    return names[0], [text for text in overrides if not text.startswith("measurement=")]


def main() -> None:
    import sys

    if len(sys.argv) == 1:
        parser().print_help()
        return
    name, rest = chosen(parser().parse_args().overrides)

    from rich.console import Console

    from bnrepro.config.compose import Composer
    from bnrepro.measurements import base
    from bnrepro.pipeline import again

    with Composer() as composer:
        planned = base.plan(composer, name, rest)
    status = base.execute(planned)
    _, files = planned.folder.read()
    console = Console()
    again.print_measured(planned, console)
    console.print(files[f"{planned.name}.csv"].decode(), highlight=False, markup=False, soft_wrap=True)
    print(f"{status}: {planned.folder.path}")


if __name__ == "__main__":
    door(main)
