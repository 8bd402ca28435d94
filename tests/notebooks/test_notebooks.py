"""The notebooks run from the first cell to the last, without a warning, and give the outputs that are committed."""

from __future__ import annotations

import base64
import contextlib
import os
import re
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
from bnrepro.errors import StoreError, UserError
from bnrepro.report import drawing, executing, markdown, notebook
from bnrepro.runs import run
from bnrepro.store import paths
from bnrepro.tables import Results

LEARN, EXPLORE = (executing.FOLDER / f"{name}.ipynb" for name in ("batchnorm_from_scratch", "explore_results"))
LARGEST_BYTES = 800_000
ROUNDING_ERROR = re.compile(r"\b\d\.\de-(?:0[6-9]|1\d)\b")
"""A printed rounding error: its digits depend on the kind of CPU."""

Execute = Callable[..., NotebookNode]


@pytest.fixture(scope="module")
def process() -> Iterator[KernelManager]:
    """One process for all tests that need no torch: its start and its imports take the longest."""
    with executing.kernel(store.committed_results()) as manager:
        yield manager


@pytest.fixture
def explorer(process: KernelManager) -> Execute:
    """``explorer("assert ...")``: the notebook on the test's own results, with a last cell, as if its process had just
    started."""
    return lambda *last: executed(process, EXPLORE, Path(os.environ["BNREPRO_RESULTS"]), *last)


def executed(manager: KernelManager, path: Path, results: Path, *last: str) -> NotebookNode:
    first = f"%reset -f\nimport os\nos.environ['BNREPRO_RESULTS'] = {str(results)!r}\ndel os"
    own = f"import sys\nassert sys.executable == {sys.executable!r}"
    return executing.executed(manager, path, before=[first], after=[own, *last])


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
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == stream
    )


def pictures(notebook: NotebookNode) -> list[bytes]:
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]


def words(notebook: NotebookNode) -> dict[str, list[tuple[str, str]]]:
    """What each code cell shows, as (kind, text); of a picture, that it is one."""
    found = {}
    for cell in notebook.cells:
        shown = []
        for output in cell.get("outputs", []):
            texts = {output.name: output.text} if output.output_type == "stream" else output.data
            shown += [
                (kind, "" if kind == "image/png" else ROUNDING_ERROR.sub("0", text)) for kind, text in texts.items()
            ]
        found[cell.id] = sorted(shown)
    return found


def differences(committed: NotebookNode, again: NotebookNode, folder: Path) -> list[str]:
    """The cells whose words differ, and the numbers of the pictures that differ by more than on another CPU."""
    before, after = words(committed), words(again)
    found = [name for name in before | after if before.get(name) != after.get(name)]
    for number, pair in enumerate(zip(pictures(committed), pictures(again), strict=not found)):
        files = [folder / f"{number}-{which}.png" for which in ("committed", "again")]
        for file, png in zip(files, pair, strict=True):
            file.write_bytes(png)
        if drawing.difference(*files):
            found.append(f"picture {number}")
    return found


@pytest.mark.parametrize("path", [LEARN, EXPLORE], ids=lambda path: path.stem)
def test_what_is_committed_tells_nothing_of_when_and_where_it_was_made(path: Path) -> None:
    committed = nbformat.read(path, as_version=4)
    nbformat.validate(committed)
    assert path.stat().st_size < LARGEST_BYTES
    assert committed.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    ids = [cell.id for cell in committed.cells]
    assert len(set(ids)) == len(ids)
    assert all(cell.metadata == {} for cell in committed.cells)
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for kind, text in (shown for cell in words(committed).values() for shown in cell):
        assert kind != "stderr"
        assert not re.search(r"0x[0-9a-f]{6,}|(?<![\w<])/\w+/\w+", text), text  # an address of memory, a path


