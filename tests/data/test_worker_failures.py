"""However the processes that read images fail, the user gets one line with the way forward."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bnrepro import data
from bnrepro.data import worker_failures
from bnrepro.errors import UserError


class Failing:
    """A loader with one process that fails with ``error``."""

    def __init__(self, error: Exception, workers: int = 1) -> None:
        self.error, self.num_workers = error, workers

    def __iter__(self) -> Iterator[None]:
        raise self.error
        yield


IN_A_PROCESS = "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback …\nRuntimeError: "


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that"), "Bus error"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "exited unexpectedly"),
        (RuntimeError(IN_A_PROCESS + "unable to write to file </torch_7_8>: No space left on device (28)"), "No space"),
        (RuntimeError(IN_A_PROCESS + "unable to open shared memory object </x> in read-write mode"), "shared memory"),
        (
            RuntimeError("Caught ConnectionResetError in pin memory thread for device 0.\nreset by peer"),
            "reset by peer",
        ),
        (ConnectionRefusedError(111, "Connection refused"), "a process .* ended .*Connection refused"),
        (EOFError(), "a process .* ended .*EOFError"),
    ],
)
def test_however_processes_that_read_fail_it_is_one_message(error: Exception, reason: str) -> None:
    with pytest.raises(UserError, match=f"data.workers=1: .*{reason}.*or set data.workers=0") as caught:
        list(worker_failures.from_workers(Failing(error)))  # pyright: ignore
    assert "\n" not in str(caught.value)
    with pytest.raises(type(error)):
        list(worker_failures.from_workers(Failing(error, workers=0)))  # pyright: ignore


def test_a_fault_of_our_own_in_such_a_process_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="Original Traceback"):
        list(worker_failures.from_workers(Failing(RuntimeError(IN_A_PROCESS + "a bug"))))  # pyright: ignore
    with pytest.raises(RuntimeError, match="a bug"), data.explained(1):
        raise RuntimeError("a bug")
