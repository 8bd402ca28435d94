"""A plan in a thread of its own: while experiments are composed and data decoded, the first runs are trained."""

from __future__ import annotations

import queue
import threading

from bnrepro.pipeline.plan import Plan
from bnrepro.runs.planned import Planned


class Ahead:
    """Plans the experiments that ``plan`` has left, one after another, from now on.

    Until it has ``ended``, nobody else may use the plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self.ended = plan, False
        self._queue: queue.SimpleQueue[tuple[str, list[Planned]] | BaseException | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="plan", daemon=True).start()

    def found(self, wait: bool = False) -> list[tuple[str, list[Planned]]]:
        """The experiments planned since the last call, each with its runs.

        With ``wait``, at least one, unless it has ``ended``. Raises what planning raised.
        """
        added: list[tuple[str, list[Planned]]] = []
        while not self.ended and (wait or not self._queue.empty()):
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self.ended = True
            else:
                added.append(item)
            wait = False
        return added

    def _work(self) -> None:
        try:
            while (planned := self._plan.next()) is not None:
                self._queue.put(planned)
            self._queue.put(None)
        except BaseException as error:  # raised where the plan is used
            self._queue.put(error)
