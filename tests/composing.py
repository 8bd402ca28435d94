"""Hydra's ``compose`` for the tests, which ask for the same files hundreds of times: they are read once."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bnrepro import store
from bnrepro.config import own_groups
from bnrepro.config.compose import parse

SET = re.compile(r"(?!hydra\.)([\w.]+)=")
"""An override that neither adds nor deletes, of a key of the project's own or of a group."""


def composing_once(hydras: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """The same as ``hydras``, with what the chosen groups make of this repository's files kept.

    On a copy of that, values are set as Hydra sets them, one after another. All that is added, deleted or refused, and
    a user's own groups, are left to Hydra.
    """
    groups = {path.name for path in store.configs_folder().iterdir() if path.is_dir()}
    made: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}

    def kept(name: str, chosen: Sequence[str], with_hydra: bool) -> DictConfig:
        if (name, *chosen) not in made:
            whole = hydras(name, list(chosen), return_hydra_config=True)
            own = copy.deepcopy(whole)
            with open_dict(own):
                del own["hydra"]
            made[name, *chosen] = whole, own
        whole, own = made[name, *chosen]
        return copy.deepcopy(whole if with_hydra else own)

    def composed(name: str, overrides: Sequence[str] = (), return_hydra_config: bool = False) -> DictConfig:
        if own_groups.folder is not None:
            return hydras(name, list(overrides), return_hydra_config=return_hydra_config)
        chosen, values = [], []
        for text in overrides:
            found = SET.match(text)
            if found is None:
                return hydras(name, list(overrides), return_hydra_config=return_hydra_config)
            (chosen if found[1] in groups else values).append(text)
        config = kept(name, chosen, return_hydra_config)
        try:
            for text in values:
                OmegaConf.update(config, text.partition("=")[0], parse(text).value(), merge=True)
        except OmegaConfBaseException:
            return hydras(name, list(overrides), return_hydra_config=return_hydra_config)
        return config

    return composed
