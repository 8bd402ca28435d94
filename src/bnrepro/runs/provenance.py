"""What the numbers of a run depend on besides its configuration: versions, commit, hardware."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from typing import Any

import numpy as np
import torch

from bnrepro import store


@functools.cache
def versions() -> dict[str, str]:
    """The versions of Python, torch, numpy and this repository."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "commit": _commit(),
    }


def machine(device: str) -> dict[str, Any]:
    """The hardware that runs are timed on."""
    name = torch.cuda.get_device_name() if device == "cuda" else _cpu_model()
    return {"hardware": name, "cores": os.cpu_count()}


@functools.cache
def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the code, with ``-dirty`` if code or configuration differ from it; generated files do not count."""
    git = ["git", "-C", str(store.REPOSITORY)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "src", "configs", "scripts"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    if found.returncode or changed.returncode:
        return "unknown"
    return found.stdout.strip() + ("-dirty" if changed.stdout else "")
