"""Tables that do not fit together are refused by table and row, also with digests that were made anew."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import finish, publish, vouch

from bnrepro.config.schema import Config
from bnrepro.errors import StoreError
from bnrepro.tables import Results

STEPS = [0, 20, 40]
PROBE = "step,layer,value\n" + "".join(f"{step},{layer},0.5\n" for step in STEPS for layer in (0, 1))


@pytest.fixture(scope="module")
def whole(sweep: Callable[..., list[Config]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with six runs, the last of which diverged, and a probe. No test writes there."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNREPRO_OUTPUTS", str(folder / "outputs"))
        for config in sweep("norm=none,batch", "seed=0,1,2", "probes.shift.enabled=true"):
            ends = {"ends": "statistic,drift\nmean,0.5\np90,\n"}
            lost = config.seed == 2 and config.norm["name"] == "none"
            more = {"status": "diverged", "last_step": 33, "shift": PROBE[: PROBE.index("40,")]} if lost else {}
            curves = {"test/loss": lambda seed, step: seed + step, "test/accuracy": lambda seed, step: 0.5}
            finish(config, curves, STEPS[:2] if lost else STEPS, **{"shift": PROBE, **({} if lost else ends), **more})
        publish("single", folder)
    return folder


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    """The test's own copy."""
    shutil.copytree(whole / "tables", tmp_path / "results" / "tables")
    Results(tmp_path / "results").check()
    return tmp_path / "results"


Change = Callable[[list[str]], list[str]]


def without(pattern: str) -> Change:
    return lambda lines: [line for line in lines if not re.search(pattern, line)]


def twice(pattern: str) -> Change:
    return lambda lines: lines + [line for line in lines if re.search(pattern, line)]


def changed(pattern: str, text: str) -> Change:
    """The first line that the pattern fits, changed."""

    def change(lines: list[str]) -> list[str]:
        place = next(place for place, line in enumerate(lines) if re.search(pattern, line))
        return [*lines[:place], re.sub(pattern, text, lines[place]), *lines[place + 1 :]]

    return change


def renamed(column: str, name: str) -> Change:
    return lambda lines: [re.sub(rf"\b{re.escape(column)}\b", name, lines[0]), *lines[1:]]


def with_column(lines: list[str]) -> list[str]:
    return [f"{lines[0]},remark", *(f"{line},x" for line in lines[1:])]


@pytest.mark.parametrize(
    ("table", "change", "reason"),
    [
        ("single", without(r"^batch-s1-"), r"run batch-s1-\w+, line \d+: no lines"),
        ("single", without(r"^batch-s1-.*,40,"), r"run batch-s1-\w+, line \d+: its lines end before its last_step"),
        ("single", without(r"^batch-s1-.*,20,"), r"run batch-s1-\w+: its lines of step 20 are not those"),
        ("single", without(r"^batch-s1-.*,0,0,"), r"run batch-s1-\w+, line \d+: no line of step 0"),
        ("single", without(r"^none-s2-.*,20,"), r"run none-s2-\w+: its lines of step 20 are not those"),
        ("single", without(r"^none-s1-.*,20,.*loss"), r"run none-s1-\w+: its lines of step 20 are not those"),
        ("single", changed(r"^(none-s2-.*),20,", r"\1,39,"), r"run none-s2-\w+, line \d+: step is not within"),
        ("single", twice(r"^batch-s0-.*,20,.*loss"), r"run batch-s0-\w+, line \d+: there twice"),
        ("single", twice(r"^batch-s0-"), r"run batch-s0-\w+, line \d+: there twice"),
        ("single", changed(r",batch,", ",none,"), r"run batch-s0-\w+, line 2: arm is not that"),
        ("single", changed(r"(batch-s0-\w+,single,batch),0,", r"\1,1,"), "line 2: seed is not that"),
        ("single", changed(r",loss,", ",,"), r"run batch-s0-\w+, line 2: metric is blank"),
        ("single", lambda lines: [*lines[:4], "", *lines[4:]], "line 5 is blank"),
        ("single", renamed("metric", "measure"), "column metric is missing"),
        ("single", with_column, "unknown column remark"),
        ("single.runs", changed(",finished,", ",,"), r"run batch-s0-\w+, line 2: status is blank"),
        ("single.runs", changed(",finished,", ",fine,"), r"run batch-s0-\w+, line 2: status is neither finished nor"),
        ("single.runs", changed(",finished,40,", ",finished,39,"), "line 2: it finished, but last_step is not steps"),
        ("single.runs", changed(",diverged,33,", ",diverged,41,"), r"run none-s2-\w+.*last_step is not within"),
        ("single.runs", changed(",diverged,33,", ",finished,40,"), r"run none-s2-\w+.*its lines end before"),
        ("single.runs", twice("^batch-s0-"), r"run batch-s0-\w+, line \d+: its run is there twice"),
        ("single.runs", without("^batch-s0-"), r"lines of batch-s0-\w+, a run that is not in"),
        ("single.runs", changed("^batch-s0-", "batch-s9-"), r"run batch-s9-\w+, line 2: its name does not end"),
        ("single.runs", changed(",single,", ",double,"), r"line 2: it belongs to another experiment than single"),
        ("single.runs", renamed("optimizer.lr", "optimizer.rate"), r"unknown column optimizer\.rate"),
        ("single.runs", renamed("batch_size", "data.crop"), "column batch_size is missing"),
        ("single.runs", renamed("torch", "norm.torch"), "column torch is missing"),
        ("single.runs", renamed("threads", "data.root"), r"unknown column data\.root"),
        ("single.runs", with_column, "unknown column remark"),
        ("single.runs", lambda lines: [*lines, ""], "line 8 is blank"),
        ("single.timing", without("^batch-s1-"), r"run batch-s1-\w+, line \d+: no row"),
        ("single.timing", twice("^batch-s1-"), r"run batch-s1-\w+, line \d+: there twice"),
        ("single.timing", renamed("hardware", "machine"), "column hardware is missing"),
        ("single.timing", changed(",1.0,", ",soon,"), r"line 2: seconds is no number \(soon\)"),
        ("single.shift", without("^batch-s1-.*,20,"), r"run batch-s1-\w+: its lines of step 20 are not those"),
        ("single.shift", without("^batch-s1-.*,20,1,"), r"run batch-s1-\w+: its lines of step 20 are not those"),
        ("single.shift", twice("^batch-s1-.*,20,1,"), r"run batch-s1-\w+, line \d+: there twice"),
        ("single.ends", without("^batch-s1-.*,p90,"), r"run batch-s1-\w+: its lines of step 40 are not those"),
        ("single.ends", twice("^batch-s1-.*,p90,"), r"run batch-s1-\w+, line \d+: there twice"),
        ("single.ends", without("^batch-s1-"), r"run batch-s1-\w+: its lines of step 40 are not those"),
        ("single.shift", changed(",40,", ",41,"), r"run batch-s0-\w+, line \d+: step is not within"),
    ],
)
def test_what_does_not_fit_is_refused_by_table_and_row(results: Path, table: str, change: Change, reason: str) -> None:
    path = results / "tables" / f"{table}.csv"
    path.write_text("\n".join([*change(path.read_text().splitlines()), ""]))
    with pytest.raises(StoreError, match=rf"{re.escape(table)}\.csv has changed"):
        Results(results).tables("single")
    vouch(results)
    with pytest.raises(StoreError, match=rf"single(\.\w+)?\.csv.*{reason}.*git checkout.*make reproduce") as caught:
        Results(results).tables("single")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["single", "single.runs", "single.timing"])
