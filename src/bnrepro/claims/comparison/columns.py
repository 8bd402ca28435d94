"""The columns of the comparison: what they are called, and which were made alike."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims import naming


def labels(frame: pd.DataFrame) -> dict[str, str]:
    """Normaliser → its name, with the profile and the data of its runs where these set it apart from other columns."""
    known, foreign = profiles(frame), _foreign(frame)
    several = len(set(known.values())) > 1
    apart = {name: ", ".join([profile] * several + sorted(foreign[name])) for name, profile in known.items()}
    return {name: naming.short(name) + (f" ({apart[name]})" if apart[name] else "") for name in known}


def alike(frame: pd.DataFrame) -> list[str]:
    """The normalisers whose runs have the profile of the first column, and none of other data than that."""
    known, foreign = profiles(frame), _foreign(frame)
    first = next(iter(known.values()), "")
    return [name for name, profile in known.items() if profile == first and not foreign[name]]


def data(frame: pd.DataFrame) -> list[str]:
    """The names of the data of all runs, in the order of the columns."""
    return list(dict.fromkeys(each for text in frame["data"].dropna() for each in str(text).split("; ") if each))


def profiles(frame: pd.DataFrame) -> dict[str, str]:
    """Normaliser → the profile of its runs."""
    return {str(name): str(rows["profile"].iloc[0]) for name, rows in frame.groupby("normaliser", sort=False)}


def _foreign(frame: pd.DataFrame) -> dict[str, set[str]]:
    """By normaliser, the data that the first column, which was asked most, does not have."""
    found = {str(name): set(data(rows)) for name, rows in frame.groupby("normaliser", sort=False)}
    first = next(iter(found.values()), set())
    return {name: each - first if first else set() for name, each in found.items()}
