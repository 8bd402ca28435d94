"""The notebooks run from the first cell to the last, without a warning, and are committed without outputs."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from fabricated import vouch
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.report import markdown
from bnrepro.runs import run
from bnrepro.tables import Results

NOTEBOOKS = store.REPOSITORY / "notebooks"
LEARN, EXPLORE = NOTEBOOKS / "batchnorm_from_scratch.ipynb", NOTEBOOKS / "explore_results.ipynb"
TIMEOUT_S = 120


Execute = Callable[..., NotebookNode]


@contextlib.contextmanager
def kernel(folder: Path) -> Iterator[KernelManager]:
    """A process of this interpreter, on one thread, that keeps its files in ``folder``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(name, "1")
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder))
        patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(NOTEBOOKS))
        try:
            yield manager
        finally:
            manager.shutdown_kernel(now=True)


def executed(manager: KernelManager, path: Path, *last: str) -> NotebookNode:
    """The notebook run in that process, as if it had just started, the code ``last`` added at its end.

    Raises ``CellExecutionError`` for the first cell that fails.
    """
    notebook = nbformat.read(path, as_version=4)
    results = os.environ["BNREPRO_RESULTS"]
    first = f"%reset -f\nimport os\nos.environ['BNREPRO_RESULTS'] = {results!r}\ndel os"
    own = f"import sys\nassert sys.executable == {sys.executable!r}"
    cells = [nbformat.v4.new_code_cell(source) for source in (first, own, *last)]
    notebook.cells = [cells[0], *notebook.cells, *cells[1:]]
    NotebookClient(notebook, manager, timeout=TIMEOUT_S, startup_timeout=TIMEOUT_S).execute()
    return notebook


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Execute]:
    """``explorer("assert ...")``: the notebook on the results, in one process for all tests: its start and its imports
    take the longest."""
    with kernel(tmp_path_factory.mktemp("jupyter")) as manager:
        yield functools.partial(executed, manager, EXPLORE)


@pytest.fixture
def results(sweep: Callable[..., list[Config]]) -> Path:
    """The results folder that BNREPRO_RESULTS names: tables and claims.json of two small runs on digits."""
    planned = [run.plan(config) for config in sweep("experiment=mnist_training", "norm=none,batch", "seed=0")]
    for item in planned:
        run.execute(item)
    folder = store.results_folder("full")
    assert folder == Path(os.environ["BNREPRO_RESULTS"]) != store.committed_results()
    tables.write_experiment("mnist_training", [item.folder for item in planned], folder)
    markdown.write_report(Results(folder))
    return folder


def printed(notebook: NotebookNode, stream: str = "stdout") -> str:
    return "".join(
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == stream
    )


def pictures(notebook: NotebookNode) -> int:
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in data for data in shown)


@pytest.mark.parametrize("path", [LEARN, EXPLORE], ids=lambda path: path.stem)
def test_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell in notebook.cells:
        assert cell.metadata == {}, cell.id
        if cell.cell_type == "code":
            assert cell.outputs == [], cell.id
            assert cell.execution_count is None, cell.id


def test_batchnorm_from_scratch(tmp_path: Path) -> None:
    with kernel(tmp_path) as manager:
        notebook = executed(manager, LEARN)
    assert printed(notebook, "stderr") == ""
    assert pictures(notebook) >= 8


def test_explore_results_without_torch(explorer: Execute, results: Path) -> None:
    notebook = explorer("assert 'torch' not in sys.modules")
    assert printed(notebook, "stderr") == ""
    assert "UCI digits, binary" in printed(notebook)
    assert "make reproduce` makes it" not in printed(notebook)
    assert pictures(notebook) >= 3


def test_explore_results_goes_on_without_the_tables_it_can_spare(explorer: Execute, results: Path) -> None:
    (results / "claims.json").unlink()
    for path in (results / "tables").glob("mnist_training.activations.csv*"):
        path.unlink()
    vouch(results)
    notebook = explorer()
    assert "has no mnist_training.activations: `make reproduce` makes it" in printed(notebook)
    assert "has no claims.json: `make reproduce` makes it" in printed(notebook)


def test_explore_results_says_how_to_make_a_missing_table(explorer: Execute) -> None:
    with pytest.raises(CellExecutionError, match=r"no table of mnist_training. `make reproduce`"):
        explorer()
