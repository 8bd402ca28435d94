"""A digest of the code behind a measurement, which neither docstrings nor moves of files change."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

ROOMS = ("bnrepro.norm", "bnrepro.models", "bnrepro.measurements")
"""The packages with a measurement's own arithmetic. Training is covered by the keys of its runs and the code epoch."""
PLUMBING = (
    "bnrepro.measurements.base",
    "bnrepro.measurements.source",
    "bnrepro.models.memory",
    "bnrepro.norm.cause",
)
"""Modules that run a measurement, or say why it cannot be run, and affect no number."""


@functools.cache
def digest(module: str) -> str:
    """16 hex digits over the syntax of ``module`` and of all modules of ``ROOMS`` that it imports.

    Docstrings, comments, layout and the places that names are imported from do not count.
    """
    parts = sorted(hashlib.blake2b(_normalised(each).encode(), digest_size=16).hexdigest() for each in modules(module))
    return hashlib.blake2b("".join(parts).encode(), digest_size=8).hexdigest()


def modules(name: str) -> list[ModuleType]:
    """The module ``name``, and all modules of ``ROOMS`` that it uses."""
    found: dict[str, ModuleType] = {}
    left = [importlib.import_module(name)]
    while left:
        each = left.pop()
        if each.__name__ not in found:
            found[each.__name__] = each
            left += [
                other for other in _used(each) if other.__name__.startswith(ROOMS) and other.__name__ not in PLUMBING
            ]
    return list(found.values())


def _normalised(module: ModuleType) -> str:
    tree = ast.parse(inspect.getsource(module))
    return ast.unparse(_Bare().visit(tree))


class _Bare(ast.NodeTransformer):
    """Removes imports and strings that nothing uses."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return self.generic_visit(node)


def _used(module: ModuleType) -> Iterator[ModuleType]:
    """The modules that define what ``module`` imports or names by a dotted string."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bnrepro"):
            origin = importlib.import_module(node.module)
            yield from (_home(getattr(origin, alias.name, origin), origin) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("bnrepro."):
            place, _, name = node.value.rpartition(".")
            if name.isidentifier():
                origin = importlib.import_module(place)
                yield _home(getattr(origin, name), origin)


def _home(named: object, origin: ModuleType) -> ModuleType:
    """The module that defines an imported object."""
    if isinstance(named, ModuleType):
        return named
    home = getattr(named, "__module__", None) or origin.__name__
    return importlib.import_module(home) if home.startswith("bnrepro") else origin
