"""A measurement's code is known by its syntax: words and places may change, arithmetic may not."""

from __future__ import annotations

import ast
import sys

import pytest

from bnrepro import store, tables
from bnrepro.claims import EXPERIMENTS
from bnrepro.config.compose import Composer, measurements
from bnrepro.measurements import base, source

CODE = '''"""What it does."""
from bnrepro.norm import batch_norm_train
LIMIT = 3
"""Why three."""
def measure(x):
    """How."""
    return x + LIMIT  # a remark
'''


def bare(text: str) -> str:
    return ast.unparse(source._Bare().visit(ast.parse(text)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("What it does", "What it did"),
        ("Why three", "Because"),
        ('    """How."""\n', ""),
        ("  # a remark", ""),
        ("bnrepro.norm import", "bnrepro.normalisers import"),
        ("x + LIMIT", "(x\n        + LIMIT)"),
    ],
)
def test_words_and_places_do_not_count(before: str, after: str) -> None:
    assert before in CODE
    assert bare(CODE.replace(before, after)) == bare(CODE)


@pytest.mark.parametrize(("before", "after"), [("= 3", "= 4"), ("x + L", "x - L"), ("(x)", "(x, y=2)")])
def test_arithmetic_counts(before: str, after: str) -> None:
    assert before in CODE
    assert bare(CODE.replace(before, after)) != bare(CODE)


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("network_size", {"bnrepro.models.bn_inception", "bnrepro.models.blocks", "bnrepro.norm.batch"}),
        ("identity_recoverable", {"bnrepro.norm.functional"}),
        ("whitening_cost", {"bnrepro.norm.pitfalls", "bnrepro.norm.reference"}),
        ("transfer", {"bnrepro.norm.population", "bnrepro.measurements.networks"}),
    ],
)
def test_code_that_the_numbers_come_from_is_part_of_the_identity(name: str, used: set[str]) -> None:
    assert used < {module.__name__ for module in source.modules(f"bnrepro.measurements.{name}")}


@pytest.mark.parametrize("name", measurements())
def test_training_and_tables_are_not(name: str) -> None:
    found = {module.__name__ for module in source.modules(f"bnrepro.measurements.{name}")}
    assert f"bnrepro.measurements.{name}" in found
    assert all(place.startswith(source.ROOMS) for place in found)
    assert not found & set(source.PLUMBING)


@pytest.mark.parametrize("name", [name for name in measurements() if base.needs(name) is None])
def test_committed_tables_are_those_of_this_code(name: str) -> None:
    """A change of arithmetic without a new table would show here; those on trained networks need their data as well."""
    compared = EXPERIMENTS[name].compared_only
    meta = tables.read_measurement(name, store.REPOSITORY / "results" / ("comparison" if compared else ""))
    if meta is None and compared:
        pytest.skip("the normalisers have not been compared in full")
    assert meta is not None
    if ".".join(str(meta.meta["python"]).split(".")[:2]) != f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip("another version of Python writes syntax in other words")
    with Composer() as composer:
        if hasattr(base._module(name), "own_training"):
            pytest.skip("its identity holds the fingerprint of the data that it trains on")
        assert base.plan(composer, name, ["profile=full"]).key == meta.meta["key"]
