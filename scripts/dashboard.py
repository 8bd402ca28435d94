"""Send the offline runs to W&B and save the workspaces that show them; --terminal shows them here, with no account."""

from __future__ import annotations

from bnrepro.door import door


def parser():
    import os

    from bnrepro import arguments

    found = arguments.Parser(description=__doc__)
    found.add_argument("--entity", help="the W&B user or team (default: the account's own)")
    found.add_argument("--project", default=os.environ.get("WANDB_PROJECT"), help="(default: this repository's own)")
    found.add_argument("--profile", default="quick", choices=arguments.PROFILES, help="whose runs to show")
    doing = found.add_mutually_exclusive_group()
    doing.add_argument("--terminal", action="store_true", help="show the runs in the terminal; send nothing")
    doing.add_argument("--dry-run", action="store_true", help="print the workspaces as JSON; send nothing")
    return found


def main() -> None:
    given = parser().parse_args()

    import json
    import sys

    from bnrepro.report import dashboard, workspaces
    from bnrepro.training.tracking import PROJECT

    project = given.project or PROJECT
    if given.terminal:
        sys.exit(dashboard.terminal())
    if given.dry_run:
        built = workspaces.build(given.entity or "", project, given.profile)
        print(json.dumps(workspaces.described(built), indent=1))
        return
    dashboard.require_login()
    entity = given.entity or dashboard.default_entity()
    done = dashboard.sync(entity, project)
    print(f"runs: {len(done.sent)} sent, {len(done.earlier)} sent earlier, {len(done.unfinished)} not finished yet")
    for workspace in workspaces.build(entity, project, given.profile):
        print(f"{workspace.name}: {dashboard.save(workspace)}")


if __name__ == "__main__":
    door(main)
