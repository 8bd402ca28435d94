"""The arguments of all scripts, checked alike before anything starts.

Each check is a ``type`` for :mod:`argparse`, and raises :class:`argparse.ArgumentTypeError` with what is wrong and the
way forward; :class:`Parser` makes one line of it.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import gzip
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from bnrepro import store
from bnrepro.errors import ConfigError

NAME = re.compile(r"[\w.+=-]*\w[\w.+=-]*")
"""Names become parts of paths: no separators, and not only dots."""
BASELINE, PAPERS = "none", "batch"
PROFILES = ("smoke", "quick", "full")
COMPARED = ("smoke", "quick", "exam")
"""Profiles of the comparison of normalisers."""


class Parser(argparse.ArgumentParser):
    """argparse's, but whatever it refuses is a :class:`ConfigError`, and so one line."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # pyright: ignore[reportArgumentType]

    def error(self, message: str) -> NoReturn:
        what, _, unknown = message.partition(": ")
        if what == "unrecognized arguments" and "=" in unknown and not unknown.startswith("-"):
            message += " (all KEY=VALUE stand together, with no option between them)"
        raise ConfigError(message)


# -------------------------------------------------------------------------------------------------------- names


def near(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown ``name``: the known ones that it may have meant, or else all."""
    known = list(known)
    found = difflib.get_close_matches(name, known, 3)
    return f"did you mean {' or '.join(found)}?" if found else f"choose from {', '.join(known)}"


def one_of(kind: str, known: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    """A known name of this ``kind``, such as "experiment"."""

    def check(text: str) -> str:
        names = list(known())
        if text not in names:
            raise argparse.ArgumentTypeError(f"no {kind} {text!r}: {near(text, names)}")
        return text

    return check


def several(check: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Names separated by commas, each of which passes ``check``."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(check(name) for name in text.split(",") if name)
        if not names:
            raise argparse.ArgumentTypeError(f"{text!r} names none; leave the option out for all")
        return names

    return parse


def experiments() -> list[str]:
    """Everything that has tables: sweeps, then exact measurements."""
    return [*store.choices("experiment"), *store.choices("measurement")]


def name(text: str) -> str:
    """A name that a user may have given: a part of a path, never a path."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: only letters, digits and . _ + = -")
    return text


def treatment(
    text: str, own_groups: Path | None = None, results: Path | None = None, option: str = "--treatment"
) -> str:
    """A normaliser to compare with none: one that the runs in the tables below ``results`` have, if there are runs, or
    else a choice of the group ``norm``. The committed results are those of the paper's own. ``option`` is what gave it.

    Raises :class:`ConfigError` for any other name.
    """
    if results is not None and results.resolve() == store.committed_results().resolve():
        known = [PAPERS]
    else:
        known = _normalisers(results) if results is not None else []
    where = f" in the tables of {results}" if known else ""
    known = [each for each in known or store.choices("norm", own_groups) if each != BASELINE]
    if text == BASELINE:
        raise ConfigError(f"{option} {text}: it is what the treatment is compared with; {near(text, known)}")
    if text not in known:
        raise ConfigError(f"{option} {text}: no such normaliser{where}; {near(text, known)}")
    return text


def _normalisers(results: Path) -> list[str]:
    """The normalisers of the runs in the tables below ``results``."""
    found: set[str] = set()
    for path in sorted((results / "tables").glob("*.runs.csv*")):
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
            found |= {row.get("norm.name") or "" for row in csv.DictReader(file)}
    return sorted(found - {""})


def override(options: Iterable[str]) -> Callable[[str], str]:
    """A Hydra override for all runs, but of no key that one of the script's ``options`` sets."""

    def check(text: str) -> str:
        key = text.lstrip("+~").partition("=")[0].partition("@")[0]
        if key in options:
            raise argparse.ArgumentTypeError(f"{text}: use the option --{key} of this script")
        return text

    return check


# ------------------------------------------------------------------------------------------- folders and numbers


def results(text: str) -> Path:
    """An existing results folder: one with ``tables/``."""
    folder = Path(text)
    if not os.path.isdir(folder / "tables"):  # which, unlike Path's, is False for what can be no path
        why = "no folder tables/ in it" if os.path.isdir(folder) else "no such folder"
        raise argparse.ArgumentTypeError(f"{text}: {why}; name a results folder, such as results or outputs/quick")
    return folder


def profile_of(folder: Path) -> str:
    """The profile whose results are put into ``folder``; full for one outside of the outputs folder."""
    first = folder.resolve().name.partition("-")[0]
    inside = folder.resolve().parent == store.outputs_folder().resolve()
    return first if inside and first in PROFILES else "full"


def importable(config_dir: str) -> Path:
    """The folder of a user's own groups; this makes its modules importable, here and in child processes.

    Raises :class:`ConfigError` if there is no such folder.
    """
    folder = Path(config_dir).resolve()
    if not os.path.isdir(folder):
        raise ConfigError(f"--config-dir {config_dir}: no such folder")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([inherited] if inherited else [])])
    return folder


def own_claims(config_dir: str | None, results: Path) -> Path | None:
    """The user's own folder, whose claims are asked of the tables below ``results``; None if none is given.

    Raises :class:`ConfigError` for the committed results, which are this repository's own.
    """
    if config_dir is None:
        return None
    if results.resolve() == store.committed_results().resolve():
        raise ConfigError(
            f"--config-dir {config_dir}: claims of your own have results of their own; name them by --results"
        )
    return importable(config_dir)


def new_file(text: str) -> Path:
    """A file to write, in a folder that exists."""
    path = Path(text)
    if os.path.isdir(path) or not os.path.isdir(path.absolute().parent):
        why = "is a folder" if os.path.isdir(path) else f"there is no folder {path.absolute().parent}"
        raise argparse.ArgumentTypeError(f"{text}: {why}; name a file in a folder that exists")
    return path


def count(text: str) -> int:
    """A whole number, at least 1."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number, at least 0."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least 0")
    return int(text)
