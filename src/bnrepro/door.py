"""Where every script enters and leaves: one line and an exit code for whatever ends it, at any moment.

A script imports this first and everything else inside its ``main``, so that Ctrl-C is caught from its first lines on.
So this module imports only what the interpreter has loaded itself.
"""

from __future__ import annotations

import io
import os
import sys

from bnrepro.errors import Interrupted, UserError

TYPE_CHECKING = False  # as typing's, which takes longer to import than all that is here
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any, NoReturn

STOPPED = "stopped; the same call goes on from here"
_asked: list[int] = []
"""The signals that asked this process to stop; a library may have turned their exception into another one."""


def door(main: Callable[[], None]) -> NoReturn:
    """Run a script's ``main`` and end the process.

    The exit code is 0; 2 for what the user can mend; 130 for Ctrl-C and SIGTERM; 1 for an unexpected exception, whose
    traceback is kept in a file. A character that the terminal's encoding lacks is replaced; a reader that closes the
    pipe ends the script quietly.
    """
    try:
        _listen()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        main()
        sys.stdout.flush()
    except BaseException as error:
        leave(error)
    leave(SystemExit(0))


def leave(error: BaseException) -> NoReturn:
    """Say in one line what ends the script, unless another process does, and end with its exit code.

    Called where a library would catch the exception, or add to it, before it reaches the door.
    """
    _end_at_once()
    if logging := sys.modules.get("logging"):
        logging.disable()  # some libraries log at the interpreter's end
    if isinstance(error, SystemExit) and not (_asked and error.code in (0, 1)):
        raise error
    if isinstance(error, BrokenPipeError):
        # What is left in the buffer must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if isinstance(error, KeyboardInterrupt) or (_asked and not isinstance(error, Interrupted)):
        error = Interrupted(STOPPED)
    if not isinstance(error, UserError):
        print(f"error: {_unexpected(error)}", file=sys.stderr, flush=True)
        sys.exit(1)
    stopped = isinstance(error, Interrupted)
    if not error.told:
        print(error if stopped else f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(130 if stopped else 2)


# ------------------------------------------------------------------------------------------------ being stopped


def stop_if_asked() -> None:
    """Raise ``KeyboardInterrupt`` if a signal has asked for it, and a library's import or callback has swallowed it.

    Long work calls this between its parts.
    """
    if _asked:
        raise KeyboardInterrupt


def _listen() -> None:
    """From here on Ctrl-C and SIGTERM raise KeyboardInterrupt, and are remembered."""
    import signal

    _asked.clear()

    def stop(number: int, frame: Any) -> None:
        _asked.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a shell's background
        signal.signal(signal.SIGINT, stop)
    # A process that torchrun started may wait for the others inside a library, where no handler of Python's runs.
    if "LOCAL_RANK" not in os.environ:
        signal.signal(signal.SIGTERM, stop)
    sys.unraisablehook = _unraisable


def _end_at_once() -> None:
    """What is left is the interpreter's own end: a further Ctrl-C need not wait for it."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            signal.signal(number, lambda *_: os._exit(130))


def _unraisable(found: Any) -> None:
    """A KeyboardInterrupt inside a destructor or a callback of the interpreter reaches no ``except``."""
    if found.exc_type is KeyboardInterrupt:
        print(STOPPED, file=sys.stderr, flush=True)
        os._exit(130)
    else:
        sys.__unraisablehook__(found)


# --------------------------------------------------------------------------------------------------- unexpected


def _unexpected(error: BaseException) -> str:
    """One line on an exception that nobody expected: what it is, and the file that holds its traceback."""
    import traceback

    text = "".join(traceback.format_exception(error))
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    kept = _kept(f"{sys.orig_argv}\n\n{text}")
    return f"{said} (unexpected; its traceback is in {kept})" if kept else f"{said} (unexpected)\n{text}"


def _kept(text: str) -> Path | None:
    """The file that now holds ``text``: in the outputs folder or else the folder of temporary files."""
    import tempfile
    import time
    from pathlib import Path

    from bnrepro import store
    from bnrepro.errors import StoreError

    script = Path(sys.argv[0]).stem
    name = f"{script}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (store.outputs_folder() / "errors", Path(tempfile.gettempdir())):
        try:
            store.write_atomic(folder / name, text)
        except StoreError:
            continue
        return folder / name
    return None
