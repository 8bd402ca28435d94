"""The notebooks run from the first cell to the last, without a warning, and are committed without outputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
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


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., NotebookNode]:
    """``execute(path, "assert ...")``: the notebook run on one thread by this interpreter, the code added at its end.

    Raises ``CellExecutionError`` for the first cell that fails. The kernel keeps its files in the test's folder.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")

    def executed(path: Path, *last: str) -> NotebookNode:
        notebook = nbformat.read(path, as_version=4)
        own = f"import sys\nassert sys.executable == {sys.executable!r}"
        notebook.cells += [nbformat.v4.new_code_cell(source) for source in (own, *last)]
        NotebookClient(
            notebook,
            timeout=TIMEOUT_S,
            startup_timeout=TIMEOUT_S,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOKS)}},
        ).execute()
        return notebook

    return executed


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


def test_batchnorm_from_scratch(execute: Callable[..., NotebookNode]) -> None:
    notebook = execute(LEARN)
    assert printed(notebook, "stderr") == ""
    assert pictures(notebook) >= 8


def test_explore_results_without_torch(execute: Callable[..., NotebookNode], results: Path) -> None:
    notebook = execute(EXPLORE, "assert 'torch' not in sys.modules")
    assert printed(notebook, "stderr") == ""
    assert "UCI digits, binary" in printed(notebook)
    assert "make reproduce` makes it" not in printed(notebook)
    assert pictures(notebook) >= 3


def test_explore_results_goes_on_without_the_tables_it_can_spare(
    execute: Callable[..., NotebookNode], results: Path
) -> None:
    (results / "claims.json").unlink()
    for path in (results / "tables").glob("mnist_training.activations.csv*"):
        path.unlink()
    notebook = execute(EXPLORE)
    assert "has no mnist_training.activations: `make reproduce` makes it" in printed(notebook)
    assert "has no claims.json: `make reproduce` makes it" in printed(notebook)


def test_explore_results_says_how_to_make_a_missing_table(execute: Callable[..., NotebookNode]) -> None:
    with pytest.raises(CellExecutionError, match=r"no table of mnist_training. `make reproduce`"):
        execute(EXPLORE)
