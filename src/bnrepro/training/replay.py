"""Finished runs on Weights & Biases, from their tables: the runs of a fleet, and those of a sweep that nobody watches.

One thread shows them one after another, with one service of W&B for all, while others train. It can miss a run; it can
never delay or change a training.
"""

from __future__ import annotations

import csv
import io
import logging
import queue
import threading
from typing import Any, Protocol

from bnrepro.config.schema import Config
from bnrepro.probes import Observation
from bnrepro.probes.activations import observed
from bnrepro.store import RunFolder
from bnrepro.training import tracking

log = logging.getLogger(__name__)


class Finished(Protocol):
    """A finished run, with the label that names it on W&B."""

    @property
    def config(self) -> Config: ...
    @property
    def key(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def folder(self) -> RunFolder: ...


class Views:
    """A context in which finished runs are shown. It waits for the last ones at its end, as long as W&B answers."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Finished | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._left = threading.Event()
        self._done = 0

    def show(self, run: Finished) -> None:
        """Show ``run`` as soon as those before it are shown, unless W&B is disabled for it."""
        if tracking.mode_of(run.config.wandb) == "disabled" or tracking.Tracker.hangs:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._show_all, name=tracking.THREAD, daemon=True)
            self._thread.start()
        self._waiting.put(run)

    def __enter__(self) -> Views:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread is None:
            return
        self._waiting.put(None)
        seen = -1
        while self._thread.is_alive() and self._done > seen and not exception[0]:
            seen = self._done
            self._thread.join(tracking.FINISH_TIMEOUT_S)
        if self._thread.is_alive():
            if not exception[0]:
                log.warning("W&B does not answer; the runs end without it")
            self._left.set()
            tracking.abandon()

    # --------------------------------------------------------------------------------------- in the thread

    def _show_all(self) -> None:
        logging.raiseExceptions = False  # W&B's own log on a full disk is no message for the user
        for finished in iter(self._waiting.get, None):
            if self._left.is_set():
                break
            try:
                self._show(finished)
            except Exception as error:
                self._warn("W&B does not show %s (%s)", finished.folder.name, tracking.first_line(error))
            self._done += 1
        tracking.end_service()

    def _show(self, finished: Finished) -> None:
        record, files = finished.folder.read()
        tables = {name.removesuffix(".csv"): text.decode() for name, text in files.items() if name.endswith(".csv")}
        mode = tracking.mode_of(finished.config.wandb)
        arguments = tracking.arguments_of(finished.config, finished.key, finished.label)
        run = tracking.begin(mode, arguments, False, self._warn)
        if run is None:
            return
        for step, values in _logged(tables).items():
            run.log({"step": step, **values})
        run.summary.update({"status": record.status, "last_step": record.last_step})
        run.finish()

    def _warn(self, text: str, *values: str) -> None:
        if not self._left.is_set():
            log.warning(text, *values)


def _logged(tables: dict[str, str]) -> dict[int, dict[str, Any]]:
    """What a live view would have shown, by step."""
    found: dict[int, dict[str, Any]] = {}
    for row in csv.DictReader(io.StringIO(tables["metrics"])):
        found.setdefault(int(row["step"]), {})[f"{row['split']}/{row['metric']}"] = float(row["value"])
    for step, seen in observed(tables).items():
        found.setdefault(step, {}).update(_shown(seen))
    return dict(sorted(found.items()))


def _shown(seen: Observation) -> dict[str, Any]:
    return {**seen.values, **tracking.histograms(seen)}
