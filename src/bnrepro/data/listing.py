"""The files of an image folder: which of them are images, of which class, and what is passed over."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from pathlib import Path

from bnrepro.data.places import data_folders, expanded, lies_in, reading, shown, speaks
from bnrepro.errors import ConfigError, DataError, DataUnavailable

log = logging.getLogger(__name__)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
TESTS = ("test", "val")
SERVICE = ("__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that systems make; like hidden ones, they are no classes."""


class PassedOver:
    """What an image folder holds besides its images, by kind, each with its first example."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counts, self.first = folder, Counter[str](), dict[str, str]()

    def add(self, kind: str, entry: os.DirEntry[str]) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, shown(os.path.relpath(entry.path, self.folder)))

    def line(self) -> str:
        """One line for the user; empty if nothing was passed over."""
        kinds = [f"{count:,} {kind} ({self.first[kind]})" for kind, count in self.counts.most_common()]
        if not kinds:
            return ""
        images = f"Images are the files <class>/*{{{','.join(SUFFIXES)}}}."
        return f"{shown(self.folder)}: passed over {', '.join(kinds)}. {images}"

    def tell(self) -> None:
        """Warn of what was passed over."""
        if speaks() and (line := self.line()):
            log.warning(line)


def find(root: str | None) -> Path:
    """The folder ``data.root``; a relative path is also searched below $BNREPRO_DATA and data/.

    It is absolute and ends in the folder's name, also for ``data.root=.``. Raises :class:`DataUnavailable` if there is
    none, :class:`ConfigError` for None.
    """
    if not root:
        raise ConfigError("data=image_folder needs data.root=FOLDER, a folder with train/<class>/ and test/<class>/")
    given = expanded(root)
    candidates = [given] if given.is_absolute() else [given, *(at / given for at in data_folders())]
    for candidate in map(Path.absolute, candidates):
        with reading(candidate):
            if candidate.is_dir():
                return candidate.resolve() if candidate.name in ("", "..") else candidate
    looked = "; ".join(f"{shown(path)} {lies_in(path)}" for path in candidates)
    raise DataUnavailable(f"data.root={shown(root)}: there is no such folder ({looked})")


def train_and_test(folder: Path) -> tuple[Path, Path]:
    """The two parts of ``folder``. Raises :class:`DataError` if one is missing or their classes differ."""
    train, test = (_first_folder(folder, names) for names in (("train",), TESTS))
    if train is None or test is None:
        lies = lies_in(folder)
        raise DataError(f"{shown(folder)} must hold train/<class>/ and test/<class>/ (or val/<class>/), but {lies}")
    listed, tested = ({path.name for path in class_folders(part, PassedOver(folder))} for part in (train, test))
    if listed != tested:
        odd = ", ".join(map(shown, sorted(listed ^ tested)))
        raise DataError(f"{shown(folder)}: train and {test.name} have different classes; only one has {odd}")
    return train, test


def class_folders(folder: Path, passed: PassedOver) -> list[Path]:
    """The class folders in ``folder``, sorted by name; the rest goes to ``passed``.

    Raises :class:`DataError` if there are fewer than two.
    """
    found = []
    for entry in _entries(folder):
        if kind := _besides(entry):
            passed.add(kind, entry)
        elif _is_folder(entry):
            found.append(folder / entry.name)
        elif not _hidden(entry):
            passed.add("beside the class folders", entry)
    if len(found) < 2:
        raise DataError(f"{shown(folder)} needs at least two class folders, but holds {len(found)}")
    return found


def images_in(folder: Path, passed: PassedOver) -> list[os.DirEntry[str]]:
    """The images in a class folder, sorted by name; the rest goes to ``passed``.

    Raises :class:`DataError` if there is none.
    """
    images = []
    for entry in _entries(folder):
        named_image = entry.name.lower().endswith(SUFFIXES)
        if kind := _besides(entry):
            passed.add(kind, entry)
        elif _is_folder(entry):
            passed.add("folders within a class", entry)
        elif _hidden(entry):
            if named_image:
                passed.add("hidden files", entry)
        elif named_image:
            images.append(entry)
        else:
            passed.add(shown(os.path.splitext(entry.name)[1].lower()) or "files without a suffix", entry)
    if not images:
        raise DataError(f"{shown(folder)} holds no image ({', '.join(SUFFIXES)}); it {lies_in(folder)}")
    return images


def size_and_time(entry: os.DirEntry[str], skip: bool) -> tuple[int, int]:
    """Size and time of a file. Anything else, such as a broken link, raises :class:`DataError`, or is
    (-1, -1) if ``skip``."""
    try:
        found = entry.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "not a file")
        return found.st_size, found.st_mtime_ns
    except OSError as error:
        if skip:
            return -1, -1
        raise DataError(f"{shown(entry.path)} cannot be read ({error.strerror}). Replace it, or delete it.") from error


def none_readable(folder: Path, count: int) -> DataError:
    """The error for a folder without one readable image among its ``count``."""
    return DataError(f"{shown(folder)}: not one of {count:,} images can be read")


def _first_folder(folder: Path, names: tuple[str, ...]) -> Path | None:
    for path in (folder / name for name in names):
        with reading(path):
            if path.is_dir():
                return path
    return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with reading(folder), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".")


def _besides(entry: os.DirEntry[str]) -> str:
    """The kind of a folder that holds no data wherever it lies; empty for everything else."""
    if not _is_folder(entry):
        return ""
    return "hidden folders" if _hidden(entry) else "folders of the system" if entry.name in SERVICE else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
