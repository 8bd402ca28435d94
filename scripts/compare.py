"""Put the claims to several normalisers, side by side: one table, one figure, one text. Called by `make compare`."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments

    found = arguments.Parser(description=__doc__)
    found.add_argument("--treatments", type=arguments.several(arguments.name), default=(),
                       help="names in configs/norm, comma-separated (default: all that are compared)")  # fmt: skip
    found.add_argument("--profile", default="exam", choices=arguments.COMPARED)
    found.add_argument("--config-dir", help="a folder with groups of your own, e.g. norm/mine.yaml")
    found.add_argument("--jobs", type=arguments.count, help="parallel processes (default: one per core)")
    found.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                       help="where to train (default: auto, a CUDA card if there is one)")  # fmt: skip
    found.add_argument("--no-train", action="store_true", help="table and figure of the existing runs")
    found.add_argument("overrides", nargs="*", type=arguments.override(("profile", "treatment", "experiment", "norm")),
                       help="Hydra overrides for every run, e.g. wandb=disabled")  # fmt: skip
    return found


def main() -> None:
    given = parser().parse_args()

    from pathlib import Path

    from bnrepro import arguments

    own = Path(given.config_dir) if given.config_dir else None
    treatments = tuple(arguments.treatment(each, own, option="--treatments") for each in given.treatments)

    from rich.console import Console

    from bnrepro.pipeline.compare import ALL, Comparison, compare

    asked = Comparison(
        treatments=treatments or ALL,
        profile=given.profile,
        overrides=tuple(given.overrides),
        config_dir=given.config_dir,
        jobs=given.jobs,
        train=not given.no_train,
        device=given.device,
    )
    compare(asked, Console())


if __name__ == "__main__":
    door(main)
