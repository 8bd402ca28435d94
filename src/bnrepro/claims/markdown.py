"""Markdown as the claims' sections and the report write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table. Cells are printed by ``str``; a bar or a line break in one does not end the cell."""
    head, *body = (f"| {' | '.join(map(_cell, cells))} |" for cells in (header, *rows))
    return "\n".join([head, "|" + "---|" * len(header), *body])


def _cell(value: object) -> str:
    return " ".join(str(value).splitlines()).replace("|", "\\|")
