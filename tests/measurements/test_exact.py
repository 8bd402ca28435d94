"""Measurements without trained networks: each from its configuration to its verdict, known answers, wrong layers."""

import importlib
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from bnrepro import store, tables
from bnrepro.claims.claim import Judgement
from bnrepro.claims.whitening_cost import WHITE
from bnrepro.config.compose import Composer
from bnrepro.measurements import base, kernels
from bnrepro.norm import ReferenceBatchNorm, batch_norm_inference, batch_norm_train
from bnrepro.norm.functional import batch_statistics, per_channel
from bnrepro.norm.pitfalls import UnbiasedTrainingVariance
from bnrepro.norm.whitening import NewtonSchulzWhitening
from bnrepro.tables import Measured, Results

SMALLER = {
    "normalized_activations": {},
    "identity_recoverable": {},
    "scale_invariance": {},
    "bias_redundant": {},
    "backward_equations": {"shapes": [[5, 3], [2, 2, 2, 2]]},
    "stepwise_normalization": {"updates": 1000},
    "similar_samples": {},
    "whitening_cost": {"widths": [4, 8], "examples": 32, "rounds": 2},
}
"""Settings for the tests, where the committed ones take more than an instant."""


def measure(name: str, **changes: Any) -> pd.DataFrame:
    """The measurement with its configured settings but for ``changes``; numbers as they are, not yet in a table."""
    settings = OmegaConf.to_container(OmegaConf.load(store.configs_folder() / "measurement" / f"{name}.yaml"))
    assert isinstance(settings, dict)
    assert settings.pop("name") == name
    settings.pop("profiles", None)
    return importlib.import_module(f"bnrepro.measurements.{name}").measure(**(settings | SMALLER[name] | changes))


@cache
def measured(name: str) -> pd.DataFrame:
    return measure(name)


def judge(name: str, frame: pd.DataFrame, **others: pd.DataFrame) -> Judgement:
    """The verdict of the measurement's one claim on a table that was not stored, beside those of ``others``."""
    [claim] = importlib.import_module(f"bnrepro.claims.{name}").DECLARED.claims
    found = {
        name: Measured(name, frame, pd.Series()),
        **{each: Measured(each, table, pd.Series()) for each, table in others.items()},
    }
    return claim.judge(SimpleNamespace(treatment="batch", measured=found.get))


@pytest.mark.parametrize("name", SMALLER)
def test_from_configuration_to_verdict_and_figure(name: str, tmp_path: Path) -> None:
    declared = importlib.import_module(f"bnrepro.claims.{name}").DECLARED
    [claim] = declared.claims
    nothing, results = Results(tmp_path / "nothing"), Results(tmp_path / "results")
    assert claim.judge(nothing).verdict == "not run"
    assert declared.figures(nothing) == {}
    with Composer() as composer:
        overrides = [f"measurement.{key}={value}" for key, value in SMALLER[name].items()]
        planned = base.plan(composer, name, overrides)
    assert base.execute(planned) == "finished"
    tables.write_measurement(planned.folder, results.folder)
    judgement = claim.judge(results)
    # The costs of whitening are judged at a width that takes seconds: the table of a test has none of it.
    expected = {"similar_samples": "measured", "whitening_cost": "not run"}.get(name, "supported")
    assert judgement.verdict == expected
    assert sum(estimate.primary for estimate in judgement.estimates) == (expected != "not run")
    figures = declared.figures(results)
    assert claim.figure in figures
    assert all(figure.startswith(f"{name}_") for figure in figures)


# --------------------------------------------------------------------------------------------- known answers


def test_whole_tensor_form_divides_every_feature_by_the_same_number() -> None:
    frame = measured("normalized_activations")
    rows = frame[(frame["case"] == "linear") & (frame["layer"] == "whole tensor")].set_index("feature")
    total = rows.loc["all", "input_variance"] + 1e-5
    features = rows.drop("all")
    assert (features["variance"] * total / features["input_variance"]).to_numpy() == pytest.approx(1.0)
    assert (features["mean"] * math.sqrt(total) + rows.loc["all", "input_mean"]).to_numpy() == pytest.approx(
        features["input_mean"].to_numpy()
    )
    assert rows.loc["all", "variance"] == pytest.approx(1.0, abs=1e-5)


