"""Open the page in the browser: the map, and every claim with its figure. Without a display, print where it is."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments

    found = arguments.Parser(description=__doc__)
    found.add_argument("--results", type=arguments.results, help="a folder with tables/ (default: the page that was "
                       "written last, by make reproduce or make report)")  # fmt: skip
    return found


def main() -> None:
    given = parser().parse_args()

    from bnrepro.report import showing

    showing.show(showing.page_in(given.results) if given.results else showing.newest())


if __name__ == "__main__":
    door(main)
