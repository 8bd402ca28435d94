"""The columns of the comparison: what they are called, and which were made alike."""

from __future__ import annotations

import pandas as pd

from bnrepro.claims import naming


def labels(frame: pd.DataFrame) -> dict[str, str]:
    """Normaliser → its name, with the profile and the data of its runs where these set it apart from other columns."""
    profiles, foreign = _profiles(frame), _foreign(frame)
    several = len(set(profiles.values())) > 1
    apart = {name: ", ".join([profiles[name]] * several + sorted(foreign[name])) for name in profiles}
    return {name: naming.short(name) + (f" ({apart[name]})" if apart[name] else "") for name in profiles}


def alike(frame: pd.DataFrame) -> list[str]:
    """The normalisers whose runs have the profile of the first column, and none of other data than that."""
    profiles, foreign = _profiles(frame), _foreign(frame)
    first = next(iter(profiles.values()), "")
    return [name for name in profiles if profiles[name] == first and not foreign[name]]


def data(frame: pd.DataFrame) -> list[str]:
    """The names of the data of all runs, in the order of the columns."""
    return list(dict.fromkeys(each for text in frame["data"].dropna() for each in str(text).split("; ") if each))


def _profiles(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(rows["profile"].iloc[0]) for name, rows in frame.groupby("normaliser", sort=False)}


def _foreign(frame: pd.DataFrame) -> dict[str, set[str]]:
    """By normaliser, the data that the first column, which was asked most, does not have."""
    found = {str(name): set(data(rows)) for name, rows in frame.groupby("normaliser", sort=False)}
    first = next(iter(found.values()), set())
    return {name: each - first if first else set() for name, each in found.items()}
