"""Tables to report and figures: without torch, twice the same bytes, every printed number in claims.json."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fabricated import finish, publish, vouch
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bnrepro import store, tables
from bnrepro.claims import CLAIMS, EXPERIMENTS, Evidence, Judgement, style
from bnrepro.claims.markdown import table
from bnrepro.config.schema import Config
from bnrepro.report import judge, markdown
from bnrepro.report.judge import Found
from bnrepro.runs import run
from bnrepro.runs.planned import plan
from bnrepro.stats import SUPPORTED, VERDICTS, Estimate, Interval, amount
from bnrepro.tables import Results

STEPS = [0, 10, 20, 40, 80, 160, 320, 640]


@pytest.fixture
def folder(composed: Callable[..., list[Config]], tmp_path: Path) -> Path:
    cells = ("model.init_scale=0.1,0.3,1", "optimizer.lr=0.1,0.3,1,3")  # as many as a map needs
    for config in composed("experiment=mnist_training", "data=digits", "steps=640", "seed=0,1,2", *cells):
        config.experiment = "operating_points"
        fast = 8 if config.norm["name"] == "batch" else 64
        accuracy = lambda seed, step, fast=fast: (0.9 + seed / 1000) * (1 - 2.0 ** (-step / fast))  # noqa: E731
        loss = lambda seed, step, fast=fast: 2.3 * 2.0 ** (-step / fast) + 0.01  # noqa: E731
        finish(config, {"validation/accuracy": lambda *at: 0.95, "test/accuracy": accuracy, "train/loss": loss}, STEPS)
    publish("operating_points", tmp_path / "made")
    return tmp_path / "made"


def test_every_claim_is_declared_whole() -> None:
    assert len({claim.slug for claim in CLAIMS}) == len(CLAIMS)
    for name, claim in ((name, claim) for name, experiment in EXPERIMENTS.items() for claim in experiment.claims):
        assert claim.group in markdown.GROUPS
        assert all([claim.sentence, claim.source, claim.metric, claim.rule, claim.paper, claim.deviation])
        assert claim.figure.startswith(name)


def test_claims_json_holds_what_the_report_prints(folder: Path) -> None:
    found = markdown.write_report(Results(folder))
    stored = json.loads((folder / "claims.json").read_text())
    text = (folder / "REPORT.md").read_text()
    assert list(stored) == [claim.slug for claim in CLAIMS]
    for slug, judgement in ((claim.slug, judgement) for claim, judgement in found):
        assert stored[slug]["verdict"] in VERDICTS
        for estimate, written in zip(judgement.estimates, stored[slug]["estimates"], strict=True):
            value = estimate.interval.value
            assert written["value"] == (float(f"{value:.6g}") if math.isfinite(value) else None)
            assert judge.words(estimate) in text
    assert stored["faster_training"]["n"] == 3
    assert stored["stable_inputs"]["verdict"] == "not run"
    assert "made up" in text
    assert "an abacus" in text


def test_report_and_figures_come_out_the_same_twice(folder: Path, tmp_path: Path) -> None:
    def bytes_of() -> dict[str, bytes]:
        markdown.publish(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    first = bytes_of()
    for name in first:
        if not name.startswith("tables"):
            (folder / name).unlink()
    assert bytes_of() == first
    kinds = {Path(name).suffix for name in first if name.startswith("figures")}
    assert kinds == {".png", ".svg", ".pdf"}


def test_in_a_locale_without_greek_letters_the_files_are_the_same(tmp_path: Path) -> None:
    """Both doors to the report, each in an interpreter of its own: Python takes its encodings when it starts."""
    folder = tmp_path / "here"
    (folder / "tables").mkdir(parents=True)
    for path in (store.REPOSITORY / "results" / "tables").glob("bias_redundant.*"):  # its figure is quick to draw
        shutil.copy(path, folder / "tables")
    vouch(folder)
    elsewhere = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    reproduce = ("--no-train", "--profile", "full", "--experiments", "bias_redundant")
    started = {}
    for script, arguments in (("report", ()), ("reproduce", reproduce)):
        results = shutil.copytree(folder, tmp_path / script)
        where = {"BNREPRO_RESULTS": str(results), "BNREPRO_OUTPUTS": str(tmp_path / f"{script}.outputs")}
        command = [sys.executable, str(store.REPOSITORY / "scripts" / f"{script}.py"), *arguments]
        if script == "report":
            command += ["--results", str(results)]
        started[results] = subprocess.Popen(
            command, env=os.environ | where | elsewhere, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    markdown.write_report(Results(folder))
    for results, process in started.items():
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
        assert out.isascii()
        assert not (results / "claims.json").read_bytes().isascii()
        for name in ("claims.json", "REPORT.md"):
            assert (results / name).read_bytes() == (folder / name).read_bytes(), (results, name)


def test_behind_the_wall_nothing_loads_torch_or_hydra(folder: Path) -> None:
    """Also not when every claim is judged and drawn: imports that only run then escape a linter."""
    code = (
        "import importlib, pathlib, pkgutil, sys\n"
        "import bnrepro\n"
        "for room in ('store', 'tables', 'stats', 'claims', 'report'):\n"
        "    package = importlib.import_module(f'bnrepro.{room}')\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(found.name)\n"
        "from bnrepro.report import markdown\n"
        f"markdown.publish(pathlib.Path({str(folder)!r}))\n"
        "assert not {'torch', 'hydra', 'omegaconf'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def estimate_of(low: float, high: float, unit: str = "difference") -> Judgement:
    return Judgement(
        SUPPORTED, Evidence([Estimate("x", "batch", Interval((low + high) / 2, low, high, 5), True, unit)])
    )


def test_p_values_are_adjusted_for_all_claims_with_one_estimate(tmp_path: Path) -> None:
    by_slug = {claim.slug: claim for claim in CLAIMS}
    judged = {
        "placement": estimate_of(0.1, 0.3),
        "affine_needed": estimate_of(-0.1, 0.3),
        "scale_invariance": estimate_of(0.1, 0.3, "number"),  # exact
        "faster_training": estimate_of(0.1, 0.3, "share"),  # over a map
        "plain_diverges": Judgement(
            SUPPORTED, Evidence([Estimate("x", "a", Interval(0.0, 0.0, 0.5, 5), True, "share")])
        ),
    }
    found = judge.adjusted(Found(Results(tmp_path), tuple((by_slug[slug], each) for slug, each in judged.items())))
    assert set(found) == {"placement", "affine_needed"}
    small, large = found["placement"], found["affine_needed"]
    assert small[0] < large[0]
    assert small[1] == pytest.approx(2 * small[0])
    assert large[1] == pytest.approx(large[0])
    assert judge.written_p(0.03456) == "0.035"
    assert judge.written_p(1e-9) == "< 0.0001"


def test_empirical_and_exact_claims_are_counted_apart(folder: Path) -> None:
    markdown.write_report(Results(folder))
    opening = (folder / "REPORT.md").read_text().partition("## In two minutes")[2].partition("\n|")[0]
    exact = sum(claim.rule.exact for claim in CLAIMS)
    assert f"; {exact} exact properties: {exact} not run." in opening
    assert f"{len(CLAIMS) - exact} empirical: " in opening


def test_the_readme_block_is_replaced_and_nothing_else() -> None:
    begin, end = markdown.BLOCK
    text = f"before\n{begin}\nold\n{end}\nafter\n"
    assert markdown.with_block(text, "new") == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(ValueError, match="markers"):
        markdown.with_block("no markers", "new")


@pytest.mark.parametrize(
    ("interval", "unit", "expected"),
    [
        (Interval(0.5, 0.4, 0.625, 5), "ratio", "0.5× (0.4× to 0.625×)"),
        (Interval(0.0012, -0.0001, 0.0025, 5), "difference", "+0.12 points (-0.01 to +0.25)"),
        (Interval(0.98, 0.97, 0.99, 5), "share", "98.00% (97.00% to 99.00%)"),
        (Interval(1e-15, 1e-15, 1e-15, 1), "number", "1e-15"),
        (Interval(0.5, float("nan"), float("nan"), 1), "ratio", "0.5× (n = 1, no interval)"),
    ],
)
def test_amounts_read_as_a_reader_wants_them(interval: Interval, unit: str, expected: str) -> None:
    assert amount(interval, unit) == expected


def test_every_arm_keeps_its_colour() -> None:
    assert style.colour("none") != style.colour("batch")
    assert style.colour("mine") == style.colour("mine")


def cells_of(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Each table of a Markdown text as a renderer sees it: its source's lines, and the text of its cells by row."""
    lines = text.splitlines()
    rows: list[list[str]] = []
    start = None
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            start, rows = token.map, []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and start is not None:
            rows[-1].append("".join(each.content for each in token.children or ()))
        elif token.type == "table_close":
            assert start is not None
            yield lines[start[0] : start[1]], rows
            start = None


