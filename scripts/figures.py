"""Redraw the figures from the committed tables, in seconds and without torch."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments, store

    found = arguments.Parser(description=__doc__)
    found.add_argument("experiments", nargs="*", type=arguments.one_of("experiment", arguments.experiments),
                       help="only these (default: all)")  # fmt: skip
    found.add_argument("--results", type=arguments.results, default=store.committed_results(),
                       help="a folder with tables/")  # fmt: skip
    found.add_argument("--treatment", default="batch", help="the normaliser that the tables compare with none")
    return found


def main() -> None:
    given = parser().parse_args()

    from bnrepro import arguments

    treatment = arguments.treatment(given.treatment, results=given.results)

    from bnrepro.report import drawing
    from bnrepro.tables import Results

    for path in drawing.draw(Results(given.results, treatment), given.experiments):
        print(path)


if __name__ == "__main__":
    door(main)
