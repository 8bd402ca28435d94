"""Makes torchvision importable where its C++ operators cannot be loaded.

On x86-64 Linux the torchvision of PyPI is built for CUDA. With a CPU-only torch its operators cannot be loaded, and the
import fails because torchvision registers Python kernels for undeclared operators. Data sets and transforms use none of
these, so that it is enough to declare the two schemas first. If the operators load, they bring the schemas.
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
    """Prepare the first ``import torchvision``. Raises ``ModuleNotFoundError`` if it is not installed."""
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
