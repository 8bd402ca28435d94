"""Restore finished runs and measurements from the committed tables; `make reproduce` then trains only the others."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments, store

    found = arguments.Parser(description=__doc__)
    found.add_argument("--results", type=arguments.results, default=store.committed_results(),
                       help="a folder with tables/")  # fmt: skip
    found.add_argument("--profile", default="full", choices=arguments.PROFILES)
    return found


def main() -> None:
    given = parser().parse_args()

    from rich.console import Console

    from bnrepro.pipeline import restore

    restore.restore_all(given.results, given.profile, Console())


if __name__ == "__main__":
    door(main)