@pytest.mark.parametrize("path", [LEARN, EXPLORE], ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_idea(path: Path) -> None:
    title, idea, code, *_ = nbformat.read(path, as_version=4).cells
    assert title.source.startswith("# ")
    assert idea.source.startswith("## 1. ")
    assert code.cell_type == "code"
    assert code.outputs


def test_batchnorm_from_scratch_gives_the_committed_outputs(tmp_path: Path) -> None:
    with executing.kernel(store.committed_results()) as manager:
        again = executed(manager, LEARN, store.committed_results())
    assert differences(nbformat.read(LEARN, as_version=4), again, tmp_path) == [], "`make notebooks` makes them again"
    assert len(pictures(again)) >= 8


def test_explore_results_gives_the_committed_outputs_without_torch(process: KernelManager, tmp_path: Path) -> None:
    again = executed(process, EXPLORE, store.committed_results(), "assert 'torch' not in sys.modules")
    assert differences(nbformat.read(EXPLORE, as_version=4), again, tmp_path) == [], "`make notebooks` makes them again"
    assert len(pictures(again)) >= 3


def test_a_changed_word_or_picture_is_a_difference(tmp_path: Path) -> None:
    committed, changed = (nbformat.read(LEARN, as_version=4) for _ in range(2))
    assert differences(committed, changed, tmp_path) == []
    cells = {cell.id: cell for cell in changed.cells}
    cells["bessel-code"].outputs[0].text = cells["bessel-code"].outputs[0].text.replace("1.0171", "1.0172")
    drawn = [cells[name].outputs[0].data for name in ("batch-code", "trap-whole-code")]
    drawn[0]["image/png"], drawn[1]["image/png"] = drawn[1]["image/png"], drawn[0]["image/png"]
    assert differences(committed, changed, tmp_path) == ["bessel-code", "picture 0", "picture 7"]
    cells["scale-train-code"].outputs = []
    assert "scale-train-code" in differences(committed, changed, tmp_path)


def test_a_notebook_is_executed_in_place(
    process: KernelManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(executing, "kernel", lambda results: contextlib.nullcontext(process))
    path = tmp_path / "small.ipynb"
    cells = [nbformat.v4.new_markdown_cell("# Title"), *map(nbformat.v4.new_code_cell, ("x = 2", "print('a')\nx + 1"))]
    written = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    path.write_text(nbformat.writes(written), encoding="utf-8")
    assert executing.publish(path)
    made = nbformat.read(path, as_version=4)
    assert made.metadata == written.metadata
    assert [cell.get("execution_count") for cell in made.cells] == [None, 1, 2]
    assert printed(made) == "a\n"
    assert made.cells[2].outputs[1].data == {"text/plain": "3"}
    assert made.cells[2].outputs[1].execution_count == 2
    assert not executing.publish(path)

    made.cells[1].source = "x = y"
    nbformat.write(made, path)
    content = path.read_bytes()
    with pytest.raises(UserError, match=r"^small\.ipynb is left as it is, a cell fails: NameError: name 'y' is not"):
        executing.publish(path)
    assert path.read_bytes() == content


def test_explore_results_on_other_results(explorer: Execute, results: Path) -> None:
    (results / "claims.json").unlink()
    for path in (results / "tables").glob("mnist_training.activations.csv*"):
        path.unlink()
    vouch(results)
    again = explorer()
    assert printed(again, "stderr") == ""
    assert "UCI digits, binary" in printed(again)
    assert "has no mnist_training.activations: `make reproduce` makes it" in printed(again)
    assert "has no claims.json: `make reproduce` makes it" in printed(again)


def test_explore_results_says_how_to_make_a_missing_table(explorer: Execute) -> None:
    with pytest.raises(CellExecutionError, match=r"no table of mnist_training. `make reproduce`"):
        explorer()


def test_without_committed_results_those_among_the_outputs_are_explored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "committed_results", lambda: tmp_path / "committed")
    for folder in ("quick-digits", "smoke"):
        (outputs / folder / "tables").mkdir(parents=True)
        (outputs / folder / "tables" / "mnist_training.csv").touch()
    with pytest.raises(StoreError, match="no table of mnist_training"):  # BNREPRO_RESULTS names a folder: no other
        notebook.results_with("mnist_training")
    monkeypatch.delenv("BNREPRO_RESULTS")
    assert notebook.results_with("mnist_training") == outputs / "quick-digits"
    assert capsys.readouterr().out.endswith("what follows is from outputs/quick-digits\n")


@pytest.mark.parametrize("path", [LEARN, EXPLORE], ids=lambda path: path.stem)
def test_every_exercise_has_an_answer_that_holds(path: Path) -> None:
    """Each answer is run where it stands: its assertions are the answer."""
    answered = nbformat.read(path, as_version=4)
    cells = []
    for cell in answered.cells:
        cells.append(cell)
        if "**Try.**" in cell.source:
            [answer] = re.findall(r"<details><summary>Answer</summary>\n\n(.*)\n\n</details>$", cell.source, flags=re.S)
            [code] = re.findall(r"^```python\n(.*?)^```$", answer, flags=re.M | re.S)
            assert "assert " in code
            cells.append(nbformat.v4.new_code_cell(code))
    assert len(cells) > len(answered.cells)
    answered.cells = cells
    with executing.kernel(store.committed_results()) as manager:
        NotebookClient(answered, manager, timeout=executing.TIMEOUT_S).execute()
