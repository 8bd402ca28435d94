"""The record of a run or a measurement, in each of its forms.

A run's record is a JSON file in its folder, a row of ``X.runs.csv`` and a row of ``X.timing.csv``; a measurement's is a
JSON file and ``X.meta.csv``.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

FILE = "meta.json"
IDENTITY = ("run", "experiment", "arm", "seed")
DESCRIBED = ("key", "status", "last_step", "data", "fingerprint")
VERSIONS = ("python", "torch", "numpy", "commit")
"""Besides the configuration, the numbers of a run depend on these."""
RUN_COLUMNS = (*IDENTITY, *DESCRIBED)
TIMING_COLUMNS = (*IDENTITY, "seconds", "finished", "hardware", "cores")
OPEN = "norm"
"""The section without a schema: each of its entries is one cell, whatever it holds."""


@dataclass(frozen=True)
class RunRecord:
    """A run or a measurement: identity, status, data, configuration, versions, machine and times.

    ``config`` is the scientific configuration as nested data, or the settings of a measurement; ``machine`` holds
    ``hardware`` and ``cores``; ``seconds`` is the working time, ``finished`` its end in seconds since 1970;
    ``unreadable`` are the paths of skipped images.
    """

    run: str
    key: str
    experiment: str
    arm: str
    seed: int
    status: str
    last_step: int
    data: str
    fingerprint: str
    config: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, Any]
    seconds: float
    finished: float
    unreadable: tuple[str, ...] = ()

    def to_json(self) -> str:
        values = asdict(self)
        if not self.unreadable:
            del values["unreadable"]
        return json.dumps(values, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> RunRecord:
        """The record in ``text``. Raises ``ValueError`` if there is none."""
        values = json.loads(text)
        names = {place.name for place in fields(cls)}
        if not isinstance(values, dict) or not names - {"unreadable"} <= set(values) <= names:
            raise ValueError("it is no record of a run")
        given: dict[str, Any] = {**values, "unreadable": tuple(values.get("unreadable", ()))}
        return cls(**given)

    # ---------------------------------------------------------------------------------------- rows of tables

    def prefix(self) -> str:
        """What the lines of this run begin with in every table: the columns of ``IDENTITY``, and a comma."""
        return csv_line([getattr(self, column) for column in IDENTITY]) + ","

    def run_row(self) -> dict[str, Any]:
        """The row of ``X.runs.csv``: identity, status, data, versions and all scientific keys of the configuration."""
        row = {name: getattr(self, name) for name in RUN_COLUMNS} | self.versions
        return row | {key: _cell(key, value) for key, value in self._flat().items() if key != "seed"}

    def timing_row(self) -> dict[str, Any]:
        """The row of ``X.timing.csv``, the only table in which two identical sweeps may differ."""
        row = {name: getattr(self, name) for name in IDENTITY}
        return row | {"seconds": self.seconds, "finished": self.finished} | self.machine

    def measurement_row(self) -> dict[str, Any]:
        """The row of ``X.meta.csv``."""
        row = {"key": self.key, "data": self.data} | self.versions | self.machine
        return row | {"settings": json.dumps(self.config), "seconds": self.seconds}

    def flat_config(self) -> dict[str, Any]:
        """The configuration by dotted keys, lists and what ``norm`` nests as JSON."""
        flat = self._flat()
        return {key: json.dumps(value) if isinstance(value, (list, dict)) else value for key, value in flat.items()}

    def _flat(self) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in self.config.items():
            if key == OPEN:
                flat |= {f"{OPEN}.{entry}": inner for entry, inner in value.items()}
            else:
                flat |= flatten({key: value})
        return flat

    @classmethod
    def from_rows(cls, row: Mapping[str, str], timing: Mapping[str, str]) -> RunRecord:
        """The record of a run from its rows of ``X.runs.csv`` and ``X.timing.csv``, as text; an empty cell is no value.

        A column of unknown name is a key of the configuration. What is None by the schema has an empty cell, as a key
        that the run lacks, and is left out. Raises ``ValueError`` or ``KeyError`` if the rows are not those of a run.
        """
        known = {*RUN_COLUMNS, *VERSIONS}
        config = {key: _plain(text) for key, text in row.items() if key not in known and text != ""}
        entries = {key: config.pop(key) for key in list(config) if key.startswith(f"{OPEN}.")}
        given: dict[str, Any] = {name: row[name] for name in RUN_COLUMNS}
        given |= {name: int(row[name]) for name in ("seed", "last_step")}
        norm = {OPEN: {key.removeprefix(f"{OPEN}."): value for key, value in entries.items()}}
        return cls(
            **given,
            config=unflatten(config | {"seed": given["seed"]}) | norm,
            versions={name: row[name] for name in VERSIONS},
            machine={"hardware": timing["hardware"], "cores": int(timing["cores"])},
            seconds=float(timing["seconds"]),
            finished=float(timing["finished"]),
        )


def csv_line(cells: Iterable[Any]) -> str:
    """A line of CSV, without its end."""
    buffer = io.StringIO()
    # With another end than \r\n, Python before 3.13 puts no quotes around text with \r.
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue().removesuffix("\r\n")


def _cell(key: str, value: Any) -> Any:
    """What a table holds for a value of the configuration: the inverse of :func:`_plain`."""
    if value is None:
        return "null" if key.startswith(f"{OPEN}.") else ""
    if isinstance(value, str):
        # Text that would read as something else stands in quotes.
        return value if value and _plain(value) == value else json.dumps(value)
    finite = isinstance(value, (int, float)) and math.isfinite(value)
    return value if finite else json.dumps(value)


def _plain(text: str) -> Any:
    """The value in a cell of a table: JSON, Python's True or False, or text as it stands."""
    if text in ("True", "False"):
        return text == "True"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat mapping with dotted keys; lists stay values."""
    if is_dataclass(tree) and not isinstance(tree, type):
        tree = asdict(tree)
    assert isinstance(tree, dict)
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`flatten`."""
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *parents, leaf = dotted.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree
