"""The benchmark behind ``make bench``: every claim about speed as a row that is measured, never asserted.

To add a row: a function in one of the row modules (or a new one, named below), decorated with
:func:`~bnrepro.benchmark.rows.row`, that yields what it measured. Everything else follows from the registry.
"""

from bnrepro.benchmark.rows import ROWS, Bench, Bound, Measured, Row, Skipped, row

# Importing a module registers its rows, in the order of the table.
from bnrepro.benchmark import training  # isort: skip
from bnrepro.benchmark import overheads  # isort: skip
from bnrepro.benchmark import sweeps  # isort: skip
from bnrepro.benchmark import plans  # isort: skip
from bnrepro.benchmark import layers  # isort: skip
from bnrepro.benchmark import inception  # isort: skip

__all__ = [
    "ROWS", "Bench", "Bound", "Measured", "Row", "Skipped", "inception", "layers", "overheads", "plans", "row",
    "sweeps", "training",
]  # fmt: skip
