"""Redraw the figures from the committed tables, in seconds and without torch."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments, store

    found = arguments.Parser(description=__doc__)
    found.add_argument("experiments", nargs="*", type=arguments.name, help="only these (default: all)")
    found.add_argument("--results", type=arguments.results, default=store.committed_results(),
                       help="a folder with tables/")  # fmt: skip
    found.add_argument("--treatment", default="batch", help="the normaliser that the tables compare with none")
    found.add_argument("--config-dir", help="a folder with claims of your own, which draw figures of their own")
    found.add_argument("--compare", action="store_true",
                       help="write nothing: say which figures differ from the tables'")  # fmt: skip
    return found


def main() -> None:
    given = parser().parse_args()

    from bnrepro import arguments

    treatment = arguments.treatment(given.treatment, results=given.results)
    own = arguments.own_claims(given.config_dir, given.results)

    from bnrepro.errors import StoreError
    from bnrepro.report import drawing
    from bnrepro.tables import Results

    results = Results(given.results, treatment, own)
    if given.compare:
        if found := drawing.differences(results, given.experiments):
            listed = "\n".join(f"  {name} {how}" for name, how in found.items())
            raise StoreError(
                f"{given.results / 'figures'} is not what its tables give, within {drawing.TOLERANCE:g} of 255 grey "
                f"levels; `make figures` redraws it:\n{listed}"
            )
        print(f"{given.results / 'figures'}: as the tables give it")
        return
    drawn = drawing.draw(results, given.experiments)
    for path in drawn:
        print(path)
    if given.experiments and not drawn:
        raise StoreError(f"{given.results / 'tables'} has nothing to draw of {', '.join(given.experiments)}")


if __name__ == "__main__":
    door(main)
