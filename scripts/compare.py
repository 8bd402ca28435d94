"""Compare the verdicts on several normalisers, in a table that the report prints. Called by `make compare`."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments, store

    found = arguments.Parser(description=__doc__)
    found.add_argument("treatments", nargs="+", type=arguments.name,
                       help="normalisers that `make reproduce TREATMENT=…` has run")  # fmt: skip
    found.add_argument("--profile", default="quick", choices=arguments.PROFILES)
    found.add_argument("--results", type=arguments.results, default=store.committed_results(),
                       help="where the table goes")  # fmt: skip
    return found


def main() -> None:
    given = parser().parse_args()

    from rich.console import Console

    from bnrepro import store
    from bnrepro.errors import ConfigError
    from bnrepro.report import comparison

    folders = {name: store.results_folder(given.profile, name) for name in dict.fromkeys(["batch", *given.treatments])}
    if missing := [name for name, folder in folders.items() if not (folder / "claims.json").exists()]:
        raise ConfigError(
            f"no {given.profile} results of {', '.join(missing)}: "
            + " and ".join(f"make reproduce PROFILE={given.profile} TREATMENT={name}" for name in missing)
        )
    print(comparison.write(given.results, given.profile, folders))
    frame = comparison.read(given.results)
    assert frame is not None
    comparison.print_side_by_side(frame, Console())


if __name__ == "__main__":
    door(main)
