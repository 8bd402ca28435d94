"""Verdicts on a results folder: claims.json, REPORT.md, the README's table; figures; dashboards; notebooks."""

from bnrepro import matplotlib_import as matplotlib_import  # before any module that draws
