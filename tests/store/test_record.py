"""A record comes back from its rows as it was, whatever values it holds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnrepro.config.build import from_record
from bnrepro.config.checks import faults, unstackable
from bnrepro.config.identity import run_key, scientific
from bnrepro.config.schema import Config, Key, key_of
from bnrepro.store import RunRecord
from bnrepro.store.record import RUN_COLUMNS, TIMING_COLUMNS
from bnrepro.tables import as_csv

AWKWARD = (
    ".", "2024", "1e3", "1_000", "true", "True", "False", "nan", "NaN", "inf", "Infinity", "None", "null", "NA", "",
    " ", "[1]", "{}", '"', '"x"', "a,b", "it's", "línea\nzwei", "-0", "007", "0x10", "#", "=1+1",
)  # fmt: skip
TEXT = st.sampled_from(AWKWARD) | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
NESTED = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
NORM = st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,7}", fullmatch=True), NESTED, max_size=4)


def there_and_back(record: RunRecord) -> RunRecord:
    rows = [
        next(csv.DictReader(io.StringIO(as_csv([row], columns))))
        for row, columns in ((record.run_row(), RUN_COLUMNS), (record.timing_row(), TIMING_COLUMNS))
    ]
    return RunRecord.from_rows(*rows)


def a_record(config: dict[str, Any], **changed: Any) -> RunRecord:
    record = RunRecord(
        run="none-s0-0", key="0" * 16, experiment="x", arm="none", seed=config["seed"], status="finished", last_step=1,
        data="made up", fingerprint="0" * 16, config=config,
        versions={"python": "3", "torch": "2", "numpy": "2", "commit": "c0ffee"},
        machine={"hardware": "an abacus", "cores": 1}, seconds=1.0, finished=1.0,
    )  # fmt: skip
    return replace(record, **changed)


@given(
    st.fixed_dictionaries(dict.fromkeys(("run", "key", "experiment", "arm", "status", "data", "fingerprint"), TEXT)),
    st.fixed_dictionaries(dict.fromkeys(("python", "torch", "numpy", "commit"), TEXT)),
    TEXT,
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**31 - 1),
)
def test_identity_versions_machine_and_times(
    texts: dict[str, str], versions: dict[str, str], hardware: str, seconds: float, number: int
) -> None:
    record = a_record(
        {"norm": {}, "seed": number}, **texts, versions=versions, machine={"hardware": hardware, "cores": number},
        seed=number, last_step=number, seconds=seconds, finished=seconds,
    )  # fmt: skip
    assert there_and_back(record) == record


@given(NORM)
def test_a_normaliser_of_any_shape(norm: dict[str, Any]) -> None:
    record = a_record({"norm": norm, "seed": 0})
    found = there_and_back(record)
    assert found == record
    assert repr(found.config["norm"]) == repr({key: norm[key] for key in found.config["norm"]})  # 1 is not 1.0 or True


def values(key: Key, kind: Any) -> st.SearchStrategy[Any]:
    """What a field of the schema may hold."""
    if key.choices:
        return st.sampled_from(key.choices)
    options = [option for option in get_args(kind) if option is not type(None)] if is_optional(kind) else [kind]
    low, high = (key.within.low, min(key.within.high, 10**9)) if key.within else (1, 10**9)
    of_kind = {
        bool: st.booleans(),
        int: st.integers(int(low), int(high)),
        float: st.floats(low, high, exclude_min=bool(key.within and key.within.open_below)),
        list[int]: st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
        str: st.sampled_from(("single", "fleet-7")),  # only the engine is a text without choices
        Any: st.booleans(),  # a switch
    }[options[0]]
    return of_kind | st.none() if is_optional(kind) else of_kind


def is_optional(kind: Any) -> bool:
    return type(None) in get_args(kind)


def filled(draw: Callable[[st.SearchStrategy[Any]], Any], node: Any) -> None:
    hints = get_type_hints(type(node))
    for place in fields(node):
        inner = getattr(node, place.name)
        if is_dataclass(inner):
            filled(draw, inner)
        elif place.name not in ("name", "norm", "profiles", "experiment") and key_of(place).scientific:
            setattr(node, place.name, draw(values(key_of(place), hints[place.name])))


def fit_together(config: Any) -> None:
    """Mend what no single field shows."""
    for schedule in (config.evaluation, config.probes.activations, config.probes.summary):
        schedule.min_interval, schedule.max_interval = sorted((schedule.min_interval, schedule.max_interval))
    landscape = config.probes.landscape
    landscape.longest = max(landscape.longest, 2 * landscape.shortest)
    config.processes, config.sync_batch_norm = 1, False
    if unstackable(config):
        config.engine = "single"
    if config.precision == "bfloat16":
        landscape.enabled = config.probes.shift.enabled = False
    if config.model.name == "inception":
        config.model.blocks = (config.model.blocks * len(config.model.units))[: len(config.model.units)]


@pytest.mark.parametrize("model", ["mlp", "inception", "bn_inception"])
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_any_configuration_that_the_schema_allows_keeps_its_key(
    model: str, data: st.DataObject, composed: Callable[..., list[Config]]
) -> None:
    [config] = composed("data=digits", f"model={model}", "norm=batch")
    filled(data.draw, config)
    config.norm |= data.draw(st.dictionaries(st.sampled_from(("scale", "kind", "of")), SIMPLE, max_size=3))
    fit_together(config)
    assert not faults(config)
    found = there_and_back(a_record(scientific(config)))
    again = from_record("x", found.config)
    assert repr(scientific(again)) == repr(scientific(config))
    assert run_key(again, "0") == run_key(config, "0")
