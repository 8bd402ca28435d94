"""The benchmark behind ``make bench``: every claim about speed is a row that is measured, never asserted.

To add a row, write a function in one of the row modules (or in a new one, imported below) that yields what it measured,
and decorate it with :func:`~benchmarks.rows.row`. The registry does the rest.
"""

from benchmarks.rows import ROWS, Bench, Bound, Measured, Row, Skipped, row

# Importing a module registers its rows, in the order of the table.
from benchmarks import training  # isort: skip
from benchmarks import overheads  # isort: skip
from benchmarks import sweeps  # isort: skip
from benchmarks import plans  # isort: skip
from benchmarks import layers  # isort: skip
from benchmarks import inception  # isort: skip
from benchmarks import starts  # isort: skip
