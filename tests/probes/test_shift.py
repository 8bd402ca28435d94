"""The shift is measured right where it is known, and judged right on tables whose answer is known."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fabricated import finish, publish
from torch import Tensor, nn

from bnrepro import data
from bnrepro.claims import shift, style
from bnrepro.config.schema import Config
from bnrepro.models import build_model
from bnrepro.models.inception import Inception
from bnrepro.probes.next_step import NextLoss, NextStep, parameters_of
from bnrepro.probes.shift import ShiftProbe, gradient_shifts, layers_of
from bnrepro.tables import Results

Composed = Callable[..., list[Config]]


# ------------------------------------------------------------------------------------------------- known answers


def linear_pair() -> tuple[dict[str, Tensor], Tensor, Tensor, Callable[[dict[str, Tensor]], Tensor]]:
    """y = v·(Wx) with half the squared error on one example: everything about it can be written down."""
    weights = {"W": torch.tensor([[1.0, 2.0], [0.5, -1.0]]).double(), "v": torch.tensor([2.0, -1.0]).double()}
    x, target = torch.tensor([3.0, -1.0]).double(), torch.tensor(1.0).double()
    return weights, x, target, lambda p: (p["v"] @ (p["W"] @ x) - target).square() / 2


def test_two_linear_layers_by_hand() -> None:
    weights, _, _, loss = linear_pair()
    # Wx = (1, 2.5); y = 2·1 − 2.5 = −0.5; error −1.5.
    # ∂/∂v = −1.5·(1, 2.5);  ∂/∂W = −1.5·(2, −1)ᵀ(3, −1).
    # After W −= 0.1·∂/∂W: Wx moves by 0.15·(2, −1)·|x|² = 1.5·(2, −1), to (4, 1); y = 8 − 1 = 7; error 6.
    # Then ∂/∂v = 6·(4, 1).
    found = gradient_shifts(loss, weights, {"first": ["W"], "second": ["v"]}, 0.1)
    g, moved = torch.tensor([-1.5, -3.75]).double(), torch.tensor([24.0, 6.0]).double()
    assert found["second"].gradient == pytest.approx(g.norm().item(), rel=1e-12)
    assert found["second"].distance == pytest.approx((moved - g).norm().item(), rel=1e-12)
    assert found["second"].cosine == pytest.approx((g @ moved / g.norm() / moved.norm()).item(), rel=1e-12)
    assert (found["first"].distance, found["first"].cosine) == (0.0, pytest.approx(1.0))
    assert found["first"].gradient == pytest.approx(1.5 * math.sqrt(5) * math.sqrt(10), rel=1e-12)


def test_layers_that_do_not_move_shift_nothing() -> None:
    weights, _, _, loss = linear_pair()
    layers = {"first": ["W"], "second": ["v"]}
    assert gradient_shifts(loss, weights, layers, 0.0)["second"].distance == 0.0
    # The first layer has no gradient: it does not move either, whatever the rate.
    still = gradient_shifts(lambda p: (p["v"].square()).sum() + 0 * p["W"].sum(), weights, layers, 10.0)
    assert still["second"].distance == 0.0
    assert (still["first"].gradient, still["first"].distance) == (0.0, 0.0)
    assert math.isnan(still["first"].cosine)


@pytest.fixture
def scene(small: Callable[..., Config]) -> Callable[..., tuple[Config, nn.Module, data.Dataset]]:
    def build(*overrides: str) -> tuple[Config, nn.Module, data.Dataset]:
        config = small("probes.shift.enabled=true", "optimizer.lr=0.7", "model.init_scale=0.5", *overrides)
        return config, build_model(config, (1, 8, 8), 10), data.load(config.data)

    return build


@pytest.mark.parametrize("norm", [["norm=none"], ["norm=batch"], ["norm=group", "norm.num_groups=4"]])
def test_a_network_whose_earlier_layers_are_moved_by_hand(scene, norm: list[str]) -> None:
    config, model, loaded = scene(*norm)
    images, labels = NextStep(config, loaded).batch(0)
    found = gradient_shifts(NextLoss(model, images, labels), parameters_of(model), layers_of(model), 0.7)
    assert list(found) == ["hidden.0", "hidden.1", "output"]
    F.cross_entropy(model(images), labels).backward()
    for index, (layer, names) in enumerate(layers_of(model).items()):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for earlier in list(found)[:index]:
                for name in layers_of(model)[earlier]:
                    parameter = other.get_parameter(name)
                    parameter -= 0.7 * model.get_parameter(name).grad  # type: ignore[operator]
        other.zero_grad()
        F.cross_entropy(other(images), labels).backward()
        before, after = model.get_parameter(names[0]).grad, other.get_parameter(names[0]).grad
        assert before is not None
        assert after is not None
        assert found[layer].distance == pytest.approx((after - before).norm().item(), rel=1e-3, abs=1e-9)
        assert found[layer].cosine == pytest.approx(F.cosine_similarity(before.flatten(), after.flatten(), 0).item())
    assert found["hidden.0"].distance == 0.0
    assert all(found[layer].distance > 0 for layer in ("hidden.1", "output"))


def test_every_parameter_belongs_to_one_layer_its_weight_first(scene, composed: Composed) -> None:
    _, mlp, _ = scene("norm=batch")
    assert layers_of(mlp) == {
        "hidden.0": ["hidden.0.linear.weight", "hidden.0.norm.weight", "hidden.0.norm.bias"],
        "hidden.1": ["hidden.1.linear.weight", "hidden.1.norm.weight", "hidden.1.norm.bias"],
        "output": ["output.weight", "output.bias"],
    }
    small = ("model.stem=4", "model.units=[1,2]", "model.blocks=[1,1]")
    [config] = composed("model=inception", "data=digits", "norm=batch", *small)
    inception = build_model(config, (3, 16, 16), 10)
    assert isinstance(inception, Inception)
    layers = layers_of(inception)
    assert [name for names in layers.values() for name in names] == [name for name, _ in inception.named_parameters()]
    assert all(inception.get_parameter(names[0]).dim() in (2, 4) for names in layers.values())
    convolutions = [module for module in inception.modules() if isinstance(module, nn.Conv2d)]
    assert len(layers) == len(convolutions) + 1
    assert [next(iter(layers)), list(layers)[-1]] == ["stem.0", "output"]
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    found = gradient_shifts(NextLoss(inception, images, labels), parameters_of(inception), layers, 0.1)
    distances = [each.distance for each in found.values()]
    assert distances[0] == 0.0
    assert all(each > 0 for each in distances[1:])


@pytest.mark.parametrize(("arm", "draws"), [("norm=batch", False), ("norm=batch_noisy", True)])
def test_rows_and_what_noise_adds_to_them(scene, arm: str, draws: bool) -> None:
    config, model, loaded = scene(arm)
    probe = ShiftProbe(config, loaded, model)
    columns = probe.headers["shift"].split(",")
    rows = [dict(zip(columns, row.split(","), strict=True)) for row in probe.observe(model, 40).rows["shift"]]
    assert [(row["step"], row["layer"], row["name"]) for row in rows] == [
        ("40", "0", "hidden.0"), ("40", "1", "hidden.1"), ("40", "2", "output"),
    ]  # fmt: skip
    assert (rows[0]["distance"], rows[0]["redrawn_distance"]) == ("0", "0")
    for row in rows[1:]:
        assert (row["redrawn_distance"] == row["distance"]) != draws
        assert min(float(row["redrawn_distance"]), float(row["distance"])) > 0


# ------------------------------------------------------------------------------------------------------ the claim

[CLAIM] = shift.CLAIMS
POINTS = (0, 100, 200, 300)
HEADER = "step,layer,name,gradient,distance,cosine,redrawn_distance,redrawn_cosine"
CHANGES = {"none": 1.0, "batch": 2.0, "batch_noisy": 3.0}
ENDS = {"none": 0.95, "batch": 0.97, "batch_noisy": 0.968}


def made(
    composed: Composed, folder: Path, changes: dict[str, float], *overrides: str, ends: dict[str, float] = ENDS
) -> Results:
    for config in composed("experiment=shift", "data=digits", "steps=300", "seed=0,1,2", *overrides):
        arm = config.norm["name"]
        change = changes.get(arm, 1.0) * (1 + config.seed * (0.01 if arm == "none" else 0.02))
        rows = [HEADER]
        for step in POINTS:
            size = change * 10.0 ** (-step / 100)
            again = size * (5 if arm == "batch_noisy" else 1)
            rows += [f"{step},0,hidden.0,1,0,1,0,1"]
            rows += [f"{step},{i},{name},{size / 2:g},{size * 10**i:g},0.5,{again * 10**i:g},0.1"
                     for i, name in ((1, "hidden.1"), (2, "output"))]  # fmt: skip
        end = ends.get(arm, 0.9)
        curves = {"test/accuracy": lambda seed, step, end=end: end + seed / 1000}
        finish(config, curves, list(POINTS), shift="\n".join([*rows, ""]))
    publish("shift", folder)
    return Results(folder)


def test_a_larger_change_contradicts_the_paper_and_the_notes_say_who_is_right(
    composed: Composed, tmp_path: Path
) -> None:
    results = made(composed, tmp_path, CHANGES)
    judged = CLAIM.judge(results)
    assert judged.verdict == "contradicted"
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(2 * (1.02 / 1.01 * 1.04 / 1.02) ** (1 / 3))
    values = {(each.name, each.arm): each.interval.value for each in judged.estimates}
    assert values["ratio of the L2 change, in norms of the gradient", "batch"] == pytest.approx(1.0)
    assert values["ratio of the L2 change, output", "batch"] == pytest.approx(judged.primary.interval.value)
    assert values["cosine, difference", "batch"] == 0.0
    assert values["final test accuracy, difference to none", "batch_noisy"] == pytest.approx(0.018)
    assert values["final test accuracy, difference to batch", "batch_noisy"] == pytest.approx(-0.002)
    noisy = values["ratio of the L2 change with the noise of the next step before the layer", "batch_noisy"]
    assert noisy == pytest.approx(5 * values["ratio of the L2 change of the gradient", "batch_noisy"])
    said = [note.partition("**")[2].partition("**")[0] for note in judged.notes]
    # By the L2 distance; without the gradients' scale, and by the direction, there is no difference.
    assert said == ["This fails here", "This holds here", "Undecided here", "Undecided here", *["This holds here"] * 4]
    assert "The paper, by the L2 distance" in judged.notes[0]
    assert "The norm of the gradient itself is 2.02×" in judged.notes[0]
    assert values["ratio of the L2 change of the gradient, over batch's", "batch_noisy"] == pytest.approx(
        values["ratio of the L2 change of the gradient", "batch_noisy"] / judged.primary.interval.value
    )
    assert "does not tell" not in judged.notes[-1]  # BN's own gain, two points, is more than the margin
    with style.house_style():
        assert set(shift.DECLARED.figures(results)) == {"shift_gradients"}


def test_a_smaller_change_supports_it(composed: Composed, tmp_path: Path) -> None:
    ends = {"none": 0.975, "batch": 0.98, "batch_noisy": 0.9}
    results = made(composed, tmp_path, {"batch": 0.5, "batch_noisy": 0.1}, ends=ends)
    judged = CLAIM.judge(results)
    assert judged.verdict == "supported"
    said = [note.partition("**")[2].partition("**")[0] for note in judged.notes]
    assert said[:5] == ["This holds here", "This fails here", "Undecided here", "Undecided here", "This fails here"]
    assert said[5:] == ["Undecided here", "This fails here", "This fails here"]  # the first: as much as BN's own
    assert "does not tell BN from no BN either" in judged.notes[-1]


def test_without_the_noisy_arm_it_is_judged_all_the_same(composed: Composed, tmp_path: Path) -> None:
    results = made(composed, tmp_path, CHANGES, "norm=none,batch")
    judged = CLAIM.judge(results)
    assert judged.verdict == "contradicted"
    assert len(judged.notes) == 4
    with style.house_style():
        assert shift.DECLARED.figures(results)


def test_another_normaliser_is_asked_without_words_put_into_mouths(composed: Composed, tmp_path: Path) -> None:
    made(composed, tmp_path, CHANGES | {"group": 0.5}, "treatment=group")
    judged = CLAIM.judge(Results(tmp_path, "group"))
    assert judged.verdict == "supported"
    assert not judged.notes
    assert {each.arm for each in judged.estimates} == {"none", "group", "batch_noisy"}


def test_without_tables_arms_or_changes_it_is_not_run_with_the_reason(composed: Composed, tmp_path: Path) -> None:
    assert CLAIM.judge(Results(tmp_path / "nothing")).verdict == "not run"
    judged = CLAIM.judge(made(composed, tmp_path / "one", CHANGES, "norm=batch,batch_noisy"))
    assert judged.verdict == "not run"
    assert "no seed finished with both none and batch" in judged.notes[0]


def test_gradients_that_do_not_move_have_no_ratio(composed: Composed, tmp_path: Path) -> None:
    judged = CLAIM.judge(made(composed, tmp_path, {"none": 1.0, "batch": 0.0, "batch_noisy": 1.0}))
    assert judged.verdict == "not run"
    assert "a change of the gradient" in judged.notes[0]
