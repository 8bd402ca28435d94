"""A user's own folder of groups, as data: Hydra's ``hydra.searchpath`` would read the path by its grammar.

The plugin of ``hydra_plugins`` puts :data:`folder` before the project's own groups, as Hydra's ``--config-dir`` does.
"""

from __future__ import annotations

from pathlib import Path

folder: Path | None = None
