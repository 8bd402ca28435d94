"""Weights & Biases as a view of the runs. The view can miss events; it can never delay or change a training.

A queue carries everything to show to a thread of its own: W&B starts while the first steps run, and the training waits
for none of its calls. Its service starts and ends with every view: what happens to it can reach no other run, nor the
end of the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bnrepro import store
from bnrepro.config.identity import arm_label, scientific
from bnrepro.config.schema import Config
from bnrepro.probes import Observation

log = logging.getLogger(__name__)
PROJECT = "batch-normalization-reproduction"
THREAD = "view"
INIT_TIMEOUT_S = 10
FINISH_TIMEOUT_S = 4.5
"""How long a finished run waits for its view, started or not; its tables are on disk by then."""
LET_GO_S = 0.5
"""How long it then takes at most to leave a view that does not answer."""
QUIET = {"offline": "offline", "dryrun": "offline", "disabled": "disabled"}
"""Values of $WANDB_MODE that ask for less than online."""

Action = Callable[[Any], None]
"""A call on the W&B run."""


class Tracker:
    """One W&B run: group = experiment, job type = arm, tag = profile, name = arm and seed, id = run key.

    An error ends the view, never the run. A tracker that was not started shows nothing.
    """

    hangs = False
    """Whether a view of this process did not answer: the other runs of a sweep would wait as long for theirs."""

    def __init__(self) -> None:
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._left = threading.Event()  # the view did not answer, and has nothing to say any more

    def start(self, config: Config, key: str, label: str, continues: bool = False) -> None:
        """Start the view of a run, unless its configuration, $WANDB_MODE or $WANDB_DISABLED disables it.

        ``label`` is the arm with what the sweep varies. ``continues`` says that an earlier part of the same run was
        tracked; W&B then appends to it.
        """
        mode = mode_of(config.wandb)
        if mode == "disabled" or Tracker.hangs:
            return
        arguments = arguments_of(config, key, label)
        logging.raiseExceptions = False  # W&B's own log on a full disk is no message for the user
        self._thread = threading.Thread(target=self._show, args=(mode, arguments, continues), name=THREAD, daemon=True)
        self._thread.start()

    def evaluation(self, step: int, values: dict[str, float]) -> None:
        """Show losses and accuracies, many keys in one call."""
        self._put(lambda run: run.log({"step": step, **values}))

    def observation(self, step: int, seen: Observation) -> None:
        """Show histograms and percentiles of the activations."""
        if seen.histograms or seen.values:
            self._put(lambda run: run.log({"step": step, **seen.values, **histograms(seen)}))

    def ended(self, status: str, last_step: int) -> None:
        """Show how the training ended."""
        self._put(lambda run: run.summary.update({"status": status, "last_step": last_step}))

    def finish(self) -> None:
        """Close the view, or abandon it if W&B does not answer in time."""
        if self._thread is None:
            return
        self._put(lambda run: run.finish())
        self._actions.put(None)
        self._thread.join(FINISH_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("W&B does not answer; the run ends without it")
            self._left.set()
            abandon()
        self._thread = None

    def _put(self, action: Action) -> None:
        if self._thread is not None:
            self._actions.put(action)

    # --------------------------------------------------------------------------------------- in the thread

    def _show(self, mode: str, arguments: dict[str, Any], continues: bool) -> None:
        run = begin(mode, arguments, continues, self._warn)
        for action in iter(self._actions.get, None):
            if run is None:
                continue
            try:
                action(run)
            except Exception as error:
                self._warn("W&B stopped answering (%s); the run continues without it", first_line(error))
                run = None
        end_service()

    def _warn(self, text: str, *values: str) -> None:
        if not self._left.is_set():
            log.warning(text, *values)


def begin(wanted: str, arguments: dict[str, Any], continues: bool, warn: Callable[..., None]) -> Any:
    """The W&B run, or None if none can start.

    Without a network, ``init`` blocks and then raises; the view then falls back to an offline run.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    _keep_cache(Path(arguments["dir"]))
    try:
        import wandb
    except Exception as error:
        warn("W&B is not usable (%s); the run continues without it", first_line(error))
        return None
    for mode in ("online", "offline") if wanted == "online" else ("offline",):
        # Offline, `resume` tells `wandb sync` to append; otherwise each part of a run would replace the one before.
        resume = "allow" if mode == "online" or continues else None
        settings = wandb.Settings(
            init_timeout=INIT_TIMEOUT_S, console="off", x_disable_stats=True, x_disable_meta=True, silent=True,
            x_save_requirements=False,  # a list of all packages, for which each run would read all of their metadata
        )  # fmt: skip
        try:
            run = wandb.init(**arguments, mode=mode, resume=resume, settings=settings)
            # Our own step: a resumed run repeats the steps since its checkpoint, but W&B's counter only grows.
            run.define_metric("step", hidden=True)
            run.define_metric("*", step_metric="step")
            return run
        except Exception as error:
            warn("W&B %s could not start (%s)", mode, first_line(error))
    return None


def abandon() -> None:
    """Leave a view that does not answer, and all later ones of this process."""
    Tracker.hangs = True
    # The first thing that this does is to cancel what W&B would wait for at the end of the process.
    let_go = threading.Thread(target=end_service, daemon=True)
    let_go.start()
    let_go.join(LET_GO_S)


def mode_of(configured: str) -> str:
    """The mode of the view: what the configuration and W&B's own variables both allow."""
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on"):
        return "disabled"
    asked = QUIET.get(os.environ.get("WANDB_MODE", "").lower(), "online")
    return min(configured, asked, key=("disabled", "offline", "online").index)


def _keep_cache(folder: Path) -> None:
    """Give W&B a cache below ``folder`` if there is no home to write to: its service would print its log instead."""
    home = os.environ.get("HOME", "")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache"), "wandb")
    with contextlib.suppress(OSError):
        if "WANDB_CACHE_DIR" in os.environ:
            return
        if home:
            usual.mkdir(parents=True, exist_ok=True)
            if os.access(usual, os.W_OK):
                return
    os.environ["WANDB_CACHE_DIR"] = str(folder / "wandb" / "cache")


def end_service() -> None:
    """End W&B's service of this process, if it has one; its answer may be an error, or none."""
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        with contextlib.suppress(Exception, SystemExit):
            wandb.teardown()


def arguments_of(config: Config, key: str, label: str) -> dict[str, Any]:
    return {
        "project": os.environ.get("WANDB_PROJECT", PROJECT),
        "group": config.experiment,
        "job_type": arm_label(config),
        "tags": [config.profile],
        "name": f"{label}-s{config.seed}",
        "id": key,
        "config": scientific(config),
        "dir": str(store.outputs_folder()),
    }


def histograms(seen: Observation) -> dict[str, Any]:
    import wandb

    return {
        f"activations/{name}": wandb.Histogram(np_histogram=histogram) for name, histogram in seen.histograms.items()
    }


def first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
