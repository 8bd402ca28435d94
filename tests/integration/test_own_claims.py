"""A user's own sweep and the claim that judges it, from a folder of theirs: docs/templates, copied and run."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import processes
import pytest
from PIL import Image
from rich.console import Console

from bnrepro import store
from bnrepro.claims import declared, style
from bnrepro.config.compose import Composer
from bnrepro.errors import ConfigError
from bnrepro.pipeline.reproduce import Request, reproduce
from bnrepro.report import drawing, judge
from bnrepro.stats import Above, Interval
from bnrepro.tables import Results

TEMPLATES = store.REPOSITORY / "docs" / "templates"
SMALL = ("data=digits", "wandb=disabled", "model.hidden=[12,8]", "steps=40")
FILE = "claims/my_sweep.py"


@pytest.fixture
def my(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the templates, importable during the test alone."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield Path(shutil.copytree(TEMPLATES, tmp_path / "my"))
    sys.modules.pop("my_norm", None)


def asked(my: Path, *overrides: str, **more: object) -> Request:
    options: dict[str, object] = {"only": ("my_sweep",), "jobs": 1, "profile": "smoke"} | more
    return Request(config_dir=str(my), overrides=(*SMALL, *overrides), **options)  # type: ignore[arg-type]


def silent() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The results of the templates' sweep, which its tests copy."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNREPRO_OUTPUTS", str(folder / "outputs"))
        patch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(style, "FORMATS", ("svg",))
        yield reproduce(asked(Path(shutil.copytree(TEMPLATES, folder / "my"))), silent())


@pytest.fixture
def results(trained: Path, my: Path) -> Results:
    return Results(Path(shutil.copytree(trained, my.parent / "trained")), own=my)


def edit(my: Path, before: str, after: str, file: str = FILE) -> None:
    text = (my / file).read_text()
    assert before in text
    (my / file).write_text(text.replace(before, after))


# ------------------------------------------------------------------------------------------------- the templates


def test_the_templates_from_sweep_to_verdict(my: Path, one_format: None) -> None:
    """Their own layer, their own sweep, judged by their own rule, drawn by their own function."""
    console = silent()
    results = reproduce(asked(my, treatment="my_norm"), console)
    found = json.loads((results / "claims.json").read_text())["my_relu"]
    interval = Interval(found["value"], found["low"], found["high"], found["n"])
    assert interval.n == 2
    assert found["verdict"] == Above(0.0).verdict(interval)
    assert {estimate["arm"] for estimate in found["estimates"]} == {"none", "my_norm"}
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(rf"my_relu .* 2 .* {found['verdict']}", printed)
    assert "no claim judges" not in printed
    report = (results / "REPORT.md").read_text()
    [section] = re.findall(r"## Your own claims\n(.*?)\n## ", report, flags=re.DOTALL)
    assert "### my-relu" in section
    assert "Rule: supported if the whole interval lies above 0" in section
    assert "](figures/my_sweep_accuracy.png)" in section
    assert report.count("\n## my_sweep\n") == 1
    assert re.search(r"\*\*All claims by verdict, asked of my_norm\*\*\n\n\|  \|.*\| your own \|\n", report)
    assert "<!-- With my_norm -->" in (results / "figures" / "my_sweep_accuracy.svg").read_text()
    compared = (results / "tables" / "comparison.csv").read_text()
    assert f'my_relu,my_norm,smoke,"UCI digits, binary",{found["verdict"]}' in compared
    page = (results / "index.html").read_text()
    assert page.index("<h3>Your own claims</h3>") < page.index('id="my-relu"') < page.index('id="faster-training"')
    assert '<option value="own">your own (1)</option>' in page
    shown = page.partition('id="my-relu"')[2].partition('<details class="claim"')[0]
    assert f"<code>{my}/experiment/my_sweep.yaml</code>" in shown
    assert "figures/my_sweep_accuracy.svg" in shown
    assert "make verify" not in shown  # which knows this repository's claims alone


def test_the_template_of_an_arm(my: Path) -> None:
    with Composer(str(my)) as composer:
        configs = composer.sweep(["experiment=inception_training", "arm=bn_x5,my_arm", "seed=0"])
    theirs, own = configs
    assert (own.arm, own.norm["name"]) == ("my_arm", "group")
    assert (own.optimizer, own.augmentation) == (theirs.optimizer, theirs.augmentation)


def test_the_template_of_data(my: Path, outputs: Path) -> None:
    generator = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 4)):
        for name in ("cat", "dog"):
            folder = my / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    small = ("model.hidden=[8]", "steps=5", "batch_size=10", "data.validation_examples=10", "wandb=disabled")
    call = processes.call(my.parent, "train", "--config-dir", "my", "data=my_data", *small)
    assert call.code == 0, call.err
    [meta] = outputs.glob("runs/single/*/meta.json")
    assert json.loads(meta.read_text())["data"] == "my photos"


# ---------------------------------------------------------------------------------------- other claims of one's own

ON_OURS = """
from bnrepro.claims.claim import Claim, Evidence, Experiment, paired_runs
from bnrepro.stats import Estimate, Measured, curve, final


