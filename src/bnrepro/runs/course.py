"""What accompanies a sweep: further runs, other work for its processes, and someone who hears how runs end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bnrepro.runs.planned import Planned


@dataclass(frozen=True)
class Chore:
    """Work besides training that one of the processes of a sweep does: ``call`` must be picklable.

    ``seconds`` is roughly how long it takes; 0 if that is not worth saying.
    """

    name: str
    call: Callable[[], Any]
    seconds: float = 0.0


class Course:
    """Accompanies a sweep, in its parent process. This one adds nothing; subclasses say what they add.

    Methods are called between two events of the workers, and may take some seconds: workers go on meanwhile.
    """

    def more(self, wait: bool = False) -> Sequence[Planned] | None:
        """Further runs that are known by now, after those of the sweep; called after each event of the workers.

        None says that there will be no more. With ``wait``, returns when there are some, or none to come.
        """
        return None

    def ready(self) -> Sequence[Chore]:
        """Chores to be done next, before any further run; each is given once."""
        return ()

    def seconds_after(self) -> float:
        """Roughly how long goes on what comes after the sweep, for the time left."""
        return 0.0

    def ended(self, run: Planned) -> None:
        """Hears of a run that has ended in any way but for lack of memory."""

    def made(self, chore: Chore, result: Any) -> None:
        """Hears of a chore that has ended, with its result or its :class:`~bnrepro.errors.UserError`."""
