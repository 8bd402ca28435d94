"""Reproduce the claims: train what is missing, then write tables, figures, report. Called by `make reproduce`."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    from bnrepro import arguments

    found = arguments.Parser(description=__doc__)
    found.add_argument("--profile", default="quick", choices=arguments.PROFILES)
    found.add_argument("--treatment", default="batch", help="compared with none; a name in configs/norm")
    found.add_argument("--config-dir", help="a folder of your own: norm, arm, data, experiment, claims")
    found.add_argument("--experiments", type=arguments.several(arguments.name), default=(),
                       help="only these, comma-separated: in configs/experiment and configs/measurement")  # fmt: skip
    found.add_argument("--jobs", type=arguments.count, help="parallel processes (default: one per core)")
    found.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                       help="where to train (default: auto, a CUDA card if there is one)")  # fmt: skip
    found.add_argument("--plan", action="store_true", help="print which engine trains every run and why; train nothing")
    found.add_argument("--no-train", action="store_true", help="tables and report of the existing runs")
    found.add_argument("overrides", nargs="*", type=arguments.override(("profile", "treatment", "experiment")),
                       help="Hydra overrides for every run, e.g. wandb=disabled")  # fmt: skip
    return found


def main() -> None:
    given = parser().parse_args()

    from pathlib import Path

    from bnrepro import arguments

    treatment = arguments.treatment(given.treatment, Path(given.config_dir) if given.config_dir else None)

    from rich.console import Console

    from bnrepro.pipeline.engines import print_engines
    from bnrepro.pipeline.plan import Request
    from bnrepro.pipeline.reproduce import reproduce

    request = Request(
        profile=given.profile,
        treatment=treatment,
        only=given.experiments,
        overrides=tuple(given.overrides),
        config_dir=given.config_dir,
        jobs=given.jobs,
        train=not given.no_train,
        device=given.device,
    )
    if given.plan:
        print_engines(request, Console())
    else:
        reproduce(request, Console())


if __name__ == "__main__":
    door(main)
