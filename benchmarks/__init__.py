"""The benchmark behind ``make bench``: every claim about speed is a row that is measured, never asserted.

To add a row, write a function in one of the row modules (or in a new one, imported by :mod:`benchmarks.registry`) that
yields what it measured, and decorate it with :func:`~benchmarks.rows.row`. The registry does the rest.
"""
