"""How the paper's own network is counted: against others' counts, by hand, and in the report."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch

from bnrepro import tables
from bnrepro.claims import network_size as claims
from bnrepro.config.compose import Composer
from bnrepro.config.schema import BNInceptionConfig
from bnrepro.measurements import base, network_size
from bnrepro.models.blocks import Recipe
from bnrepro.models.bn_inception import BNInception
from bnrepro.report import judge, markdown
from bnrepro.tables import Results

META = torch.device("meta")


def network(separable: bool = True, projection: int = 96) -> BNInception:
    """Its shapes, without weights."""
    config = BNInceptionConfig(separable_stem=separable, pool_projection_4cd=projection)
    with META:
        return BNInception(Recipe(config, network_size.NORM, "before", 0), (3, 224, 224), 1000)


@cache
def measured() -> pd.DataFrame:
    return network_size.measure([96, 128], 1000, 224)


def test_the_published_networks_of_others_are_this_one_to_the_parameter() -> None:
    # The BN-Inception of pretrained-models.pytorch, which imgclsmob counts as 11,295,240: the table as printed, a plain
    # first convolution, and a bias in every convolution beside γ and β.
    plain = network_size.parameter_counts(network(separable=False, projection=128))
    channels = plain["γ and β"] // 2
    assert sum(plain.values()) + channels == 11_295_240
    # Inception v2 of TF-Slim, whose test counts 10,173,112 variables before the classifier: no γ, but running means
    # and variances, and in the place of all three a bias after the first convolution.
    own = network_size.parameter_counts(network())
    channels = own["γ and β"] // 2
    assert own["convolutions"] + 3 * (channels - 64) + 64 == 10_173_112


def test_the_first_convolution_is_as_small_as_googlenet_s() -> None:
    # Szegedy et al. 2014, Table 1, gives it 2.7 thousand parameters: a plain one would have 9.4.
    weights = {}
    for separable in (True, False):
        first = network(separable).stem.get_submodule("conv1")
        weights[separable] = network_size.parameter_counts(first)["convolutions"]
    assert weights == {True: 2712, False: 9408}


def test_multiply_adds_are_weights_times_positions() -> None:
    costs = measured().query("quantity == 'multiply-adds'").set_index(["projection", "stem", "part"])["count"]
    assert set(costs[:, :, "classifier"]) == {1024 * 1000}
    saved = costs[96, "plain", "convolutions"] - costs[96, "separable", "convolutions"]
    assert saved == (7 * 7 * 3 * 64 - 2712) * 112**2
    # What the 32 channels more of 4c and 4d cost: themselves, and in all that reads them.
    wider = costs[128, "plain", "convolutions"] - costs[96, "plain", "convolutions"]
    of_4c, of_4d, of_4e, of_5a = 576, (576 + 128) + (96 + 128 + 160), 128 + 192, 352 + 192 + 160 + 128
    assert wider == 32 * (14**2 * (of_4c + of_4d + of_4e) + 7**2 * of_5a)


def test_the_parts_are_the_network_and_the_readings_are_not() -> None:
    frame = measured().query("quantity == 'parameters'").set_index(["projection", "stem", "part"])["count"]
    own = frame.loc[96].loc["separable"]
    assert own[claims.PARTS].sum() == network_size.count(network())
    extra = own.drop(claims.PARTS)
    assert extra["a fully connected layer of 1,024 before the classifier"] == 1024 * 1025
    one, two = (extra.filter(like=f"{many} auxiliary").iloc[0] for many in ("one", "both"))
    assert one == (576 + 1) * 128 + (2048 + 1) * 1024 + (1024 + 1) * 1000
    assert two == 2 * one
    assert extra.filter(like="at most 128").item() < 0 < extra.filter(like="5×5").item()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder that holds the measurement alone, brought there as any other is."""
    monkeypatch.setattr(network_size, "measure", lambda **settings: measured())
    with Composer() as composer:
        item = base.plan(composer, "network_size")
        assert item.settings == {"projections": [96, 128], "classes": 1000, "side": 224}
        base.execute(item)
    tables.write_measurement(item.folder, tmp_path / "made")
    return tmp_path / "made"


def test_the_section_says_what_comes_near_and_what_does_not(folder: Path) -> None:
    text = claims.section(Results(folder))
    assert "| 96 | separable | 10,143,384 | 19,904 | 1,025,000 | 11.19 | 1.93 |" in text
    assert "The table makes 11.19 to 11.29 million" in text
    assert text.count("\n| ") == 2 + 4 + measured()["part"].nunique() - len(claims.PARTS)
    assert "Rounding to 13.6: one auxiliary classifier as Inception v3 has it, 768 wide, after 4d." in text


def test_the_report_prints_the_section_of_a_measurement_that_was_made(folder: Path, tmp_path: Path) -> None:
    title = "## The network of the appendix, counted"
    assert markdown.as_markdown(judge.judge(Results(folder))).count(title) == 1
    assert title not in markdown.as_markdown(judge.judge(Results(tmp_path / "nothing")))
