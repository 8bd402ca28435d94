"""Send the offline runs to W&B and save the workspaces that show them; --terminal shows them here, with no account."""

from __future__ import annotations

import argparse
import json
import os
import sys

from bnrepro.errors import UserError
from bnrepro.report import dashboard
from bnrepro.training.tracking import PROJECT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entity", help="the W&B user or team; by default the account's own")
    parser.add_argument("--project", default=os.environ.get("WANDB_PROJECT", PROJECT))
    parser.add_argument("--profile", default="quick", choices=["smoke", "quick", "full"], help="whose runs are shown")
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--terminal", action="store_true", help="open the runs in the terminal, and send nothing")
    doing.add_argument("--dry-run", action="store_true", help="print the workspaces as JSON, and send nothing")
    given = parser.parse_args()
    try:
        if given.terminal:
            return dashboard.terminal()
        if given.dry_run:
            built = dashboard.workspaces(given.entity or "", given.project, given.profile)
            print(json.dumps(dashboard.described(built), indent=1))
            return 0
        dashboard.require_login()
        entity = given.entity or dashboard.default_entity()
        done = dashboard.sync(entity, given.project)
        print(f"runs: {len(done.sent)} sent, {len(done.earlier)} sent earlier, {len(done.unfinished)} not finished yet")
        for workspace in dashboard.workspaces(entity, given.project, given.profile):
            print(f"{workspace.name}: {dashboard.save(workspace)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
