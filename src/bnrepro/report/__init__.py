"""Verdicts on a results folder, written as claims.json, REPORT.md and the README's table; figures; dashboards."""

from bnrepro import matplotlib_import as matplotlib_import  # before any module that draws
