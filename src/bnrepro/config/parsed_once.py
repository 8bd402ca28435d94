"""Configuration files that are parsed once for many configurations.

Hydra parses every file anew whenever it composes; of a command that composes a hundred times this is a third of the
work. Its cache of one composition (``hydra._internal``, whose version ``pyproject.toml`` bounds) is kept for all.
"""

from __future__ import annotations

import copy
from typing import Any

from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult


def parse_files_once() -> None:
    """From now on Hydra, as it is initialised now, reads each of its files once."""
    loader: Any = GlobalHydra.instance().config_loader()
    loader.repository = _Repository(loader.repository)


class _Repository(CachingConfigRepository):
    """Files as they were when they were read first. Each caller gets a copy of its own: Hydra changes what it gets."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(super().load_config(config_path))

    def initialize_sources(self, config_search_path: Any) -> None:
        self.cache = {}  # in other folders there are other files
        super().initialize_sources(config_search_path)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Repository:
        other = _Repository(self.delegate)
        other.cache = self.cache
        return other