def test_constant_input_is_nan_only_without_epsilon() -> None:
    frame = measured("normalized_activations")
    constant = frame[frame["case"] == "constant"]
    finite = constant.groupby("layer")["finite"].mean()
    per_feature = ["per feature, from scratch", "per feature, library"]
    assert finite.to_dict() == dict.fromkeys([*per_feature, "whole tensor"], 1.0) | {"whole tensor, no ε": 0.0}
    assert (constant.loc[constant["layer"].isin(per_feature), ["mean", "std"]] == 0).all(axis=None)


def test_readers_example_reads_bessels_factor() -> None:
    frame = measure("normalized_activations", epsilon=1e-14)
    for kernel in ("from scratch", "library"):
        layer = frame["layer"] == f"per feature, {kernel}"
        rows = frame[(frame["case"] == "3x10") & layer & (frame["feature"] == "all")]
        assert rows["std"].item() == pytest.approx(math.sqrt(30 / 29), rel=1e-10)
        assert rows["variance"].item() == pytest.approx(1.0, rel=1e-10)


def test_readers_gamma_misses_the_identity_by_what_epsilon_adds() -> None:
    frame = measured("identity_recoverable")
    rows = frame[frame["gamma"] == "readers"]
    sigma = rows["deviation"].to_numpy(dtype=float)
    assert rows["error"].to_numpy() == pytest.approx(1 - sigma / (sigma**2 + 1e-5) ** 0.5, rel=1e-3)


def test_without_normalisation_the_bias_acts_in_proportion_to_its_size() -> None:
    frame = measured("bias_redundant")
    change = frame[(frame["norm"] == "none") & (frame["quantity"] == "change of the output")]
    for _, rows in change.groupby("layer"):
        factor = (rows["size"] / rows["bias"]).to_numpy()
        assert factor == pytest.approx(factor[0])
        assert factor[0] > 0.01


def test_outside_the_gradient_every_update_of_the_bias_is_the_same() -> None:
    frame = measure("stepwise_normalization", updates=200)
    rows = {name: chosen.set_index("update") for name, chosen in frame.groupby("transform")}
    for name in ("mean outside", "mean and variance outside"):
        first = rows[name]["gradient"][0]
        assert first > 0.01
        assert rows[name]["b"][200] == pytest.approx(200 * 0.5 * first, rel=1e-9)
        assert rows[name]["growth"][200] == pytest.approx(0.5 * first, rel=1e-6)
    assert rows["inside"]["b"][200] < 1e-12
    assert rows["none"]["loss"][200] < 0.95 * rows["none"]["loss"][0]


def test_a_loss_that_moves_and_returns_between_two_rows_is_noticed() -> None:
    every, seldom = (measure("stepwise_normalization", updates=40, every=each) for each in (1, 40))
    for name in ("none", "mean outside"):
        fine, coarse = (frame[frame["transform"] == name] for frame in (every, seldom))
        assert coarse["change"].max() == fine["change"].max()
        assert coarse["growth"].iloc[-1] == fine["growth"].iloc[1:].min()


def test_identical_samples_are_amplified_by_the_inverse_root_of_epsilon() -> None:
    frame = measured("similar_samples").set_index(["quantity", "epsilon", "deviation"])["size"]
    for epsilon in (1e-8, 1e-5, 1e-3, 0.1):
        assert frame["gain of noise", epsilon, 0.0] == pytest.approx(epsilon**-0.5, rel=1e-4)
        assert frame["gain of the gradient", epsilon, 0.0] == pytest.approx(epsilon**-0.5, rel=1e-4)
        assert frame["noise in the output", epsilon, 0.0] == pytest.approx(0.01 / (1e-4 + epsilon) ** 0.5, rel=1e-4)
    assert frame["gain of noise", 1e-5, 1.0] == pytest.approx(1.0, abs=0.02)


def test_whitening_is_timed_at_every_width_and_round_and_is_white() -> None:
    frame = measured("whitening_cost")
    layers = ["per feature", "eigenvectors", "Cholesky", "Newton–Schulz"]
    places = [(width, layer, turn) for width in (4, 8) for layer in layers for turn in (0, 1)]
    assert list(zip(frame["width"], frame["layer"], frame["round"], strict=True)) == places
    white = frame.groupby("layer")["white"].max()
    assert white.drop("per feature").max() < 1e-3
    # Features that are normalised one by one stay correlated.
    assert white["per feature"] > 0.1


def test_as_printed_the_identities_fail_by_twice_their_size_at_a_negative_scale() -> None:
    frame = measured("scale_invariance")
    at_zero = frame[frame["epsilon"] < 1e-100]
    assert set(frame.loc[frame["scale"] < 0, "scale"].abs()) == set(frame.loc[frame["scale"] > 0, "scale"])
    assert at_zero.loc[at_zero["scale"] < 0, "printed"].to_numpy() == pytest.approx(2.0)
    assert at_zero.loc[at_zero["scale"] > 0, "printed"].max() < 1e-12
    assert at_zero["error"].max() < 1e-12