CELL = st.text("ab1-:|| \n\r\t", max_size=8)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=4))
def test_no_cell_ends_another(rows: list[list[str]]) -> None:
    """Whatever is in it: a bar, as in |mean|, or a line break."""
    [(_, shown)] = cells_of(table(["largest |mean|", "b", "c"], rows))
    assert shown[0] == ["largest |mean|", "b", "c"]
    assert [[" ".join(cell.split()) for cell in row] for row in shown[1:]] == [
        [" ".join(cell.split()) for cell in row] for row in rows
    ]


@pytest.mark.parametrize("name", ["results/REPORT.md", "README.md"])
def test_every_row_of_a_table_has_the_cells_of_its_head(name: str) -> None:
    """Counted in the source: a renderer drops the cells beyond those of the head, and fills up missing ones."""
    text = (store.REPOSITORY / name).read_text(encoding="utf-8")
    found = list(cells_of(text))
    # Outside of code, each line that begins with a bar belongs to one of them.
    outside = "".join(re.split(r"^```.*?^```", text, flags=re.M | re.S))
    assert sum(len(lines) for lines, _ in found) == sum(line.startswith("|") for line in outside.splitlines())
    assert found
    for lines, rows in found:
        for line in lines:
            assert len(re.findall(r"(?<!\\)\|", line)) == len(rows[0]) + 1, line


def test_the_report_says_what_trained_the_runs(sweep: Callable[..., list[Config]], tmp_path: Path) -> None:
    runs = [
        plan(config, together=seed > 0)
        for seed, config in enumerate(sweep("experiment=mnist_training", "norm=none", "seed=0,1"))
    ]
    for item in runs:
        run.execute(item)
    tables.write_experiment("mnist_training", [item.folder for item in runs], tmp_path)
    found = Results(tmp_path).tables("mnist_training")
    assert found is not None
    assert "| mnist_training | 2 | 0 | fleet-5, cpu; single, cpu |" in markdown._environment(
        {"mnist_training": found}, []
    )
