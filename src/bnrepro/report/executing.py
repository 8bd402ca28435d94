"""The committed notebooks, executed in place: their outputs are those of the committed tables and this code."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from bnrepro import store
from bnrepro.errors import UserError

FOLDER = store.REPOSITORY / "notebooks"
TIMEOUT_S = 120
"""For one cell, and for the start of the process."""


def publish(path: Path) -> bool:
    """Execute a notebook on the committed results and write it back with its outputs. Returns whether it changed.

    On one machine, with the pinned versions, the bytes depend on the notebook, the tables and the code alone. Raises
    :class:`UserError`, with nothing written, for a cell that fails.
    """
    with kernel(store.committed_results()) as manager:
        try:
            notebook = executed(manager, path)
        except CellExecutionError as error:
            raise UserError(f"{path.name} is left as it is, a cell fails: {error.ename}: {error.evalue}") from error
    written = (nbformat.writes(notebook) + "\n").encode()
    if path.read_bytes() == written:
        return False
    store.write_atomic(path, written)
    return True


@contextlib.contextmanager
def kernel(results: Path) -> Iterator[KernelManager]:
    """A process of this interpreter, on one thread, that reads ``results`` and leaves no file behind."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        own = dict.fromkeys(("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"), folder)
        # Without folders to look in, "python3" is this interpreter, whatever kernel of that name a user has installed.
        here = KernelSpecManager(kernel_dirs=[])
        file = str(Path(folder) / "kernel.json")
        manager = KernelManager(kernel_spec_manager=here, connection_file=file, transport="ipc")
        manager.start_kernel(cwd=str(FOLDER), env={**os.environ, **own, **threads, "BNREPRO_RESULTS": str(results)})
        try:
            yield manager
        finally:
            manager.shutdown_kernel(now=True)


def executed(manager: KernelManager, path: Path, before: Sequence[str] = (), after: Sequence[str] = ()) -> NotebookNode:
    """The notebook with the outputs of its cells, numbered from 1; nothing in it tells when it was executed.

    Further cells may be run before and after it; they are no part of what is returned. Raises
    :class:`~nbclient.exceptions.CellExecutionError` for the first cell that fails.
    """
    notebook = nbformat.read(path, as_version=4)
    own, metadata = list(notebook.cells), notebook.metadata.copy()
    first, last = ([nbformat.v4.new_code_cell(source) for source in sources] for sources in (before, after))
    notebook.cells = [*first, *own, *last]
    client = NotebookClient(
        notebook, manager, timeout=TIMEOUT_S, startup_timeout=TIMEOUT_S, record_timing=False, coalesce_streams=True
    )
    client.execute()
    notebook.cells, notebook.metadata = own, metadata
    for number, cell in enumerate((cell for cell in own if cell.cell_type == "code"), 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    return notebook
