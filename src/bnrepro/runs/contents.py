"""What a run leaves in its folder, whichever engine trained it; and how it goes on from what it left."""

from __future__ import annotations

import io
import logging
import time

import torch
from omegaconf import OmegaConf

from bnrepro.config.identity import arm_label, scientific
from bnrepro.errors import StoreError
from bnrepro.runs import provenance
from bnrepro.runs.planned import Planned
from bnrepro.store import Files, RunFolder, RunRecord
from bnrepro.store.folders import CheckpointDamaged
from bnrepro.training import checkpoint
from bnrepro.training.state import METRICS_HEADER, RunState

log = logging.getLogger(__name__)
WEIGHTS = "weights.pt"


def record(planned: Planned, state: RunState) -> RunRecord:
    config, progress = planned.config, state.progress
    return RunRecord(
        run=planned.folder.name,
        key=planned.key,
        experiment=config.experiment,
        arm=arm_label(config),
        seed=config.seed,
        status=progress.status,
        last_step=progress.last_step,
        data=state.data_label,
        fingerprint=state.identity["data"],
        config=scientific(config),
        versions=provenance.versions(),
        machine=provenance.machine(config.device),
        seconds=round(progress.seconds, 3),
        finished=round(time.time(), 3),
        unreadable=tuple(progress.unreadable),
    )


def files(planned: Planned, state: RunState) -> Files:
    """The tables, the configuration, and the weights if ``keep_weights``."""
    config, progress = planned.config, state.progress
    if progress.unreadable:
        log.warning("%s: skipped %d unreadable images", planned.folder.name, len(progress.unreadable))
    headers = {"metrics": METRICS_HEADER}
    for probe in state.probes:
        headers |= probe.headers
    found: dict[str, str | bytes] = {
        f"{name}.csv": "\n".join([headers[name], *lines, ""]) for name, lines in progress.tables.items()
    }
    if config.keep_weights and progress.status == "finished":
        buffer = io.BytesIO()
        torch.save(state.model.state_dict(), buffer)
        found[WEIGHTS] = buffer.getvalue()
    found["config.yaml"] = OmegaConf.to_yaml(OmegaConf.structured(config))
    return found


def checkpoint_of(folder: RunFolder) -> bytes | None:
    """The last checkpoint. One that is damaged is discarded, with a warning: only an unfinished run is lost."""
    try:
        return folder.read_checkpoint()
    except CheckpointDamaged as error:
        log.warning("%s: %s; this run starts over", folder.name, error)
        folder.checkpoint.unlink(missing_ok=True)
        return None


def resumed(state: checkpoint.Resumable, folder: RunFolder, payload: bytes, tells: bool = True) -> bool:
    """Whether ``state`` continues from a checkpoint. One that does not fit is set aside; ``state`` is then spoilt."""
    try:
        checkpoint.restore(state, payload)
    except StoreError as error:
        if tells:
            aside = folder.set_checkpoint_aside()
            log.warning("%s: %s; it is now %s, and this run starts over", folder.name, error, aside.name)
        return False
    if tells:
        log.info("%s: continues at step %d", folder.name, state.progress.step)
    return True
