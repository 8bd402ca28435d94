"""Three hundred odd arguments: each is accepted, or refused with one line and exit code 2, and nothing is written."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnrepro import store
from bnrepro.config import schema
from bnrepro.config.compose import Composer
from bnrepro.config.identity import run_key
from bnrepro.errors import UserError
from bnrepro.measurements import base

RUNS, MEASUREMENTS, ARGUMENTS = 180, 40, 80
FUZZED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# ------------------------------------------------------------------------------------------------- what is drawn

ODD = (
    "", "null", "true", "-1", "0", "1", "1e999", "-inf", "nan", "1_000", "0x10", "1.5", "1e3", "''", "'", '"', "[",
    "[]", "[1,2]", "[[1]]", "[a]", "{a:1}", "{", "a b", "a=b", "a,b", "1,2", "range(3)", "range(3,0)",
    "range(1000000000)", "range(a)", "range(0,1,0)", "interval(0,1)", "glob(*)", "glob(x*)", "glob([a,b])",
    "choice(1,2)", "choice()", "shuffle(1,2)", "sort(2,1)", "tag(a,1,2)", "str(1)", "int(x)", "float(1)", "bool(2)",
    "json_str('{}')", "${steps}", "${nowhere}", "${oc.env:NOWHERE}", "${oc.env:HOME}", "${", "$", "???", "../../x",
    "/", "ñandú", "\\", "\n", "\t", "é" * 300, "9" * 400, "-0", "+1", ".5", "1.", "None", "5", "os.getcwd", "batch",
    "none", "mlp", "mnist_training",
)  # fmt: skip


def _borderline(key: schema.Key) -> list[str]:
    """Values at the ends of the range of a key and beyond, and its choices."""
    found = [*key.choices, *(choice.upper() for choice in key.choices)]
    if key.within is not None:
        for end in (key.within.low, key.within.high):
            found += [f"{end:g}", f"{end - 1:g}", f"{end + 1:g}", f"{end - 1e-9!r}", f"{end + 1e-9!r}"]
    return found


def _schema() -> dict[str, list[str]]:
    """Every key of a run with its borderline values."""
    found: dict[str, list[str]] = {}
    for kind in schema.MODELS.values():
        found |= {f"model.{name}": _borderline(key) for name, key, _ in schema.walk(kind())}
    parts: dict[str, Any] = {"data": schema.DataConfig, "optimizer": schema.OptimizerConfig}
    parts |= {"augmentation": schema.AugmentationConfig, "evaluation": schema.EvaluationConfig}
    for section, kind in parts.items():
        found |= {f"{section}.{place.name}": _borderline(schema.key_of(place)) for place in schema.fields(kind)}
    found |= {f"probes.{name}": _borderline(key) for name, key, _ in schema.walk(schema.ProbesConfig())}
    found |= {place.name: _borderline(schema.key_of(place)) for place in schema.fields(schema.Config)}
    return found


KEYS = _schema()
GROUPS = ("model", "norm", "data", "arm", "experiment")
OTHERS = (
    "", "nosuch", "optimizer.lrr", "optimizer.lr.x", "model", "norm", "norm._target_", "norm.eps", "norm.momentum",
    "norm.name", "norm.x", "hydra", "hydra.mode", "hydra.launcher.n_jobs", "hydra.sweeper.params",
    "hydra.sweeper.params.seed", "hydra.run.dir", "hydra/launcher", "hydra.searchpath", "hydra.verbose", "schema",
    "schema/model", "profiles", "profiles.full.steps", "norm@x", "norm@", "@", ".", "a.", ".a", "a..b", "a b",
    "model.hidden[0]", "model/mlp", "defaults", "_target_",
)  # fmt: skip
SIGNS = st.sampled_from(("", "", "", "", "+", "++", "~"))


@st.composite
def overrides(draw: st.DrawFn) -> str:
    """One override: mostly of a key of the schema, with a value that is borderline or odd."""
    key = draw(st.one_of(st.sampled_from(sorted(KEYS)), st.sampled_from(GROUPS), st.sampled_from(OTHERS)))
    values = st.sampled_from(ODD)
    if key in GROUPS:
        values = values | st.sampled_from(store.choices(key))
    elif KEYS.get(key):
        values = st.sampled_from(KEYS[key]) | values
    text = draw(SIGNS) + key
    return text if draw(st.integers(0, 19)) == 0 else f"{text}={draw(values)}"


# ----------------------------------------------------------------------------------------------------- the runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder and the outputs folder of all draws, in which nothing may appear."""
    where = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setenv("BNREPRO_OUTPUTS", str(where / "outputs"))
        yield where