def numbers(results):
    tables, pairs = paired_runs(results, "mnist_training")
    gap = pairs.difference(final(curve(tables.metrics, "test", "accuracy")))
    return Evidence([Estimate("gap", results.treatment, gap, True, "difference")])


DECLARED = Experiment("my_view", claims=(Claim(
    "my_gap", "own", "own", "A gap.", "me", "gap", "difference", Measured(), "nothing", "none", "my_view_curves",
    numbers),))
"""


def ends_of(table: str) -> dict[str, float]:
    """By arm, the mean over the seeds of the last five test accuracies."""
    values: dict[str, dict[str, list[float]]] = {}
    for row in csv.DictReader(io.StringIO(table)):
        if (row["split"], row["metric"]) == ("test", "accuracy"):
            values.setdefault(row["arm"], {}).setdefault(row["run"], []).append(float(row["value"]))
    return {arm: float(np.mean([np.mean(each[-5:]) for each in runs.values()])) for arm, runs in values.items()}


def test_a_claim_on_runs_of_this_repository_in_claims_py(my: Path, one_format: None) -> None:
    (my / "claims.py").write_text(ON_OURS)
    results = reproduce(asked(my, only=("mnist_training", "my_view")), silent())
    assert results != store.results_folder("smoke")
    found = json.loads((results / "claims.json").read_text())
    assert found["my_gap"]["verdict"] == "measured"
    ends = ends_of((results / "tables" / "mnist_training.csv").read_text())
    assert found["my_gap"]["value"] == pytest.approx(ends["batch"] - ends["none"], abs=1e-5)
    assert found["my_relu"]["verdict"] == "not run"
    assert found["my_relu"]["notes"] == [
        f"no table of my_sweep: python scripts/reproduce.py --experiments my_sweep --config-dir {my}"
    ]


def test_without_a_function_that_draws_there_are_curves_of_every_arm(my: Path, one_format: None) -> None:
    edit(my, ", draw=figures", "")
    edit(my, 'figure="my_sweep_accuracy"', 'figure="my_sweep_curves"')
    results = reproduce(asked(my, "norm=none,batch,layer"), silent())
    drawn = (results / "figures" / "my_sweep_curves.svg").read_text()
    assert all(f"<!-- {label} -->" in drawn for label in ("Without BN", "With BN", "With layer norm"))
    report = (results / "REPORT.md").read_text()
    assert "ReLU network ends at a higher test accuracy.](figures/my_sweep_curves.png)" in report
    assert "No claim of my_sweep judges the arm layer" in report


def test_report_and_figures_are_made_again_from_the_tables(my: Path, results: Results) -> None:
    folder = results.folder
    before = (folder / "claims.json").read_text()
    (folder / "claims.json").unlink()
    again = processes.call(my.parent, "report", "--results", str(folder), "--config-dir", "my")
    assert again.code == 0, again.err
    assert (folder / "claims.json").read_text() == before
    drawn = processes.call(my.parent, "figures", "my_sweep", "--results", str(folder), "--config-dir", "my")
    assert str(folder / "figures" / "my_sweep_accuracy.png") in drawn.out.splitlines()


def test_figures_are_drawn_again_when_the_claim_s_file_changes(
    my: Path, results: Results, one_format: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing.publish(results)
    calls: list[Path] = []
    draw = drawing.draw
    monkeypatch.setattr(
        drawing, "draw", lambda results, *_, **more: calls.append(results.folder) or draw(results, **more)
    )
    drawing.publish(results)
    assert calls == []
    edit(my, '"test accuracy")\n    style.legend', '"accuracy on the test set")\n    style.legend')
    drawing.publish(results)
    assert calls == [results.folder]
    assert "<!-- accuracy on the test set -->" in (results.folder / "figures" / "my_sweep_accuracy.svg").read_text()


def test_claims_that_are_not_asked_for_are_not_loaded(my: Path) -> None:
    (my / FILE).write_text("no Python")
    request = asked(my, only=("mnist_training",))
    assert (request.own_claims(), request.judged()) == (None, {})
    assert request.names() == ["mnist_training"]
    assert all(claim.origin != "own" for claim, _ in judge.judge(Results(my)))


# ----------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("before", "after", "line", "fault"),
    [
        ("NAME = ", "NAME == ", "NAME ==", "NameError: name 'NAME' is not defined"),
        ("def relu(", "def relu((", "def relu((", "SyntaxError: "),
        ("rule=Above(0.0),", "rule=Above(),", "rule=Above()", "TypeError: "),
        ("DECLARED = ", "DECLARES = ", None, "must declare DECLARED = Experiment"),
        ('NAME = "my_sweep"', 'NAME = "my_swep"', "DECLARED", "the experiment 'my_swep' must be called 'my_sweep'"),
        ("claims=CLAIMS", "claims=CLAIMS[0]", "DECLARED", "its claims must be a tuple of Claim"),
        ('slug="my_relu"', 'slug="My relu"', 'slug="My relu"', "only lowercase letters, digits and _ name a claim"),
        ('slug="my_relu"', 'slug="higher_accuracy"', "slug=", "higher_accuracy is taken by this repository"),
        ('origin="own"', 'origin="paper"', "slug=", 'group="own" and origin="own"'),
        ('source="a question of my own"', "source=None", "slug=", "my_relu: source must be a text"),
        ("rule=Above(0.0),", "rule=0.0,", "slug=", "its rule must be a rule of bnrepro.stats"),
        ('unit="difference",\n        rule', 'unit="points",\n        rule', "slug=", "must be one of ratio, share"),
        ("numbers=relu", "numbers=None", "slug=", "numbers must be a function"),
        ('figure="my_sweep_acc', 'figure="acc', "slug=", "must begin with my_sweep_"),
        (", draw=figures", "", "slug=", "without a function that draws, its figure is my_sweep_curves"),
    ],
)
def test_a_fault_in_the_file_is_one_line_and_nothing_is_trained(
    before: str, after: str, line: str | None, fault: str, my: Path, outputs: Path
) -> None:
    edit(my, before, after)
    lines = (my / FILE).read_text().splitlines()
    number = 1 if line is None else next(place for place, text in enumerate(lines, 1) if line in text)
    with pytest.raises(ConfigError) as error:
        reproduce(asked(my), silent())
    [said] = str(error.value).splitlines()
    assert said.startswith(f"{my / FILE}, line {number}: ")
    assert fault in said
    assert not outputs.exists()


@pytest.mark.parametrize(
    ("before", "after", "line", "fault"),
    [
        ('"accuracy"))\n    estimates', '"accuracy")["x"])\n    estimates', '["x"]', "KeyError: "),
        ("primary=True, ", "", "slug=", "my_relu: one estimate must be primary=True, not 0"),
        ('primary=True, unit="difference"', "primary=True", "slug=", "that of its estimate ratio"),
        ("return Evidence(", "return (", "slug=", "numbers must return Evidence"),
        ('return {"my_sweep_accuracy"', 'return {"mine"', 'return {"mine"', "must begin with my_sweep_"),
        ('return {"my_sweep_accuracy"', 'return {"my_sweep_x"', "figure=", "my_sweep_accuracy is not drawn"),
        ("return {", "return None and {", "DECLARED", "must return figures by name"),
        ('.set_ylabel("', '.set_label_of_y("', "set_label_of_y", "AttributeError: "),
    ],
)
def test_a_fault_while_it_judges_or_draws_is_one_line(
    before: str, after: str, line: str, fault: str, my: Path, results: Results, one_format: None
) -> None:
    edit(my, before, after)
    lines = (my / FILE).read_text().splitlines()
    number = next(place for place, text in enumerate(lines, 1) if line in text)
    with pytest.raises(ConfigError) as error:
        _draw_and_judge(results)
    [said] = str(error.value).splitlines()
    assert said.startswith(f"{my / FILE}, line {number}: ")
    assert fault in said


def _draw_and_judge(results: Results) -> None:
    drawing.draw(results, ["my_sweep"])
    judge.judge(results)


def test_the_runs_are_kept_and_the_exit_code_is_2(my: Path, outputs: Path) -> None:
    edit(my, "return Evidence(", "return (")
    given = ("--config-dir", "my", "--profile", "smoke", "--experiments", "my_sweep", "--jobs", "1", *SMALL)
    call = processes.call(my.parent, "reproduce", *given)
    assert call.code == 2
    [said] = [line for line in call.err.splitlines() if line.startswith("error: ")]
    assert f"{FILE}, line " in said
    assert "Traceback" not in call.err
    assert len(list(outputs.glob("runs/my_sweep/*/DONE"))) == 4


def test_names_that_two_files_or_the_repository_share_are_refused(my: Path) -> None:
    shutil.copy(my / FILE, my / "claims.py")
    with pytest.raises(ConfigError, match=r"my_sweep\.py, line 13: the name my_sweep is taken by .*/claims\.py"):
        declared(my)
    (my / "claims.py").write_text(ON_OURS.replace("my_view", "mnist_training"))
    with pytest.raises(ConfigError, match="the name mnist_training is taken by this repository"):
        declared(my)


def test_the_committed_results_hold_no_claims_of_a_user_s(my: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for script in ("report", "figures"):
        call = processes.call(my.parent, script, "--config-dir", "my")
        assert call.code == 2
        assert "claims of your own have results of their own; name them by --results" in call.err
