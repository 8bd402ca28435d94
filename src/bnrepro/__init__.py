"""A reproduction of Ioffe & Szegedy 2015, *Batch Normalization*: configurations → runs → tables → verdicts."""


def __getattr__(name: str) -> str:
    """``__version__``, as pyproject.toml has it, looked up when it is asked for: scripts start without it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("bnrepro")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
