"""The landscape is measured right where it is known, and judged right on tables whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fabricated import finish, publish
from torch import Tensor

from bnrepro import data
from bnrepro.claims import landscape, landscape_inception, style
from bnrepro.config.schema import Config
from bnrepro.probes.landscape import LandscapeProbe, along_gradient
from bnrepro.tables import Results

Composed = Callable[..., list[Config]]
LENGTHS = (0.5, 1.0, 2.0, 4.0)


def bowl(seed: int = 0, size: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """A symmetric H, its eigenvalues and eigenvectors (columns), float64."""
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=draw, dtype=torch.float64)
    hessian = matrix @ matrix.T
    return hessian, *torch.linalg.eigh(hessian)


def test_on_a_quadratic_the_smoothness_is_the_curvature_along_the_gradient() -> None:
    hessian, _, _ = bowl()
    start = torch.linspace(-1, 2, 6, dtype=torch.float64)
    line = along_gradient(lambda p: p["w"] @ hessian @ p["w"] / 2, {"w": start}, LENGTHS)
    slope = hessian @ start
    assert line.smoothness == pytest.approx(((hessian @ slope).norm() / slope.norm()).item(), rel=1e-12)
    assert line.gradient == pytest.approx(slope.norm().item(), rel=1e-12)
    assert line.changes == pytest.approx([length * (hessian @ slope).norm().item() for length in LENGTHS], rel=1e-12)
    losses = [((start - length * slope) @ hessian @ (start - length * slope) / 2).item() for length in LENGTHS]
    assert line.losses == pytest.approx(losses, rel=1e-12)
    assert line.loss_range == pytest.approx(max(losses) - min(losses), rel=1e-12)
    assert line.loss == pytest.approx((start @ hessian @ start / 2).item())


@pytest.mark.parametrize("which", range(6))
def test_along_an_eigenvector_it_is_the_eigenvalue(which: int) -> None:
    hessian, values, vectors = bowl(1)
    line = along_gradient(lambda p: p["w"] @ hessian @ p["w"] / 2, {"w": vectors[:, which]}, LENGTHS)
    assert line.smoothness == pytest.approx(values[which].item(), rel=1e-6)


def test_parameters_in_several_tensors_are_one_vector() -> None:
    hessian, _, _ = bowl()
    start = torch.linspace(-1, 2, 6, dtype=torch.float64)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        w = torch.cat([parameters["a"], parameters["b"].flatten()])
        return w @ hessian @ w / 2

    whole = along_gradient(lambda p: p["w"] @ hessian @ p["w"] / 2, {"w": start}, LENGTHS)
    parts = along_gradient(loss, {"a": start[:2], "b": start[2:].view(2, 2)}, LENGTHS)
    assert parts.smoothness == pytest.approx(whole.smoothness, rel=1e-12)
    assert parts.changes == pytest.approx(whole.changes, rel=1e-12)
    assert torch.equal(start, torch.linspace(-1, 2, 6, dtype=torch.float64))


def test_a_straight_loss_is_perfectly_smooth_and_a_flat_one_has_no_smoothness() -> None:
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    line = along_gradient(lambda p: p["w"] @ slope, {"w": torch.zeros(2, dtype=torch.float64)}, (0.5, 4.0))
    assert (line.smoothness, line.changes) == (0.0, (0.0, 0.0))
    assert line.loss_range == pytest.approx(3.5 * 25)
    flat = along_gradient(lambda p: p["w"].sum() * 0, {"w": slope}, (0.5, 4.0))
    assert flat.loss_range == 0.0
    assert flat.smoothness == float("inf")


def test_the_row_is_what_was_measured(small: Callable[..., Config]) -> None:
    config = small("norm=batch", "optimizer.lr=0.3", "probes.landscape.enabled=true", "probes.landscape.lengths=4")
    from bnrepro.models import build_model

    model, loaded = build_model(config, (1, 8, 8), 10), data.load(config.data)
    probe = LandscapeProbe(config, loaded, model)
    assert probe.lengths == pytest.approx([0.5, 1, 2, 4])
    assert len(probe.steps) == 20
    [row] = probe.observe(model, 40).rows["landscape"]
    seen = dict(zip(probe.headers["landscape"].split(","), map(float, row.split(",")), strict=True))
    assert (seen["step"], seen["rate"]) == (40, 0.3)
    assert seen["loss_range"] == pytest.approx(seen["loss_high"] - seen["loss_low"], abs=1e-5)
    assert seen["loss_low"] < seen["loss"]  # a step against the gradient of a smooth loss goes down
    assert 0 < seen["change_low"] < seen["change_mean"] < seen["change_high"]
    assert seen["smoothness"] >= seen["change_high"] / (4 * 0.3 * seen["gradient"]) * (1 - 1e-5)


# --------------------------------------------------------------------------------------------------- the claim

[CLAIM] = landscape.CLAIMS
POINTS = (0, 100, 200, 300)
HEADER = "step,rate,loss,loss_low,loss_high,loss_range,gradient,change_low,change_mean,change_high,smoothness"


def table(level: Callable[[int], float]) -> str:
    """A probe's table whose loss range is ``level`` at a step, and whose other numbers follow from it."""
    rows = [
        f"{step},1,1,0.5,{0.5 + level(step):g},{level(step):g},{level(step) ** 0.5:g},{level(step):g},"
        f"{2 * level(step):g},{3 * level(step):g},{level(step):g}"
        for step in POINTS
    ]
    return "\n".join([HEADER, *rows, ""])


