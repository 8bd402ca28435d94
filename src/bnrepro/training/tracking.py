"""Weights & Biases as a view of the runs. It can show less than happened; it can never stop or change a training."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from bnrepro import store
from bnrepro.config.identity import arm_label, scientific
from bnrepro.config.schema import Config
from bnrepro.probes import Observation

log = logging.getLogger(__name__)
PROJECT = "batch-normalization-reproduction"
INIT_TIMEOUT_S = 10


class Tracker:
    """One W&B run: group = experiment, job type = arm, tag = profile, name = arm and seed, id = run key.

    ``continues`` says that an earlier part of the same run has been tracked: what follows is appended to it. Every
    fault ends the view, not the run.
    """

    def __init__(self, config: Config, key: str, continues: bool = False) -> None:
        self._run: Any = None
        if config.wandb != "disabled":
            self._run = self._start(config, key, continues)

    def evaluation(self, step: int, values: dict[str, float]) -> None:
        """Losses and accuracies, many keys in one call."""
        self._guard(lambda run: run.log({"step": step, **values}))

    def observation(self, step: int, seen: Observation) -> None:
        """Histograms and percentiles of the activations."""
        if not seen.histograms and not seen.values:
            return

        def send(run: Any) -> None:
            import wandb

            shown = {
                f"activations/{name}": wandb.Histogram(np_histogram=histogram)
                for name, histogram in seen.histograms.items()
            }
            run.log({"step": step, **seen.values, **shown})

        self._guard(send)

    def finish(self, status: str, last_step: int) -> None:
        def end(run: Any) -> None:
            run.summary.update({"status": status, "last_step": last_step})
            run.finish()

        self._guard(end)
        self._run = None

    # ------------------------------------------------------------------------------------------------------------

    def _start(self, config: Config, key: str, continues: bool) -> Any:
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            import wandb

            modes = ["online", "offline"] if config.wandb == "online" else ["offline"]
            for mode in modes:
                try:
                    return self._init(wandb, config, key, mode, continues)
                except Exception as error:
                    # init blocks without a network and then raises; the run goes on with the next best view.
                    log.warning("W&B %s could not start (%s)", mode, _first_line(error))
        except Exception as error:
            log.warning("W&B is not usable (%s); training goes on without it", _first_line(error))
        return None

    @staticmethod
    def _init(wandb: Any, config: Config, key: str, mode: str, continues: bool) -> Any:
        folder = store.outputs_folder()
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=config.experiment,
            job_type=arm_label(config),
            tags=[config.profile],
            name=f"{arm_label(config)}-s{config.seed}",
            id=key,
            # Offline it is a note to `wandb sync`, which otherwise puts each part in the place of the one before.
            resume="allow" if mode == "online" or continues else None,
            config=scientific(config),
            dir=str(folder),
            mode=mode,
            settings=wandb.Settings(
                init_timeout=INIT_TIMEOUT_S, console="off", x_disable_stats=True, x_disable_meta=True, silent=True
            ),
        )
        # A step of our own: a resumed run repeats the steps since its checkpoint, W&B's counter only grows.
        run.define_metric("step", hidden=True)
        run.define_metric("*", step_metric="step")
        return run

    def _guard(self, action: Callable[[Any], None]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            log.warning("W&B stopped answering (%s); training goes on without it", _first_line(error))
            self._run = None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
