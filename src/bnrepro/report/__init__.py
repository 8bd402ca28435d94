"""Verdicts on a results folder, written as claims.json, REPORT.md and the README's table; figures; dashboards."""