def made(composed: Composed, level: Callable[[Config, int], float], folder: Path, *overrides: str) -> Results:
    for config in composed("experiment=landscape", "data=digits", "steps=300", "seed=0,1,2", *overrides):
        curves = {"test/accuracy": lambda seed, step: 0.9, "train/loss": lambda seed, step: 0.5}
        finish(config, curves, list(POINTS), landscape=table(lambda step, config=config: level(config, step)))
    publish("landscape", folder)
    return Results(folder)


def halved(config: Config, step: int) -> float:
    """A range that shrinks in training, and with BN is half as large in the geometric mean of the seeds."""
    return 10.0 ** (-step / 100) * (0.5 * 1.01 ** (config.seed - 1) if config.norm["name"] == "batch" else 1.0)


def test_half_the_range_is_a_smoother_landscape(composed: Composed, tmp_path: Path) -> None:
    results = made(composed, halved, tmp_path)
    judged = CLAIM.judge(results)
    assert judged.verdict == "supported"
    assert judged.primary is not None
    assert judged.primary.interval.value == pytest.approx(0.5)
    ratios = {each.name: each.interval.value for each in judged.estimates}
    assert ratios["ratio of the effective β-smoothness"] == pytest.approx(0.5)
    assert ratios["ratio of the norm of the gradient"] == pytest.approx(0.5**0.5, rel=1e-5)
    assert any("smaller one at 4 of 4 points" in note for note in judged.notes)
    assert any("On the network of §4.1, with batch. Smaller: loss range, largest change" in n for n in judged.notes)
    assert not any("No difference seen" in note or "the small Inception" in note for note in judged.notes)
    assert any(
        "a ratio of 0.5. The rate times the effective β is 0.0316 without and 0.0158 with" in n for n in judged.notes
    )
    with style.house_style():
        assert set(landscape.DECLARED.figures(results)) == {"landscape_ranges"}
    assert landscape_inception.DECLARED.figures(results) == {}


def test_a_larger_range_is_contradicted(composed: Composed, tmp_path: Path) -> None:
    larger = made(composed, lambda config, step: 1 / halved(config, step), tmp_path / "larger")
    assert CLAIM.judge(larger).verdict == "contradicted"


def test_seeds_that_disagree_are_inconclusive(composed: Composed, tmp_path: Path) -> None:
    either = made(composed, lambda c, step: 3.0 ** (c.seed - 1) if c.norm["name"] == "batch" else 1.0, tmp_path)
    assert CLAIM.judge(either).verdict == "inconclusive"


def test_a_treatment_beyond_what_can_be_computed_is_never_supported(composed: Composed, tmp_path: Path) -> None:
    def level(config: Config, step: int) -> float:
        broken = config.norm["name"] == "batch" and config.seed == 2 and step == 300
        return float("inf") if broken else halved(config, step)

    judged = CLAIM.judge(made(composed, level, tmp_path))
    assert judged.verdict == "inconclusive"
    assert judged.primary is not None
    assert judged.primary.interval.n == 2
    assert any("1 of 3 seeds are left out" in note for note in judged.notes)


def test_without_tables_arms_or_values_it_is_not_run_with_the_reason(composed: Composed, tmp_path: Path) -> None:
    assert CLAIM.judge(Results(tmp_path / "nothing")).verdict == "not run"
    judged = CLAIM.judge(made(composed, halved, tmp_path / "one", "norm=none"))
    assert judged.verdict == "not run"
    assert "no seed finished with both" in judged.notes[0]


def test_a_loss_that_never_changes_has_no_ratio(composed: Composed, tmp_path: Path) -> None:
    judged = CLAIM.judge(made(composed, lambda config, step: 0.0, tmp_path))
    assert judged.verdict == "not run"
    assert "above 0" in judged.notes[0]


def test_the_inception_is_printed_beside_and_does_not_decide(composed: Composed, tmp_path: Path) -> None:
    small = ("data=digits", "data.enlarge=32", "data.validation_examples=300", "steps=300")
    for config in composed("experiment=landscape_inception", *small):
        text = table(lambda step, config=config: 1 / halved(config, step))
        finish(config, {"test/accuracy": lambda seed, step: 0.5}, list(POINTS), landscape=text)
    publish("landscape_inception", tmp_path)
    results = made(composed, halved, tmp_path)
    judged = CLAIM.judge(results)
    assert judged.verdict == "supported"
    [beside] = [each for each in judged.estimates if each.name == "ratio of the loss range, the small Inception"]
    assert beside.interval.value == pytest.approx(2.0)
    with style.house_style():
        assert set(landscape_inception.DECLARED.figures(results)) == {"landscape_inception_ranges"}
