"""Import torchvision where its C++ operators cannot load.

On x86-64 Linux the registry's torchvision is built for CUDA. Beside a CPU-only torch its operators stay unloaded, and
the import itself fails, because torchvision registers Python kernels for operators that nobody has declared.
Data sets and transforms need none of them, so declaring the two schemas first is enough. Where the operators do
load, the schemas are there already and nothing is declared.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library: torch.library.Library | None = None


def prepare() -> None:
    """Call before the first ``import torchvision``; raises ``ModuleNotFoundError`` if it is not installed."""
    global _library
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed: pip install -r requirements.txt")
    for operators in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(operators)
        except OSError:
            break
    missing = [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if missing and _library is None:
        _library = torch.library.Library("torchvision", "DEF")
        for name in missing:
            _library.define(_SCHEMAS[name])
