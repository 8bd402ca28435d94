"""All rows of the benchmark, in the order of the table: importing a module registers its rows."""

from benchmarks.rows import ROWS, Bench, Bound, Measured, Row, Skipped, row

from benchmarks import training  # isort: skip
from benchmarks import overheads  # isort: skip
from benchmarks import sweeps  # isort: skip
from benchmarks import plans  # isort: skip
from benchmarks import layers  # isort: skip
from benchmarks import inception  # isort: skip
from benchmarks import fleet  # isort: skip
from benchmarks import starts  # isort: skip
