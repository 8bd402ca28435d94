"""Rewrite claims.json, REPORT.md, the page and the README's table from the committed tables, without torch."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments, store

    found = arguments.Parser(description=__doc__)
    found.add_argument("--results", type=arguments.results, default=store.committed_results(),
                       help="a folder with tables/")  # fmt: skip
    found.add_argument("--treatment", default="batch", help="the normaliser that the tables compare with none")
    found.add_argument("--config-dir", help="a folder with claims of your own")
    return found


def main() -> None:
    given = parser().parse_args()

    from bnrepro import arguments

    treatment = arguments.treatment(given.treatment, results=given.results)
    own = arguments.own_claims(given.config_dir, given.results)

    from rich.console import Console

    from bnrepro.report import judge, markdown
    from bnrepro.tables import Results

    profile = arguments.profile_of(given.results)
    judge.print_verdicts(markdown.write_report(Results(given.results, treatment, own), profile), Console())


if __name__ == "__main__":
    door(main)
