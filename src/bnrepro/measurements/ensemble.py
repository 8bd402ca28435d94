"""§4.2.3: the accuracy of the mean of several networks' class probabilities, beside that of each network."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from bnrepro.config.identity import arm_label
from bnrepro.data import Split
from bnrepro.errors import UserError
from bnrepro.measurements.base import Trained
from bnrepro.training.evaluation import chunk_size

NEEDS = "ensemble_members"
COLUMNS = [
    "kind", "ensemble", "arm", "member_seed", "members", "validation", "test", "top5", "gained", "lost", "difference",
    "images",
]  # fmt: skip
TOP = 5


def measure(trained: Sequence[Trained]) -> pd.DataFrame:
    """As many ensembles as there are seeds, each with one network of every arm.

    Ensemble e takes the network of arm j that has seed e + j, counted cyclically: no network is in two ensembles, and
    few networks of one ensemble share initial weights and order of examples. Networks that have not finished are left
    out. Rows, by ``kind``:

    - ``member``: a network of the ensemble, ``arm`` and ``member_seed``.
    - ``ensemble``: its ``members`` best members on validation together, from one to all of them.
    - ``difference``: over all ensembles. ``images`` counts the test images for which the sum over the ensembles of
      (right by the ensemble) − (right by its best member) is ``difference``, images where it is 0 included.

    ``validation``, ``test`` and ``top5`` are accuracies (fractions), the last on the test set. ``gained`` counts the
    test images that this row gets right and the ensemble's best member on validation gets wrong; ``lost`` counts the
    reverse. Raises :class:`UserError` if no ensemble has two members.
    """
    found = {(arm_label(each.planned.config), each.planned.config.seed): each for each in trained}
    arms = list(dict.fromkeys(arm for arm, _ in found))
    seeds = sorted({seed for _, seed in found})
    rows: list[dict[str, object]] = []
    differences: list[Tensor] = []
    for e, first in enumerate(seeds):
        places = [(arm, seeds[(e + j) % len(seeds)]) for j, arm in enumerate(arms)]
        members = {place: found[place] for place in places if place in found}
        if len(members) < 2:
            continue
        lines, difference = _one(members)
        rows += [{"ensemble": first} | line for line in lines]
        differences.append(difference)
    if not differences:
        raise UserError(f"an ensemble needs two networks or more, and {NEEDS} has finished too few")
    values, counts = torch.stack(differences).sum(0).unique(return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        rows.append({"kind": "difference", "difference": value, "images": count})
    return pd.DataFrame(rows, columns=COLUMNS)


def _one(members: dict[tuple[str, int], Trained]) -> tuple[list[dict[str, object]], Tensor]:
    """The rows of one ensemble, and per test image (right by it) − (right by its best member)."""
    splits = next(iter(members.values())).dataset
    validation = {place: probabilities(each.model, splits.validation.images) for place, each in members.items()}
    test = {place: probabilities(each.model, splits.test.images) for place, each in members.items()}
    # Python's sort is stable: of equally good members the first stays first.
    ranked = sorted(members, key=lambda place: -_accuracy(validation[place], splits.validation))
    alone = right(test[ranked[0]], splits.test)

    def line(kind: str, places: list[tuple[str, int]]) -> dict[str, object]:
        together = torch.stack([test[place] for place in places]).mean(0)
        own = right(together, splits.test)
        return {
            "kind": kind,
            "members": len(places),
            "validation": _accuracy(torch.stack([validation[place] for place in places]).mean(0), splits.validation),
            "test": own.double().mean().item(),
            "top5": right(together, splits.test, TOP).double().mean().item(),
            "gained": int((own & ~alone).sum()),
            "lost": int((alone & ~own).sum()),
            "images": len(splits.test),
        }

    rows = [line("member", [place]) | {"arm": place[0], "member_seed": place[1]} for place in members]
    rows += [line("ensemble", ranked[: k + 1]) | {"arm": "ensemble"} for k in range(len(ranked))]
    whole = right(torch.stack([test[place] for place in ranked]).mean(0), splits.test)
    return rows, whole.long() - alone.long()


@torch.inference_mode()
def probabilities(model: nn.Module, images: Tensor) -> Tensor:
    """Class probabilities (N, classes) in float64 of ``model``, in its current mode."""
    return torch.cat([model(part).double().softmax(1) for part in images.split(chunk_size(tuple(images.shape[1:])))])


def right(probabilities: Tensor, split: Split, top: int = 1) -> Tensor:
    """For every image (N,), whether its label is among its ``top`` most probable classes."""
    likely = probabilities.topk(min(top, probabilities.shape[1]), dim=1).indices
    return (likely == split.labels[:, None]).any(1)


def _accuracy(probabilities: Tensor, split: Split) -> float:
    return right(probabilities, split).double().mean().item()
