"""Train 200 steps of a committed run per experiment and normaliser again, and compare each number with its table.

With --claim, everything that one claim needs is run again for one seed, to its end, and its number printed beside the
committed ones.
"""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments, store

    found = arguments.Parser(description=__doc__)
    found.add_argument("--results", type=arguments.results, default=store.committed_results(),
                       help="a folder with tables/")  # fmt: skip
    what = found.add_mutually_exclusive_group()
    what.add_argument("--experiments",
                      type=arguments.several(arguments.one_of("sweep", lambda: store.choices("experiment"))),
                      help="only these, comma-separated (default: all that have a table)")  # fmt: skip
    what.add_argument("--claim", type=arguments.name, metavar="SLUG", help="a claim, as its heading in the report")
    found.add_argument("--seed", type=arguments.seed, metavar="N", help="with --claim (default: the first)")
    found.add_argument("--jobs", type=arguments.count, help="with --claim, parallel processes")
    return found


def main() -> None:
    import sys

    found = parser()
    given = found.parse_args()
    if given.claim is None and (given.seed is not None or given.jobs is not None):
        found.error("--seed and --jobs go with --claim SLUG")

    from rich.console import Console

    from bnrepro.pipeline import again, verify

    if given.claim is not None:
        sys.exit(again.claim_again(given.claim, given.seed, given.results, given.jobs, Console()))
    sys.exit(verify.verify_all(given.results, given.experiments, Console()))


if __name__ == "__main__":
    door(main)