def test_the_growing_bias_names_what_the_same_mistake_costs_in_training() -> None:
    frame = measured("stepwise_normalization")
    rows = [
        (variant, seed, 100, "digits", "accuracy", value + 0.01 * seed)
        for variant, value in (("ReferenceBatchNorm", 0.9), ("DetachedStatistics", 0.2))
        for seed in range(3)
    ]
    table = pd.DataFrame(rows, columns=["variant", "seed", "steps", "data", "metric", "value"])
    judgement = judge("stepwise_normalization", frame, convention_traps=table)
    [lost] = [each for each in judgement.estimates if each.arm == "DetachedStatistics"]
    assert lost.interval.value == pytest.approx(-0.7)
    assert any("(convention_traps) costs 70 points" in note for note in judgement.notes)
    alone = judge("stepwise_normalization", frame)
    assert any("python scripts/reproduce.py --experiments convention_traps" in note for note in alone.notes)
    diverged = judge("stepwise_normalization", frame, convention_traps=table[table["variant"] != "DetachedStatistics"])
    assert any("diverged" in note for note in diverged.notes)


# ------------------------------------------------------------------------------ what the verdicts turn down


class NoEpsilon(ReferenceBatchNorm):
    """Divides by σ alone."""

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, var = batch_norm_train(x, self.weight, self.bias, 1e-300)
        return y, mean, var


class OwnEpsilon(ReferenceBatchNorm):
    """Adds an ε of its own, whatever it is told."""

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return batch_norm_train(x, self.weight, self.bias, 1e-3)


class OffByAConstant(ReferenceBatchNorm):
    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, var = super().normalize(x)
        return y + 1e-4, mean, var


class ConstantStatistics(ReferenceBatchNorm):
    """Normalises by 0 and 1, whatever the batch."""

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        zeros, ones = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
        return batch_norm_inference(x, zeros, ones, self.weight, self.bias, self.eps), zeros, ones


class Uncentred(ReferenceBatchNorm):
    """Scaled to variance 1, but not centred."""

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, var = super().normalize(x)
        return y + per_channel(mean, x), mean, var


class PartOfTheMean(ReferenceBatchNorm):
    """Centred by all but a millionth of the mean."""

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, var = super().normalize(x)
        return y + 1e-6 * per_channel(mean, x), mean, var


class WithoutSign(ReferenceBatchNorm):
    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, mean, var = super().normalize(x)
        return y.abs(), mean, var


def constant_statistics(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, eps: float) -> Any:
    mean, var = batch_statistics(x.detach())
    view = (1, -1, *(1,) * (x.dim() - 2))
    y = (x - mean.view(view)) / (var + eps).sqrt().view(view) * gamma.view(view) + beta.view(view)
    return y, *batch_statistics(x)


