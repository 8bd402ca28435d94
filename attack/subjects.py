"""The commands under attack: on the bundled digits, with few steps and few figures."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attack.starts import HOOK, Start
from bnrepro import store

TINY = (
    "data=digits", "wandb=disabled", "model.hidden=[12,8]", "batch_size=20", "steps=100", "checkpoint_every_s=1e-9",
    "probes.activations.enabled=true", "probes.activations.examples=50",
)  # fmt: skip
ASKED = ("--profile", "smoke", "--experiments", "mnist_training,scale_invariance,bias_redundant")
GALLERY = (
    "backward_equations", "bias_redundant", "identity_recoverable", "normalized_activations", "scale_invariance",
    "similar_samples",
)  # fmt: skip
"""Committed measurements with a small figure each, enough of them to be drawn by several workers."""
MADE = (*ASKED, "data=digits", "wandb=disabled", "model.hidden=[12,8]", "steps=60", "seed=0,1")


@dataclass(frozen=True)
class Subject:
    """One command. ``{results}`` stands for the folder of results; ``needs`` is what must be there before it."""

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    workers: bool = False
    retimed: bool = True
    """Whether it makes runs or measurements, whose times differ between two calls."""


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("train", ("scripts/train.py", *TINY)),
        Subject("sweep", ("scripts/train.py", "-m", *TINY, "norm=none,batch", "seed=0,1"), workers=True),
        Subject("fleet", ("scripts/train.py", "-m", *TINY, "norm=batch", "seed=range(7)"), workers=True),
        Subject("reproduce", ("scripts/reproduce.py", *MADE), workers=True),
        Subject("tabulate", ("scripts/reproduce.py", "--no-train", *MADE), ("runs",), retimed=False),
        Subject("figures", ("scripts/figures.py", "--results", "{results}"), ("gallery",), workers=True, retimed=False),
        Subject("report", ("scripts/report.py", "--results", "{results}"), ("results",), retimed=False),
        Subject("measure", ("scripts/measure.py", "measurement=scale_invariance")),
        Subject("restore", ("-m", "attack.restore", "--results", "{results}", *MADE), ("results",)),
        Subject("verify", ("scripts/verify.py", "--results", "{results}"), ("results",), retimed=False),
    )
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command that works in ``folder``."""
    paths = (HOOK, store.REPOSITORY / "src", store.REPOSITORY)
    given = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "BNREPRO_OUTPUTS": str(folder / "outputs"),
        "OMP_NUM_THREADS": "1",
        "GIT_DIR": str(folder / "none"),  # a record names the commit, which may change between two calls
        "ATTACK_FOLDER": str(folder),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATTACK_", "BNREPRO_OUT"))}
    return kept | given | more


def command(subject: Subject, folder: Path) -> list[str]:
    """The command without its interpreter."""
    return [part.replace("{results}", str(folder / "results")) for part in subject.arguments]


def prepare(base: Path, start: Start) -> None:
    """Make in ``base`` what the commands need: ``runs`` as they are trained, ``results`` with tables and figures, and
    ``gallery`` with tables alone.

    Raises ``RuntimeError`` if that fails.
    """
    made = base / "made"
    process = start(command(SUBJECTS["reproduce"], made), environment(made), base / "said")
    while (code := process.code()) is None:
        time.sleep(0.05)
    if code:
        raise RuntimeError(f"nothing to attack: {(base / 'said.err').read_text(encoding='utf-8')}")
    (made / "outputs" / "runs").rename(base / "runs")
    [tables] = (made / "outputs").glob("*/tables")
    tables.parent.rename(base / "results")
    shutil.rmtree(made)
    _gallery(store.committed_results() / "tables", base / "gallery" / "tables")


def _gallery(committed: Path, folder: Path) -> None:
    """Copy the tables of :data:`GALLERY`, and the digests of these."""
    folder.mkdir(parents=True)
    digests = (committed / "SHA256SUMS").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in digests if line.split()[-1].partition(".")[0] in GALLERY]
    (folder / "SHA256SUMS").write_text("".join(kept), encoding="utf-8")
    for line in kept:
        shutil.copy(committed / line.split()[-1], folder)


def fresh(subject: Subject, base: Path, folder: Path) -> Path:
    """``folder`` as it is before the command."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "outputs").mkdir(parents=True)
    for name in subject.needs:
        shutil.copytree(base / name, folder / "outputs" / name if name == "runs" else folder / "results")
    if subject.name == "report":
        for name in ("REPORT.md", "claims.json"):
            (folder / "results" / name).unlink()
    return folder


def settled(subject: Subject, folder: Path) -> Mapping[str, bytes]:
    """Every file that the command leaves, by its path, without the times that differ between two calls."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.name != "lock" and "/cache/" not in name:
            content = path.read_bytes()
            found[name] = _timeless(path.name, content) if subject.retimed else content
    return found


def _timeless(name: str, content: bytes) -> bytes:
    if name.endswith((".timing.csv", ".meta.csv")):
        return b""
    if name == "meta.json":
        return re.sub(rb'"(seconds|finished)": [0-9.]+', b"", content)
    if name == "DONE":
        return re.sub(rb'("meta.json": ")[0-9a-f]+', rb"\1", content)
    if name == "SHA256SUMS":
        return re.sub(rb"^\w+(?=  .*\.(timing|meta)\.csv$)", b"", content, flags=re.MULTILINE)
    if name == "REPORT.md":
        return re.sub(rb"\d+\.\d+ \|$", b"|", content, flags=re.MULTILINE)
    return content
