"""§4.2 and the appendix: the size of the paper's own network, and what its 13.6·10⁶ parameters may mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bnrepro.config.schema import BNInceptionConfig
from bnrepro.models.blocks import Recipe
from bnrepro.models.bn_inception import STEM, BNInception, columns
from bnrepro.models.inception import Columns, InceptionBlock

NORM = {"_target_": "bnrepro.norm.BatchNorm"}


def measure(projections: Sequence[int], classes: int, side: int) -> pd.DataFrame:
    """Sizes of the network with either first convolution and each width in ``projections`` for 4c and 4d.

    Columns: ``projection``; ``stem`` (``separable``, ``plain``); ``part``; ``quantity``: ``parameters``, or
    ``multiply-adds`` of convolutions and linear layers for one image of ``side`` × ``side``; ``count``. The parts are
    those of :func:`parameter_counts`; each further part is a possible reading of 13.6·10⁶, and counts what it would
    add.
    """
    rows = []
    for projection in projections:
        for stem in ("separable", "plain"):
            config = BNInceptionConfig(separable_stem=stem == "separable", pool_projection_4cd=projection)
            with torch.device("meta"):  # shapes only: nothing is drawn or computed
                model = BNInception(Recipe(config, NORM, "before", 0), (3, side, side), classes)
                parameters = parameter_counts(model) | readings(model, projection, classes)
                costs = multiply_adds(model, side)
            for quantity, counts in (("parameters", parameters), ("multiply-adds", costs)):
                rows += [(projection, stem, part, quantity, count) for part, count in counts.items()]
    return pd.DataFrame(rows, columns=["projection", "stem", "part", "quantity", "count"])


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Parameters of ``convolutions``, ``γ and β`` and ``classifier``; biases count with their layer."""
    parts = {nn.Conv2d: "convolutions", nn.Linear: "classifier"}
    counts: dict[str, int] = {"convolutions": 0, "γ and β": 0, "classifier": 0}
    for module in model.modules():
        counts[parts.get(type(module), "γ and β")] += sum(p.numel() for p in module.parameters(recurse=False))
    return counts


def multiply_adds(model: nn.Module, side: int) -> dict[str, int]:
    """Multiply-adds of ``convolutions`` and ``classifier`` for one image; ``model`` may be on the meta device."""
    image = torch.empty(1, 3, side, side, device=next(model.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(image)
    counts = counter.get_flop_counts()["Global"]
    # The counter counts a multiply-add as two.
    return {
        "convolutions": counts[torch.ops.aten.convolution] // 2,
        "classifier": counts[torch.ops.aten.addmm] // 2,
    }


def readings(model: BNInception, projection: int, classes: int) -> dict[str, int]:
    """What else the 13.6·10⁶ may count or leave out: reading → parameters beyond those of the table."""
    own = columns(projection)
    widths = outputs(own)
    channels = parameter_counts(model)["γ and β"] // 2
    hidden = count(nn.Linear(widths["5b"], 1024))
    heads = {name: count(auxiliary(widths[name], 1024, classes)) for name in ("4a", "4d")}
    narrow = {name: replace(c, double=min(c.double, 128)) for name, c in own.items()}
    return {
        "a bias for every convolution, and the running means and variances": 3 * channels,
        "a fully connected layer of 1,024 before the classifier": hidden,
        "one auxiliary classifier of GoogLeNet, after 4a": heads["4a"],
        "both auxiliary classifiers of GoogLeNet, after 4a and 4d": sum(heads.values()),
        "one auxiliary classifier as Inception v3 has it, 768 wide, after 4d": count(
            auxiliary(widths["4d"], 768, classes)
        ),
        "one 5×5 convolution, as in GoogLeNet, for each double 3×3": sum(
            # The first 3×3 is gone, with its weights and its γ and β.
            (25 - 9) * c.double_reduce * c.double - 9 * c.double**2 - 2 * c.double
            for c in own.values()
        ),
        "at most 128 filters in each double 3×3, as §4.2 says": blocks_and_classifier(narrow, classes)
        - blocks_and_classifier(own, classes),
    }


def auxiliary(channels: int, hidden: int, classes: int) -> nn.Module:
    """A classifier of GoogLeNet (Szegedy et al. 2014, §5) on 14×14 positions, to be counted: it has no forward pass.

    The mean over 5×5 with stride 3 leaves 4×4 positions; then come 128 convolutions of 1×1, a hidden layer, and the
    class scores.
    """
    return nn.ModuleList([nn.Conv2d(channels, 128, 1), nn.Linear(4 * 4 * 128, hidden), nn.Linear(hidden, classes)])


def blocks_and_classifier(table: dict[str, Columns], classes: int) -> int:
    """Parameters of the Inception blocks of ``table`` and of the linear layer after them."""
    recipe = Recipe(BNInceptionConfig(), NORM, "before", 0)
    inputs = [STEM[-1], *outputs(table).values()]
    blocks = [
        InceptionBlock(recipe, width, each, name) for width, (name, each) in zip(inputs, table.items(), strict=False)
    ]
    return sum(map(count, blocks)) + count(nn.Linear(inputs[-1], classes))


def outputs(table: dict[str, Columns]) -> dict[str, int]:
    """Channels that leave each block of ``table``."""
    found, width = {}, STEM[-1]
    for name, each in table.items():
        found[name] = width = each.outputs(width)
    return found


def count(module: nn.Module) -> int:
    """The number of parameters of ``module``."""
    return sum(parameter.numel() for parameter in module.parameters())
