"""Results that remember what was read from them: the way from a claim to its tables and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from bnrepro.tables.read import Measured, Results, Tables


@dataclass(frozen=True, eq=False)
class Watched(Results):
    """The tables of ``whole``, which reads each once; ``sweeps`` and ``measurements`` are those that were read.

    ``asked`` has the owners of all tables that were asked for, whether or not they exist.
    """

    whole: Results = field(kw_only=True)
    sweeps: dict[str, Tables] = field(default_factory=dict)
    measurements: dict[str, Measured] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    @classmethod
    def over(cls, results: Results) -> Watched:
        """``results``, of which nothing has been read yet."""
        return cls(results.folder, results.treatment, results.own, whole=results)

    def tables(self, experiment: str) -> Tables | None:
        self.asked.add(experiment)
        found = self.whole.tables(experiment)
        if found is not None:
            self.sweeps[experiment] = found
        return found

    def measured(self, name: str) -> Measured | None:
        self.asked.add(name)
        found = self.whole.measured(name)
        if found is not None:
            self.measurements[name] = found
        return found

    def beside(self, experiment: str) -> Tables | None:
        self.asked.add(experiment)
        return self.whole.beside(experiment)

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame | None:
        self.asked.add(name.partition(".")[0])
        return self.whole.table(name, columns)

    def text(self, name: str) -> str:
        self.asked.add(name.partition(".")[0])
        return self.whole.text(name)

    @property
    def seeds(self) -> list[int]:
        """The seeds that all sweeps that were read have; none if measurements alone were read."""
        found = [set(map(int, tables.runs["seed"])) for tables in self.sweeps.values()]
        return sorted(set.intersection(*found)) if found else []