def refused(call: Callable[[], object]) -> None:
    """``call`` returns, or raises a :class:`UserError` with a message; nothing else, and nothing is printed."""
    said, message = io.StringIO(), "accepted"
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            call()
        except UserError as error:
            message = str(error)
    assert message.strip()
    assert "Traceback" not in message
    assert said.getvalue() == ""


@settings(FUZZED, max_examples=RUNS)
@given(drawn=st.lists(overrides(), min_size=1, max_size=2), single=st.booleans())
def test_overrides_of_a_run(drawn: list[str], single: bool, composer: Composer, folder: Path) -> None:
    refused(lambda: [run_key(config, "") for config in composer.sweep(drawn, single=single)])
    assert not list(folder.iterdir())


@settings(FUZZED, max_examples=MEASUREMENTS)
@given(data=st.data(), name=st.sampled_from(store.choices("measurement")))
def test_overrides_of_a_measurement(data: st.DataObject, name: str, composer: Composer, folder: Path) -> None:
    keys = [*_settings(name), "profile", "threads", "measurement", "measurement.nosuch", "hydra.mode", "", "norm"]
    pair = st.builds("{}{}={}".format, SIGNS, st.sampled_from(keys), st.sampled_from(ODD))
    drawn = data.draw(st.lists(pair, min_size=1, max_size=2))
    refused(lambda: base.composed(name, drawn))
    assert not list(folder.iterdir())


def _settings(name: str) -> list[str]:
    return [f"measurement.{key}" for key in base.composed(name)["measurement"]]


# -------------------------------------------------------------------------------------------------- the parsers


PARSERS = {path.stem: processes.loaded(path).parser for path in sorted(processes.SCRIPTS.glob("*.py"))}
PARSERS["benchmarks"] = processes.loaded(store.REPOSITORY / "benchmarks" / "__main__.py").parser


@st.composite
def command_lines(draw: st.DrawFn, parser: argparse.ArgumentParser) -> list[str]:
    """Arguments of a script: its own options, misspelt ones, with borderline and odd values."""
    own = [option for action in parser._actions for option in action.option_strings]
    own = [option for option in own if option not in ("-h", "--help", "--version")]
    known = [str(choice) for action in parser._actions for choice in action.choices or ()]
    option = st.sampled_from([*own, "--nosuch", "-x", "--", "-", "--results", "--jobs"])
    value = st.sampled_from([*ODD, *known, "-1", "TYPO", ".", os.devnull, "1e3", "quick", "wandb=disabled"])
    return draw(st.lists(option | value | st.builds(lambda a, b: f"{a}={b}", option, value), min_size=1, max_size=4))


@pytest.mark.parametrize("script", PARSERS)
def test_arguments_of_every_script(script: str, folder: Path) -> None:
    parser = PARSERS[script]()

    @settings(FUZZED, max_examples=ARGUMENTS // len(PARSERS))
    @given(drawn=command_lines(parser))
    def parsed(drawn: list[str]) -> None:
        refused(lambda: parser.parse_args(drawn))
        assert not list(folder.iterdir())

    parsed()


def test_every_script_has_a_parser_that_is_tried() -> None:
    assert set(PARSERS) == {*(path.stem for path in processes.SCRIPTS.glob("*.py")), "benchmarks"}
    assert all(isinstance(make(), argparse.ArgumentParser) for make in PARSERS.values())
