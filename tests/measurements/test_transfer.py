"""Shifted images, the ways to meet them, the verdict and the figure of ``transfer``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch
from judging import judge
from torch import Tensor, nn

from bnrepro import store
from bnrepro.claims.transfer import (
    DECLARED,
    FROZEN,
    LABELS,
    OUTPUT,
    OUTPUT_FROZEN,
    OUTPUT_NOT_FROZEN,
    REESTIMATED,
)
from bnrepro.data import ExampleOrder
from bnrepro.errors import ConfigError
from bnrepro.measurements import base, transfer
from bnrepro.measurements.networks import normalising_by_batch
from bnrepro.norm import BatchNorm, freeze, population_statistics
from bnrepro.runs import run
from bnrepro.stats import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED
from bnrepro.tables import Results

SHIFTS: Mapping[str, list[float]] = {"contrast": [0.5], "blur": [1.0], "inversion": [1.0]}

# ---------------------------------------------------------------------------------------------------- shifts


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 12, 12)


@pytest.mark.parametrize(("kind", "strength"), [("none", 0.0), ("contrast", 1.0), ("blur", 0.01), ("inversion", 0.0)])
def test_no_shift_is_the_identity_bit_for_bit(kind: str, strength: float, images: Tensor) -> None:
    assert torch.equal(transfer.shift(images, kind, strength), images)


def test_contrast_scales_the_distance_from_each_images_own_mean(images: Tensor) -> None:
    images[0] *= 0.1
    low = transfer.shift(images, "contrast", 0.3)
    mean = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(low.mean((1, 2, 3), keepdim=True), mean)
    torch.testing.assert_close(low - mean, 0.3 * (images - mean))


def test_blur_spreads_a_point_by_its_standard_deviation_and_loses_nothing() -> None:
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1
    for sigma in (1.0, 2.0):
        spread = transfer.shift(point, "blur", sigma)[0, 0]
        assert spread.sum() == pytest.approx(1, abs=1e-5)
        distance = torch.arange(41.0) - 20
        # The kernel ends at three standard deviations, where it has lost some hundredths of its variance.
        assert (spread.sum(0) * distance.square()).sum().sqrt() == pytest.approx(sigma, rel=0.03)


def test_blur_of_images_smaller_than_its_kernel_keeps_an_even_grey() -> None:
    grey = torch.full((2, 1, 8, 5), 0.25)
    torch.testing.assert_close(transfer.shift(grey, "blur", 4.0), grey)


def test_inversion_twice_is_the_image_again() -> None:
    binary = (torch.rand(5, 1, 8, 8) > 0.5).float()
    inverted = transfer.shift(binary, "inversion", 1.0)
    assert torch.equal(inverted, 1 - binary)
    assert torch.equal(transfer.shift(inverted, "inversion", 1.0), binary)


@pytest.mark.parametrize(
    ("kind", "strength"), [("rotation", 1.0), ("contrast", 2.0), ("blur", 0.0), ("inversion", -1.0), ("none", 1.0)]
)
def test_a_shift_that_there_is_not_is_refused(kind: str, strength: float, images: Tensor) -> None:
    with pytest.raises(ConfigError, match=f"shift {kind} of strength"):
        transfer.shift(images, kind, strength)


def test_an_image_in_letters_is_drawn_as_it_was() -> None:
    assert transfer.letters(torch.tensor([[[0.0, 1.0, 0.5], [1 / 15, 0.0, 1.0]]])) == "api/bap"


def test_after_inversion_re_estimated_statistics_turn_the_sign_of_what_a_layer_normalises(images: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), BatchNorm(4, affine=False)).double()
    images = images.double()
    inverted = transfer.shift(images, "inversion", 1.0)
    before, after = (freeze(model, population_statistics(model, [each]))(each) for each in (images, inverted))
    torch.testing.assert_close(after, -before)


# ------------------------------------------------------------------------------------------------------ ways


@pytest.fixture
def trained(finished: Callable[..., run.Planned]) -> Callable[..., base.Trained]:
    return lambda *overrides: base.load(finished("keep_weights=true", "optimizer.lr=1", *overrides))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def changed(model: nn.Module, before: Mapping[str, Tensor]) -> set[str]:
    return {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


def test_training_the_last_layer_changes_it_alone_and_statistics_only_where_bn_is_not_frozen(
    trained: Callable[..., base.Trained],
) -> None:
    each = trained("norm=batch")
    before = state(each.model)
    seen = transfer.shifted(each.dataset, "contrast", 0.5)
    found = {way: network for way, _, network in transfer.ways(each, seen, 5, [0.5])}
    assert list(found) == [FROZEN, REESTIMATED, OUTPUT_FROZEN, OUTPUT_NOT_FROZEN]
    assert changed(found[OUTPUT_FROZEN], before) == {"output.weight", "output.bias"}
    statistics = {key for key in before if key.rsplit(".", 1)[-1] in ("running_mean", "running_var")}
    moved = changed(found[OUTPUT_NOT_FROZEN], before)
    assert {key for key in moved if "num_batches" not in key} == {"output.weight", "output.bias"} | statistics
    assert changed(found[REESTIMATED], before) == statistics
    # The network that was trained is the first way, and no other has touched it.
    assert found[FROZEN] is each.model
    assert changed(each.model, before) == set()
    assert not any(module.training for network in found.values() for module in network.modules())


def test_a_network_without_statistics_has_two_ways(trained: Callable[..., base.Trained]) -> None:
    for norm in ("none", "layer"):
        each = trained(f"norm={norm}")
        before = state(each.model)
        found = {way: network for way, _, network in transfer.ways(each, each.dataset, 5, [0.5])}
        assert list(found) == [transfer.AS_TRAINED, OUTPUT]
        assert changed(found[OUTPUT], before) == {"output.weight", "output.bias"}


def test_the_last_layer_learns_what_plain_gradient_descent_on_its_inputs_learns(
    trained: Callable[..., base.Trained],
) -> None:
    each = trained("norm=batch")
    order = ExampleOrder(each.planned.config, len(each.dataset.train))
    found = transfer.tuned(each.model, each.dataset.train, order, 3, 0.5).get_submodule("output")
    inputs: list[Tensor] = []
    output = each.model.get_submodule("output")
    handle = output.register_forward_pre_hook(lambda module, args: inputs.append(args[0].detach()))
    weight, bias = (part.detach().clone() for part in output.parameters())
    for step in range(3):
        chosen = order.batch(step)
        each.model(each.dataset.train.images[chosen])
        error = (inputs[-1] @ weight.T + bias).softmax(1)
        error[torch.arange(len(chosen)), each.dataset.train.labels[chosen]] -= 1
        weight, bias = weight - 0.5 * error.T @ inputs[-1] / len(chosen), bias - 0.5 * error.mean(0)
    handle.remove()
    torch.testing.assert_close(dict(found.named_parameters()), {"weight": weight, "bias": bias})


def test_the_rate_is_chosen_on_validation_and_the_test_set_has_no_say(trained: Callable[..., base.Trained]) -> None:
    each = trained("norm=batch")
    order = ExampleOrder(each.planned.config, len(each.dataset.train))
    seen = transfer.shifted(each.dataset, "inversion", 1.0)
    rates = [1e-6, 1.0]
    assert transfer.best(each.model, seen, order, 40, rates)[0] == 1.0
    # Validation images whose labels are what the untrained network says: there the rate that changes nothing wins.
    said = each.model(seen.validation.images).argmax(1)
    agreed = dataclasses.replace(seen, validation=dataclasses.replace(seen.validation, labels=said))
    assert transfer.best(each.model, agreed, order, 40, rates)[0] == 1e-6


def test_the_table_has_every_network_under_every_shift_and_repeats_itself(trained: Callable[..., base.Trained]) -> None:
    networks = [trained(f"norm={norm}") for norm in ("none", "batch")]
    frame = transfer.measure(4, [0.1, 0.5], SHIFTS, networks)
    pd.testing.assert_frame_equal(frame, transfer.measure(4, [0.1, 0.5], SHIFTS, networks))
    assert len(frame) == 4 * (2 + 4)
    plain = frame[(frame["shift"] == "none") & frame["way"].isin([FROZEN, transfer.AS_TRAINED])]
    for each, row in zip(networks, plain.itertuples(), strict=True):
        scores = each.model(each.dataset.test.images)
        assert row.accuracy == pytest.approx((scores.argmax(1) == each.dataset.test.labels).double().mean().item())
        assert (row.gained, row.lost) == (0, 0)
    first = frame.groupby(["arm", "shift"])["accuracy"].transform("first")
    assert (first + frame["gained"] - frame["lost"]).to_numpy() == pytest.approx(frame["accuracy"].to_numpy())
    assert frame["rate"].notna().equals(frame["way"].str.startswith("last layer"))
    # Once a shift, in its first row, and each another image.
    examples = frame[frame["example"] != ""]
    assert list(examples["shift"]) == ["none", *SHIFTS]
    assert examples["example"].is_unique


def test_settings_that_make_no_sense_are_refused(trained: Callable[..., base.Trained]) -> None:
    each = trained("norm=none")
    for steps, rates, shifts in ((0, [1.0], SHIFTS), (1, [], SHIFTS), (1, [0.0], SHIFTS), (1, [1.0], {"blur": []})):
        with pytest.raises(ConfigError, match=r"steps=|shifts="):
            transfer.measure(steps, rates, shifts, [each])
    beyond = dataclasses.replace(each.dataset.test, images=2 * each.dataset.test.images)
    with pytest.raises(ConfigError, match="standardize"):
        transfer.measure(
            1, [1.0], SHIFTS, [dataclasses.replace(each, dataset=dataclasses.replace(each.dataset, test=beyond))]
        )


def test_re_estimating_on_unshifted_images_changes_accuracy_by_no_more_than_sampling_error(
    trained: Callable[..., base.Trained],
) -> None:
    for seed in range(3):
        each = trained("norm=batch", "steps=600", f"seed={seed}")
        [(_, _, model), (_, _, again), *_] = transfer.ways(each, each.dataset, 1, [0.1])
        before, after = (transfer.correct(network, each.dataset.test) for network in (model, again))
        assert before.double().mean() > 0.8
        gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
        # The binomial standard error of a paired change; one example is the least that can change.
        assert abs(gained - lost) <= max(1, 2 * math.sqrt(gained + lost))


def test_re_estimating_recovers_what_less_contrast_costs_a_trained_network(
    trained: Callable[..., base.Trained],
) -> None:
    frame = transfer.measure(1, [0.1], {"contrast": [0.1]}, [trained("norm=batch", "steps=600")])
    accuracy = frame.set_index(["shift", "way"])["accuracy"]
    assert accuracy["contrast", FROZEN] < accuracy["none", FROZEN] - 0.2
    assert accuracy["contrast", REESTIMATED] > accuracy["none", FROZEN] - 0.1


def test_while_bn_is_not_frozen_the_mini_batch_is_what_it_normalises_by(trained: Callable[..., base.Trained]) -> None:
    each = trained("norm=batch")
    seen = transfer.shifted(each.dataset, "contrast", 0.2)
    order = ExampleOrder(each.planned.config, len(seen.train))
    found = transfer.tuned(normalising_by_batch(each.model), seen.train, order, 100, 0.1)
    expected = population_statistics(each.model, seen.train.images.split(each.planned.config.batch_size))
    layer: nn.BatchNorm1d = found.get_submodule("hidden.0.norm")  # pyright: ignore[reportAssignmentType]
    assert layer.running_mean is not None
    torch.testing.assert_close(layer.running_mean, expected["hidden.0.norm"].mean, atol=0.05, rtol=0.05)


# ---------------------------------------------------------------------------------------- verdict and figure


def table(gains: Callable[[int, str], float], seeds: int = 4) -> pd.DataFrame:
    """Accuracies 0.5 under every shift and 0.9 without, but for ``gains(seed, shift)`` of re-estimating."""
    rows = []
    for shift, strength in (("none", 0.0), ("contrast", 0.5), ("blur", 1.0), ("inversion", 1.0)):
        for seed in range(seeds):
            before = 0.9 if shift == "none" else 0.5
            example = "ap/pa" if seed == 0 else ""
            for arm, way, more in (
                ("none", "as trained", 0.0), ("none", OUTPUT, 0.1),
                ("batch", FROZEN, 0.0), ("batch", REESTIMATED, gains(seed, shift)),
                ("batch", OUTPUT_FROZEN, 0.2), ("batch", OUTPUT_NOT_FROZEN, 0.3),
            ):  # fmt: skip
                share = (max(more, 0.0), max(-more, 0.0))
                rows.append((arm, seed, shift, strength, way, 0.1, 1000, before + more, *share, example))
                example = ""
    return pd.DataFrame(rows, columns=transfer.COLUMNS)


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [
        (0.1, 0.01, SUPPORTED),
        (-0.1, 0.01, CONTRADICTED),
        (0.0, 0.05, INCONCLUSIVE),
        (0.01, 0.05, INCONCLUSIVE),
    ],
)
def test_the_mean_of_the_shifts_decides(gain: float, spread: float, verdict: str) -> None:
    found = judge("transfer", table(lambda seed, shift: gain + spread * (seed - 1.5)))
    assert found.verdict == verdict
    assert found.primary is not None
    assert found.primary.interval.value == pytest.approx(gain)


def test_the_control_does_not_count_and_every_other_shift_counts_alike() -> None:
    gains = {"none": -0.4, "contrast": 0.36, "blur": 0.04, "inversion": -0.1}
    found = judge("transfer", table(lambda seed, shift: gains[shift] + 0.001 * seed))
    values = {(each.name, each.arm): each.interval.value for each in found.estimates}
    assert values["re-estimated minus frozen, mean of the shifts", "batch"] == pytest.approx(0.1 + 0.0015)
    assert values["re-estimated minus frozen, images not shifted", "batch"] == pytest.approx(-0.4 + 0.0015)
    assert values["re-estimated minus frozen, inverted", "batch"] == pytest.approx(-0.1 + 0.0015)
    assert values["frozen; mean of the shifts minus not shifted", "batch"] == pytest.approx(-0.4)
    assert values["last layer trained, BN not frozen; minus frozen, mean of the shifts", "batch"] == pytest.approx(0.3)
    assert values["last layer trained; minus as trained, mean of the shifts", "none"] == pytest.approx(0.1)
    # A mean above 0 does not hide the shift under which re-estimating does harm, nor a control that fails.
    assert found.verdict == SUPPORTED
    assert any("does harm where the images are inverted" in note for note in found.notes)
    assert any("4 of 4 changes are more than twice theirs" in note for note in found.notes)
    assert any("frozen statistics loses 40.0 points, and the arm none" in note for note in found.notes)


def test_a_control_within_its_sampling_error_is_said_to_be() -> None:
    found = judge("transfer", table(lambda seed, shift: 0.1 if shift != "none" else 0.002))
    assert any("0 of 4 changes are more than twice theirs" in note for note in found.notes)
    assert not any("does harm" in note for note in found.notes)


def test_one_seed_is_inconclusive_and_no_statistics_are_not_run() -> None:
    assert judge("transfer", table(lambda seed, shift: 0.1, seeds=1)).verdict == INCONCLUSIVE
    plain = table(lambda seed, shift: 0.1)
    found = judge("transfer", plain[plain["arm"] == "none"])
    assert found.verdict == NOT_RUN
    assert "keeps statistics" in found.notes[0]


def written(folder: Path, frame: pd.DataFrame) -> None:
    columns = "key,data,python,torch,numpy,commit,hardware,cores,settings,seconds"
    meta = f"{columns}\nabc,made up,3,2,2,c0ffee,an abacus,1,{{}},1.0\n"
    store.write_tables(
        folder / "tables", "transfer", {"transfer": [frame.to_csv(index=False)], "transfer.meta": [meta]}
    )


def test_the_figure_has_a_panel_and_an_example_a_shift_and_a_bar_a_way(tmp_path: Path) -> None:
    frame = table(lambda seed, shift: 0.1 + 0.01 * seed)
    written(tmp_path, frame)
    [(name, figure)] = DECLARED.figures(Results(tmp_path)).items()
    assert name == DECLARED.claims[0].figure
    examples, gains, panels = figure.axes[:4], figure.axes[4:8], figure.axes[8:]
    assert [axes.get_title() for axes in examples] == ["not shifted", "contrast × 0.5", "blur, σ = 1 px", "inverted"]
    assert all(axes.images[0].get_array().tolist() == [[0, 15], [15, 0]] for axes in examples)  # pyright: ignore
    for axes, before in zip(panels, (90, 50, 50, 50), strict=True):
        drawn = [text.get_text() for text in axes.texts if text.get_text()[:1].isdigit()]
        expected = (before, before + 11.5, before + 20, before + 30, before, before + 10)
        assert drawn == [f"{value:.1f}" for value in expected]
    labels = [text.get_text() for text in panels[0].get_yticklabels()]
    assert labels == list(LABELS.values())
    assert [[text.get_text() for text in axes.texts] for axes in gains] == [["+11.5"]] * 4
    nothing = frame[frame["arm"] == "none"]
    written(tmp_path / "plain", nothing)
    assert DECLARED.figures(Results(tmp_path / "plain")) == {}
