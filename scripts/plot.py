"""Draw the curves of finished runs over each other: python scripts/plot.py RUN [RUN ...]; no claim is needed."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments

    found = arguments.Parser(description=__doc__)
    found.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, or the beginning of its name or key")
    found.add_argument("--out", type=arguments.new_file,
                       help="the figure: .png, .svg or .pdf (default: a place that is printed)")  # fmt: skip
    return found


def main() -> None:
    given = parser().parse_args()

    from bnrepro import store
    from bnrepro.report import curves

    print(curves.draw([store.found_run(text) for text in given.runs], given.out))


if __name__ == "__main__":
    door(main)
