"""Verdicts on a results folder, and how they are told: claims.json, REPORT.md, the README's table, dashboards."""
