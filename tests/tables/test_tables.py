"""Tables are what the runs wrote, in an order of their own, and whatever is not a whole table is refused by name."""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fabricated import vouch

from bnrepro import store, tables
from bnrepro.config.schema import Config
from bnrepro.errors import StoreError
from bnrepro.runs import run
from bnrepro.store.record import IDENTITY

PROBES = ("probes.activations.enabled=true", "probes.activations.examples=50")


@pytest.fixture(scope="module")
def trained(sweep: Callable[..., list[Config]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of four runs: no test writes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNREPRO_OUTPUTS", str(tmp_path_factory.mktemp("trained")))
        plans = [run.plan(config) for config in sweep("norm=none,batch", "seed=0,1", *PROBES)]
        for planned in plans:
            run.execute(planned)
    return [planned.folder.path for planned in plans]


@pytest.fixture
def runs(trained: list[Path], outputs: Path) -> list[store.RunFolder]:
    """The test's own copies of the runs."""
    copies = [Path(shutil.copytree(path, outputs / "runs" / "single" / path.name)) for path in trained]
    return [store.RunFolder(path) for path in copies]


def texts(runs: list[store.RunFolder]) -> dict[str, str]:
    return {name: "".join(pieces) for name, pieces in tables.collect("single", runs).items()}


def test_written_and_read_back_tables_hold_every_line_of_the_runs(runs: list[store.RunFolder], tmp_path: Path) -> None:
    tables.write_experiment("single", runs, tmp_path)
    found = tables.read_experiment("single", tmp_path)
    assert found is not None
    assert list(found.metrics.columns) == list(tables.LONG)
    assert set(found.probes) == {"activations", "layers", "histograms"}
    for folder in runs:
        for name, frame in (("metrics", found.metrics), *found.probes.items()):
            own = pd.read_csv(folder.path / f"{name}.csv")
            part = frame[frame["run"] == folder.name].drop(columns=list(IDENTITY)).reset_index(drop=True)
            pd.testing.assert_frame_equal(part, own, check_dtype=False)
    assert found.runs["status"].tolist() == ["finished"] * 4
    assert found.runs["arm"].tolist() == ["batch", "batch", "none", "none"]
    assert found.runs["seed"].tolist() == [0, 1, 0, 1]
    assert set(found.timing["run"]) == {folder.name for folder in runs}
    assert found.data_label == "UCI digits, binary"


def test_every_scientific_value_of_a_run_is_a_column(runs: list[store.RunFolder], tmp_path: Path) -> None:
    tables.write_experiment("single", runs, tmp_path)
    frame = pd.read_csv(tmp_path / "tables" / "single.runs.csv", keep_default_na=False)
    for column in ("optimizer.lr", "model.hidden", "norm.name", "data.threshold", "batch_size", "threads", "torch"):
        assert column in frame
    assert frame["model.hidden"].unique().tolist() == ["[12, 8]"]
    assert "seconds" not in frame
    assert "host" not in frame


def test_the_order_of_training_does_not_show(runs: list[store.RunFolder]) -> None:
    forward, backward = texts(runs), texts(runs[::-1])
    assert forward == backward
    lines = forward["single"].splitlines()[1:]
    seeds = list(dict.fromkeys(tuple(line.split(",")[2:4]) for line in lines))
    assert seeds == [("batch", "0"), ("batch", "1"), ("none", "0"), ("none", "1")]


def test_numbers_are_ordered_as_numbers(sweep: Callable[..., list[Config]]) -> None:
    plans = [run.plan(config) for config in sweep("norm=none", "steps=0", "optimizer.lr=10,9,0.5", "seed=10,9")]
    for planned in plans:
        run.execute(planned)
    frame = pd.read_csv(io.StringIO(texts([planned.folder for planned in plans])["single.runs"]))
    assert list(zip(frame["optimizer.lr"], frame["seed"], strict=True)) == [
        (lr, seed) for lr in (0.5, 9.0, 10.0) for seed in (9, 10)
    ]


def test_a_damaged_run_stops_the_table_and_leaves_the_old_one(runs: list[store.RunFolder], tmp_path: Path) -> None:
    tables.write_experiment("single", runs, tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()}
    with (runs[2].path / "metrics.csv").open("a", encoding="utf-8") as file:
        file.write("40,800,test,accuracy,1\n")
    with pytest.raises(StoreError, match=str(runs[2].path)):
        tables.write_experiment("single", runs, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()} == before


def test_a_table_that_no_run_contributes_to_any_more_goes(runs: list[store.RunFolder], tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    tables.write_experiment("single", runs, tmp_path)
    (folder / "single.gradients.csv.gz").write_bytes(b"")
    (folder / "singleton.csv").write_text("another experiment's", encoding="utf-8")
    tables.write_experiment("single", runs, tmp_path)
    assert not (folder / "single.gradients.csv.gz").exists()
    assert (folder / "singleton.csv").exists()


def test_tables_that_are_not_there_are_none(tmp_path: Path) -> None:
    assert tables.read_experiment("single", tmp_path) is None
    assert tables.collect("single", []) == {}


# ------------------------------------------------------------------------------------------- damaged on the way


def foreign_run(text: str) -> str:
    return text + "batch-s9-00000000,single,batch,9,0,0,test,loss,2.3\n"


def conflict(text: str) -> str:
    return text + "<<<<<<< HEAD\n"


def half_line(text: str) -> str:
    return text[: text.rindex(",")]


def word_for_number(text: str) -> str:
    return text.rstrip("\n").rpartition(",")[0] + ",high\n"


def no_column(text: str) -> str:
    return text.replace("value", "valeur", 1)


def too_many_fields(text: str) -> str:
    return text + "a,b,c,0,0,0,g,h,1,j,k,l\n"


def empty(text: str) -> str:
    return ""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "damage", [foreign_run, conflict, half_line, word_for_number, no_column, too_many_fields, empty]
)
def test_a_damaged_table_is_refused_by_name(
    runs: list[store.RunFolder],
    tmp_path: Path,
    damage: Callable[[str], str],
    packed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bnrepro.store.tables.GZIP_ABOVE_BYTES", 0 if packed else 10**9)
    tables.write_experiment("single", runs, tmp_path)
    assert tables.read_experiment("single", tmp_path) is not None
    path = tmp_path / "tables" / ("single.csv.gz" if packed else "single.csv")
    text = damage((gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).decode())
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    vouch(tmp_path)
    with pytest.raises(StoreError, match=r"single\.csv"):
        tables.read_experiment("single", tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 0.5, -1])
def test_a_packed_table_that_was_cut_is_refused_by_name(
    runs: list[store.RunFolder], tmp_path: Path, keep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bnrepro.store.tables.GZIP_ABOVE_BYTES", 0)
    tables.write_experiment("single", runs, tmp_path)
    path = tmp_path / "tables" / "single.layers.csv.gz"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    vouch(tmp_path)
    with pytest.raises(StoreError, match=r"single\.layers\.csv\.gz is not a whole table"):
        tables.read_experiment("single", tmp_path)


@pytest.mark.parametrize("name", ["single.runs.csv", "single.timing.csv"])
def test_a_table_without_its_companions_is_refused(runs: list[store.RunFolder], tmp_path: Path, name: str) -> None:
    tables.write_experiment("single", runs, tmp_path)
    (tmp_path / "tables" / name).unlink()
    vouch(tmp_path)
    with pytest.raises(StoreError, match=name.replace(".", r"\.")):
        tables.read_experiment("single", tmp_path)


def test_a_foreign_line_among_a_probes_rows_is_refused(runs: list[store.RunFolder], tmp_path: Path) -> None:
    tables.write_experiment("single", runs, tmp_path)
    path = tmp_path / "tables" / "single.layers.csv"
    with path.open("a", encoding="utf-8") as file:
        file.write("batch-s9-00000000,single,batch,9,0,0,running,1,2,3,0.5\n")
    vouch(tmp_path)
    with pytest.raises(StoreError, match=r"single\.layers\.csv"):
        tables.read_experiment("single", tmp_path)


def test_tables_are_read_again_when_they_have_changed_and_only_then(
    runs: list[store.RunFolder], tmp_path: Path
) -> None:
    tables.write_experiment("single", runs[:2], tmp_path)
    first = tables.read_experiment("single", tmp_path)
    assert tables.read_experiment("single", tmp_path) is first
    tables.write_experiment("single", runs, tmp_path)
    second = tables.read_experiment("single", tmp_path)
    assert first is not None
    assert second is not None
    assert (len(first.runs), len(second.runs)) == (2, 4)
