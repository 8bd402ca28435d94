"""Sweeps in Hydra's syntax become runs, the fast way or Hydra's own; bad input becomes one clear message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose

from bnrepro.config.build import from_hydra
from bnrepro.config.compose import Composer, details, expand, experiments
from bnrepro.config.identity import arm_label
from bnrepro.config.schema import Config
from bnrepro.errors import ConfigError


def test_a_sweep_is_the_product_of_its_values_in_order(sweep: Callable[..., list[Config]]) -> None:
    runs = sweep("norm=none,batch", "optimizer.lr=0.1,1", "seed=range(3)")
    assert [(run.norm["name"], run.optimizer.lr, run.seed) for run in runs] == [
        (norm, lr, seed) for norm in ("none", "batch") for lr in (0.1, 1.0) for seed in (0, 1, 2)
    ]


def test_what_is_the_same_run_twice_is_planned_once(sweep: Callable[..., list[Config]]) -> None:
    assert len(sweep("norm=none,batch", "placement=before,after")) == 3
    assert len(sweep("seed=1,1,2")) == 2


@pytest.mark.parametrize(
    "overrides",
    [
        ["norm=none,batch", "optimizer.lr=1e-3,5", "seed=0,3"],
        ["norm=none,batch", "placement=before,after", "precision=float32,float64"],
        ["norm=batch", "norm.eps=1e-3,1", "model.hidden=[3],[4,5]", "data=digits,mnist"],
        ["data.threshold=null,0.25", "data.train_examples=null,100", "norm.affine=true,false"],
        ["data=digits", "data.train_examples=null", "optimizer.lr=1,2", "seed=0,1"],
        ["experiment=mnist_training", "profile=smoke,quick", "norm=none,batch", "seed=0,1"],
        ["treatment=batch,none", "optimizer.lr=1,2"],
        ["seed=3,4", "steps=${seed}", "norm.name=x${seed}"],
        [
            "experiment=stability_limit",
            "norm=none,batch",
            "model.activation=sigmoid,relu",
            "profiles.place=0,3",
            "profiles.rung=1,17",
            "profile=full",
            "seed=1",
        ],
        [
            "experiment=depth",
            "norm=batch",
            "model.activation=sigmoid,relu",
            "profiles.depth=3,10",
            "profiles.rung=0,5",
            "profile=full",
            "seed=0,1",
        ],
        ["experiment=batch_size", "norm=batch", "batch_size=2,60", "profiles.rate=1,5", "profile=full", "seed=0"],
    ],
)
def test_copies_of_a_composed_run_are_what_hydra_itself_composes(composer: Composer, overrides: list[str]) -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    from bnrepro.config.compose import parse

    [jobs] = BasicSweeper.split_arguments([parse(text) for text in overrides], max_batch_size=None)
    expected = [from_hydra(compose("train", job)) for job in jobs]
    found = composer.sweep(overrides)
    # An experiment puts the keys that it sweeps itself first.
    assert sorted(map(repr, found)) == sorted(set(map(repr, expected)))


def test_hydra_s_own_keys_go_with_any_sweep(composer: Composer) -> None:
    """They are no keys of a run, and the runs after the first are copies of it all the same."""
    overrides = ["seed=0,1,2", "optimizer.lr=0.1,1"]
    hydras = ["hydra.launcher.n_jobs=2", "hydra.sweep.dir=elsewhere", "hydra/launcher=basic"]
    for own in (hydras[:1], hydras[1:2], hydras[2:]):
        assert composer.sweep([*overrides, *own]) == composer.sweep(overrides)
    with pytest.raises(ConfigError, match="n_jbos"):
        composer.sweep([*overrides, "hydra.launcher.n_jbos=2"])


@pytest.mark.parametrize("more", [[], ["data=digits", "data.train_examples=null", "data.validation_examples=200"]])
def test_a_large_grid_is_composed_from_files_only_a_few_times(
    more: list[str], composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(
        "bnrepro.config.compose.compose", lambda *args, **kwargs: calls.append(args) or compose(*args, **kwargs)
    )
    runs = composer.sweep(["experiment=mnist_tuning", "profile=full", *more])
    assert len(runs) >= 100
    assert len(calls) < 10


def test_an_experiment_brings_its_own_sweep(composed: Callable[..., list[Config]]) -> None:
    runs = composed("experiment=mnist_training")
    assert len(runs) == 20
    assert {run.steps for run in runs} == {50_000}
    assert {(run.norm["name"], run.seed) for run in runs} == {(n, s) for n in ("none", "batch") for s in range(10)}
    assert all(run.data.name == "mnist" and run.experiment == "mnist_training" for run in runs)


def test_overrides_narrow_widen_and_fix_an_experiments_sweep(composed: Callable[..., list[Config]]) -> None:
    assert [run.seed for run in composed("experiment=mnist_training", "norm=batch", "seed=4")] == [4]
    assert len(composed("experiment=mnist_training", "optimizer.lr=0.1,1")) == 40
    assert {run.data.name for run in composed("experiment=mnist_training", "data=digits")} == {"digits"}
    assert {run.norm["name"] for run in composed("experiment=mnist_training", "treatment=none")} == {"none"}


@pytest.mark.parametrize("profile", ["smoke", "quick", "full"])
@pytest.mark.parametrize("experiment", experiments())
def test_every_experiment_is_whole_in_every_profile(composer: Composer, experiment: str, profile: str) -> None:
    runs = composer.sweep([f"experiment={experiment}", f"profile={profile}"])
    assert runs
    assert {(run.experiment, run.profile) for run in runs} == {(experiment, profile)}
    # Paired: every arm has the same seeds.
    seeds: dict[str, set[int]] = {}
    for run in runs:
        seeds.setdefault(arm_label(run), set()).add(run.seed)
    assert len({frozenset(found) for found in seeds.values()}) == 1


BAD = [
    (["optimizer.learning_rate=0.1"], ["learning_rate", "optimizer.lr"]),
    (["stepz=10"], ["unknown key stepz", "steps"]),
    (["model.lr=1"], ["unknown key model.lr", "optimizer.lr"]),
    (["+extra=1"], ["extra", "steps"]),
    (["++optimizer.extra=1"], ["extra", "optimizer.lr"]),
    (["steps=many"], ["steps", "many"]),
    (["seed=1.5"], ["seed", "1.5"]),
    (["batch_size=0"], ["batch_size=0", "at least 1"]),
    (["optimizer.lr=0"], ["optimizer.lr=0", "above 0"]),
    (["optimizer.lr=-1"], ["optimizer.lr=-1", "above 0"]),
    (["optimizer.lr=nan"], ["optimizer.lr=nan", "finite"]),
    (["optimizer.lr=inf"], ["optimizer.lr=inf", "finite"]),
    (["steps=-1"], ["steps=-1", "at least 0"]),
    (["norm=batch", "norm.eps=nan"], ["norm.eps=nan", "must be a number"]),
    (["norm=batch", "norm._target_=5"], ["norm._target_=5", "must name a class"]),
    (["norm=batch", "norm._target_=MyNorm"], ["norm._target_=MyNorm", "mine.MyNorm"]),
    (["norm=batch", "norm._target_=null"], ["eps, momentum, affine without a class"]),
    (["norm=none", "+norm.eps=1"], ["eps without a class"]),
    *(
        ([f"{switch}={value}"], [f"{switch}=", "must be true or false"])
        for switch, value in [
            ("augmentation.flip", "1_000"),
            ("augmentation.flip", "2"),
            ("augmentation.flip", "-1"),
            ("augmentation.flip", "0.5"),
            ("augmentation.flip", "maybe"),
            ("augmentation.flip", "null"),
            ("data.stream", "7"),
            ("probes.shift.enabled", "[true]"),
            ("keep_weights", "3"),
        ]
    ),
    (["placement=middle"], ["placement=middle", "before", "after"]),
    (["norm=unknown"], ["norm/unknown", "none", "batch"]),
    (["data=unknown"], ["data/unknown", "mnist", "digits"]),
    (["model=unknown"], ["model/unknown", "mlp"]),
    (["experiment=unknown"], ["experiment/unknown", "mnist_training", "mnist_tuning"]),
    (["profile=slow"], ["profile=slow", "full", "quick", "smoke"]),
    (["seed="], ["seed"]),
    (["seed"], ["seed"]),
    (["seed=[1"], ["seed=[1", "steps=1000"]),
]


@pytest.mark.parametrize(("overrides", "named"), BAD, ids=[" ".join(case[0]) for case in BAD])
@pytest.mark.parametrize("single", [True, False], ids=["run", "multirun"])
def test_bad_input_is_refused_with_what_was_meant(
    composer: Composer, overrides: list[str], named: list[str], single: bool
) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.sweep(["data=digits", *overrides], single=single)
    message = str(caught.value)
    assert all(text in message for text in named), message
    assert "Traceback" not in message
    assert "HYDRA_FULL_ERROR" not in message


@pytest.mark.parametrize(
    ("given", "read"),
    [("true", True), ("True", True), ("yes", True), ("on", True), ("1", True), ("'1'", True), ("false", False),
     ("no", False), ("off", False), ("0", False)],
)  # fmt: skip
def test_a_switch_takes_the_words_that_hydra_takes(composer: Composer, given: str, read: bool) -> None:
    [config] = composer.sweep(["data=digits", f"augmentation.flip={given}", f"probes.shift.enabled={given}"])
    assert config.augmentation.flip is read
    assert config.probes.shift.enabled is read


def test_one_bad_value_in_a_sweep_refuses_all_of_it(composer: Composer) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr=-3"):
        composer.sweep(["norm=none,batch", "optimizer.lr=0.1,1,-3"])


def test_a_sweep_without_m_is_refused(composer: Composer) -> None:
    with pytest.raises(ConfigError, match="add -m"):
        composer.sweep(["seed=0,1"], single=True)


def test_a_users_own_folder_of_groups(tmp_path: Path) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").write_text("name: mine\n_target_: torch.nn.Identity\n", encoding="utf-8")
    with Composer(str(tmp_path)) as composer:
        [run] = composer.sweep(["norm=mine"])
        both = composer.sweep(["experiment=mnist_training", "treatment=mine", "profile=smoke"])
    assert run.norm["_target_"] == "torch.nn.Identity"
    assert {run.norm["name"] for run in both} == {"none", "mine"}
    with pytest.raises(ConfigError, match="no such folder"):
        Composer(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("swept", "expected"),
    [
        (["norm=none,batch", "seed=0,1"], {""}),
        (["norm=none,batch", "optimizer.lr=0.1,1", "seed=0,1"], {"lr0.1", "lr1"}),
        (["model=mlp,inception", "steps=20", "batch_size=4,8"], {
            f"{model}-batch_size{size}" for model in ("modelmlp", "modelinception") for size in (4, 8)
        }),
        (["model.hidden=[5],[5,5]"], {"hidden_5_", "hidden_5_5_"}),
    ],
)  # fmt: skip
def test_a_run_is_named_after_what_its_sweep_varies(swept: list[str], expected: set[str]) -> None:
    assert set(details(expand(swept))) == expected


def test_long_names_are_cut_and_still_tell_the_runs_apart() -> None:
    jobs = expand([f"model.hidden=[{','.join(['100'] * 90)}],[{','.join(['100'] * 91)}]", "optimizer.lr=1,2"])
    found = details(jobs)
    assert len(set(found)) == len(jobs) == 4
    assert max(map(len, found)) < 80


def test_the_first_run_of_a_sweep_is_composed_alone(composer: Composer) -> None:
    overrides = ["experiment=inception_training", "profile=smoke"]
    assert composer.first(overrides) == composer.sweep(overrides)[0]