@pytest.mark.parametrize("kernel", ["from scratch", "library"])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("normalized_activations", each) for each in (UnbiasedTrainingVariance, NoEpsilon, OffByAConstant)),
        *(
            ("identity_recoverable", each)
            for each in (UnbiasedTrainingVariance, NoEpsilon, OffByAConstant, ConstantStatistics)
        ),
        *(("scale_invariance", each) for each in (OwnEpsilon, ConstantStatistics, WithoutSign)),
        *(("bias_redundant", each) for each in (Uncentred, PartOfTheMean)),
    ],
)
def test_wrong_layer_is_contradicted(
    name: str, wrong: type[ReferenceBatchNorm], kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judge(name, measured(name)).verdict == "supported"
    monkeypatch.setitem(kernels.KERNELS, kernel, wrong)
    assert judge(name, measure(name)).verdict == "contradicted"


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("BatchNormFunction", SimpleNamespace(apply=constant_statistics)),
        ("values_per_channel", lambda x: x.numel() // x.shape[1] - 1),
        (
            "F",
            SimpleNamespace(
                batch_norm=lambda x, mean, var, *rest, **more: constant_statistics(x, *rest, more["eps"])[0]
            ),
        ),
    ],
)
def test_wrong_derivatives_are_contradicted(part: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "backward_equations"
    assert judge(name, measured(name)).verdict == "supported"
    monkeypatch.setattr(importlib.import_module(f"bnrepro.measurements.{name}"), part, wrong)
    assert judge(name, measure(name)).verdict == "contradicted"


@pytest.mark.parametrize(
    "name",
    ["normalized_activations", "identity_recoverable", "scale_invariance", "bias_redundant", "backward_equations"],
)
def test_nan_is_never_supported(name: str) -> None:
    frame = measured(name).copy()
    column = {"normalized_activations": "mean", "bias_redundant": "size"}.get(name, "error")
    for row in range(len(frame)):
        if frame.iloc[row].isin(["per feature, library", "paper", "library", "gradcheck"]).any():
            frame.loc[row, column] = math.nan
            break
    assert judge(name, frame).verdict == "contradicted"


def test_gradcheck_that_fails_decides_even_where_jacobians_agree() -> None:
    frame = measured("backward_equations").copy()
    frame.loc[frame["check"] == "gradcheck", "passed"] = 0
    assert judge("backward_equations", frame).verdict == "contradicted"


@pytest.mark.parametrize(
    ("change", "growth", "updates", "verdict"),
    [
        (1e-7, 1e-3, 1000, "supported"),
        (1e-5, 1e-3, 1000, "contradicted"),
        (1e-7, 0.0, 1000, "contradicted"),
        (1e-7, 1e-3, 999, "inconclusive"),
        (1e-7, 0.0, 999, "contradicted"),
    ],
)
def test_verdict_on_the_growing_bias(change: float, growth: float, updates: int, verdict: str) -> None:
    frame = pd.concat(
        pd.DataFrame(
            {"transform": name, "update": [0, updates], "b": [0, 1.0], "growth": [0, growth], "gradient": 1.0,
             "loss": 2.0, "change": [0, change]}
        )
        for name in ("none", "mean outside", "mean and variance outside", "inside")
    )  # fmt: skip
    assert judge("stepwise_normalization", frame).verdict == verdict


def costs(ratios: Sequence[float], dear: float = 7.0) -> pd.DataFrame:
    """Times in proportion to width and to its cube, with a given ratio at the widest in each round.

    Of two ways to whiten one costs ``dear`` times the other.
    """
    rows = []
    for width in (16, 128, 512, 1024):
        for index, ratio in enumerate(ratios):
            # Rounds that differ a little, also in their slopes, as those of a machine do.
            plain = 1e-6 * width ** (1 + 1e-3 * index)
            cheap = plain * ratio * (width / 1024) ** 2
            times = {"per feature": (plain, 0.2), "eigenvectors": (dear * cheap, 1e-4), "Cholesky": (cheap, 1e-4)}
            rows += [(width, index, layer, seconds, white, 1.0) for layer, (seconds, white) in times.items()]
    return pd.DataFrame(rows, columns=["width", "round", "layer", "seconds", "white", "core_share"])


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([40, 50, 60], "supported"),
        ([4, 5, 6], "weaker"),
        ([0.4, 0.5, 0.6], "contradicted"),
        ([0.5, 11, 60], "inconclusive"),
    ],
)
def test_verdict_on_the_cost_of_the_cheapest_whitening(ratios: list[float], verdict: str) -> None:
    judgement = judge("whitening_cost", costs(ratios))
    assert judgement.verdict == verdict
    assert judgement.primary is not None
    assert judgement.primary.interval.value == pytest.approx(math.prod(ratios) ** (1 / 3))
    exponents = {each.arm: each.interval.value for each in judgement.estimates if "exponent" in each.name}
    cubic = pytest.approx(3.001)
    assert exponents == {"per feature": pytest.approx(1.001), "eigenvectors": cubic, "Cholesky": cubic}


def test_a_cheap_layer_that_does_not_whiten_does_not_count() -> None:
    frame = costs([4, 5, 6])
    frame.loc[(frame["layer"] == "Cholesky") & (frame["width"] == 16), "white"] = 0.02
    judgement = judge("whitening_cost", frame)
    assert judgement.verdict == "supported"
    assert judgement.primary is not None
    assert judgement.primary.interval.value == pytest.approx(7 * 120 ** (1 / 3))
    assert any(note.startswith("Cholesky: does not whiten") for note in judgement.notes)
    assert judge("whitening_cost", frame.assign(white=math.nan)).verdict == "not run"


def test_an_iteration_that_stops_early_is_found_not_to_whiten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NewtonSchulzWhitening, "TOLERANCE", 0.5)
    white = measure("whitening_cost", widths=[16]).groupby("layer")["white"].max()
    assert white["Newton–Schulz"] > WHITE > white["Cholesky"]