def test_a_table_deleted_beside_the_others_is_refused_by_name(results: Path, name: str) -> None:
    (results / "tables" / f"{name}.csv").unlink()
    for reason in (f"{name}.csv is missing, though SHA256SUMS lists it", f"{name}.csv is missing beside single."):
        with pytest.raises(StoreError, match=re.escape(reason)):
            Results(results).tables("single")
        vouch(results)


@pytest.mark.parametrize("name", ["exact", "exact.meta"])
def test_a_measurement_without_one_of_its_two_tables_is_refused(results: Path, name: str) -> None:
    other = {"exact": "exact.meta", "exact.meta": "exact"}[name]
    (results / "tables" / f"{other}.csv").write_text("key\nx\n")
    vouch(results)
    with pytest.raises(StoreError, match=re.escape(f"{name}.csv")):
        Results(results).check()


def test_nothing_at_all_is_none(tmp_path: Path) -> None:
    held = Results(tmp_path)
    held.check()
    assert held.tables("single") is None
    assert held.measured("single") is None


def test_identity_is_text_whatever_it_looks_like(results: Path) -> None:
    """Names that pandas would read as numbers, truth values or nothing."""
    for name in ("single", "single.runs", "single.timing", "single.shift", "single.ends"):
        path = results / "tables" / f"{name}.csv"
        text = re.sub(r"(batch-s\d-\w+,single),batch,", r"\1,1e3,", path.read_text())
        path.write_text(
            text.replace(",made up,", ",2024,").replace(",c0ffee,", ",1e5,").replace(",an abacus,", ",nan,")
        )
    vouch(results)
    found = Results(results).tables("single")
    assert found is not None
    assert found.data_label == "2024"
    assert set(found.runs["commit"]) == {"1e5"}
    assert set(found.runs["fingerprint"]) == {"0" * 16}
    assert set(found.timing["hardware"]) == {"nan"}
    for frame in (found.runs, found.metrics, found.probes["shift"]):
        assert set(frame["arm"]) == {"1e3", "none"}


@pytest.mark.parametrize("label", ["true", "nan", "None", "NA", "", "07"])
def test_a_label_of_the_data_is_not_guessed_at(results: Path, label: str) -> None:
    path = results / "tables" / "single.runs.csv"
    path.write_text(path.read_text().replace(",made up,", f",{label},"))
    vouch(results)
    if label:
        found = Results(results).tables("single")
        assert found is not None
        assert found.data_label == label
    else:
        with pytest.raises(StoreError, match="data is blank"):
            Results(results).tables("single")
