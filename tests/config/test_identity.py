"""The schema refuses what it should, and a run's key depends on every scientific value and on nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from bnrepro import store, tables
from bnrepro.config import identity as configuration
from bnrepro.config.build import from_record
from bnrepro.config.checks import validated
from bnrepro.config.identity import arm_label, identity, run_key, scientific
from bnrepro.config.schema import Config, Key, ProbesConfig, walk
from bnrepro.errors import ConfigError
from bnrepro.store import RunRecord, flatten, unflatten

FINGERPRINT = "0123456789abcdef"
PROBES_ON = [f"probes.{field.name}.enabled=true" for field in fields(ProbesConfig)]


MODELS = ("mlp", "inception", "bn_inception")


def leaf_keys(model: str = "mlp") -> list[str]:
    """Every key of a run with a normaliser and all probes on."""
    flat = flatten(full(model=model))
    return sorted(key for key in flat if not key.startswith("profiles"))


def full(key: str = "", model: str = "mlp") -> Config:
    """A run of ``model``, or of the one that alone has ``key``."""
    from bnrepro.config.compose import Composer

    model = _ALONE.get(key, model)
    if model not in _CACHE:
        everything = ["data=digits", "norm=batch", "evaluation.test_examples=50", "data.stream=true", *PROBES_ON]
        with Composer() as composer:
            [_CACHE[model]] = composer.sweep([*everything, f"model={model}"])
    return copy.deepcopy(_CACHE[model])


_CACHE: dict[str, Config] = {}
_ALONE = {
    "model.stem": "inception",
    "model.per_activation_blocks": "inception",
    "model.pool_projection_4cd": "bn_inception",
}


def said(model: str = "mlp") -> dict[str, Key]:
    """What the schema says of every key of a run of ``model``."""
    return {name: key for name, key, _ in walk(full(model=model))}


ALL_KEYS = {name: key for model in MODELS for name, key in said(model).items()}
CHOICES = {name: key.choices for name, key in ALL_KEYS.items() if key.choices}
RANGES = {name: key.within for name, key in ALL_KEYS.items() if key.within is not None}


def set_key(config: Config, dotted: str, value: object) -> None:
    node: object = config
    *parents, leaf = dotted.split(".")
    for parent in parents:
        node = node[parent] if isinstance(node, dict) else getattr(node, parent)
    if isinstance(node, dict):
        node[leaf] = value
    else:
        assert hasattr(node, leaf)
        setattr(node, leaf, value)


def other(value: object) -> object:
    """A value that is not ``value``, of its type where it has one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, list):
        return [*value, 7]
    return "other" if value is None or isinstance(value, str) else None


# -------------------------------------------------------------------------------------------------- identity


@pytest.mark.parametrize("key", leaf_keys())
def test_every_scientific_key_and_no_other_is_part_of_the_identity(key: str) -> None:
    config = full()
    before = run_key(config, FINGERPRINT)
    value = flatten(config)[key]
    set_key(config, key, "torch.nn.Identity" if key == "norm._target_" else other(value))
    changed = run_key(config, FINGERPRINT) != before
    assert changed == (key not in VIEWS_AND_PLACES)


VIEWS_AND_PLACES = {
    "experiment", "profile", "profiles", "treatment", "arm", "data.root", "data.title", "data.workers", "wandb",
    "checkpoint_every_s", "keep_weights", "fleet.enabled",
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_what_is_not_scientific_is_a_short_list_of_views_and_places(model: str) -> None:
    assert {name for name, key in said(model).items() if not key.scientific} == VIEWS_AND_PLACES


TRACELESS = {
    "optimizer.decay": 1.0, "augmentation.flip": False, "augmentation.shift": 0, "augmentation.photometric": 0.0,
    "shuffle": "examples", "data.standardize": False, "data.enlarge": 0, "evaluation.test_examples": 0,
    "data.unreadable": "refuse", "data.stream": False, "processes": 1, "sync_batch_norm": False,
    "model.per_activation_blocks": 0, "engine": "single",
}  # fmt: skip
"""Spelled out: another default would change the identity of committed runs."""
MEANINGLESS_WITH = {
    "evaluation.test_examples": {"evaluation.whole_test"}, "data.stream": {"data.image_size", "data.crop"}
}  # fmt: skip


def test_the_keys_without_a_trace_are_these() -> None:
    assert {name for name, key in ALL_KEYS.items() if key.traceless} == set(TRACELESS)


@pytest.mark.parametrize("key", TRACELESS)
def test_a_key_that_does_nothing_leaves_no_trace(key: str) -> None:
    config = full(key)
    set_key(config, key, TRACELESS[key])
    kept = flatten(scientific(config))
    assert not {key, *MEANINGLESS_WITH.get(key, ())} & set(kept)
    set_key(config, key, other(TRACELESS[key]))
    assert key in flatten(scientific(config))
    assert set(flatten(scientific(config))) >= MEANINGLESS_WITH.get(key, set())


def test_the_keys_of_all_committed_runs_are_what_this_code_computes() -> None:
    """From their rows alone: no default, range or name of the schema may move under them."""
    results, count = tables.Results(store.REPOSITORY / "results"), 0
    for path in sorted((results.folder / "tables").glob("*.runs.csv")):
        name = path.name.removesuffix(".runs.csv")
        timing = {row["run"]: row for row in results.records(f"{name}.timing")}
        built: dict[str, Config] = {}  # runs that differ in the seed alone are built once
        for row in results.records(f"{name}.runs"):
            record = RunRecord.from_rows(row, timing[row["run"]])
            others = repr({key: value for key, value in record.config.items() if key != "seed"})
            if others not in built:
                built[others] = from_record(name, record.config)
            config = replace(built[others], seed=record.seed)
            assert run_key(config, record.fingerprint) == record.key, row["run"]
            count += 1
    assert count >= 1320


def test_a_record_never_runs_a_class_of_its_own_choice() -> None:
    recorded = scientific(full())
    recorded["norm"] = {"name": "evil", "_target_": "os.getcwd"}
    with pytest.raises(ConfigError, match=r"os\.getcwd"):
        from_record("x", recorded)


@pytest.mark.parametrize("change", [{"model": {"name": "other"}}, {"model": 3}, {"nonsense": 1}, {"norm": None}])
def test_a_record_that_is_no_configuration_is_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="x: the record of a run is no configuration"):
        from_record("x", scientific(full()) | change)


def test_the_key_depends_on_data_and_code_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = full()
    keys = {run_key(config, FINGERPRINT), run_key(config, "another")}
    monkeypatch.setattr(configuration, "CODE_EPOCH", configuration.CODE_EPOCH + 1)
    keys.add(run_key(config, FINGERPRINT))
    assert len(keys) == 3


def test_settings_of_a_disabled_probe_are_no_part_of_the_key() -> None:
    one, two = full(), full()
    for config in (one, two):
        for switch in PROBES_ON:
            set_key(config, switch.partition("=")[0], False)
    two.probes.activations.examples += 1
    two.probes.landscape.lengths += 1
    two.probes.shift.points += 1
    assert run_key(one, FINGERPRINT) == run_key(two, FINGERPRINT)
    assert scientific(one)["probes"] == {}


def test_the_key_is_the_same_in_every_process_and_order_of_keys() -> None:
    config = full()
    before = run_key(config, FINGERPRINT)
    config.norm = dict(reversed(config.norm.items()))
    assert run_key(config, FINGERPRINT) == before
    assert len(before) == 16
    int(before, 16)


def test_the_source_of_a_users_own_layer_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "own_layer_of_a_user.py"
    source.write_text("class Mine: pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = full()
    config.norm = {"_target_": "own_layer_of_a_user.Mine"}
    before = run_key(config, FINGERPRINT)
    assert run_key(config, FINGERPRINT) == before
    source.write_text("class Mine: x = 1\n", encoding="utf-8")
    assert run_key(config, FINGERPRINT) != before


def test_a_users_layer_that_is_nowhere_is_refused_by_name() -> None:
    config = full()
    config.norm = {"_target_": "no_such_module_at_all.Mine"}
    with pytest.raises(ConfigError, match=r"no_such_module_at_all\.Mine.*PYTHONPATH"):
        run_key(config, FINGERPRINT)


def test_flatten_and_unflatten_are_inverse() -> None:
    tree = asdict(full())
    tree.pop("profiles")
    assert unflatten(flatten(tree)) == tree


# ---------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        (("norm=none",), "none"),
        (("norm=none", "placement=after"), "none"),
        (("norm=batch",), "batch"),
        (("norm=batch", "placement=after"), "batch-after"),
    ],
)
def test_the_arm_is_named_after_the_resolved_configuration(
    small: Callable[..., Config], overrides: tuple[str, ...], label: str
) -> None:
    assert arm_label(small(*overrides)) == label


def test_without_a_normaliser_both_placements_are_one_run(small: Callable[..., Config]) -> None:
    before, after = small("norm=none", "placement=before"), small("norm=none", "placement=after")
    assert run_key(before, FINGERPRINT) == run_key(after, FINGERPRINT)
    own = small("norm=batch", "placement=after")
    assert run_key(own, FINGERPRINT) != run_key(small("norm=batch"), FINGERPRINT)


def test_a_layer_without_a_name_is_called_by_its_class() -> None:
    config = full()
    config.norm = {"_target_": "torch.nn.Identity"}
    assert arm_label(validated(config)) == "Identity"


# ------------------------------------------------------------------------------------------------ validation


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_a_value_outside_the_choices_is_refused_with_all_of_them(key: str) -> None:
    config = full()
    set_key(config, key, "middle")
    with pytest.raises(ConfigError) as caught:
        validated(config)
    assert f"{key}=middle" in str(caught.value)
    assert all(choice in str(caught.value) for choice in CHOICES[key])


@pytest.mark.parametrize("key", sorted(RANGES))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1])
def test_values_out_of_range_or_not_finite_are_refused(key: str, value: float) -> None:
    config = full(key)
    set_key(config, key, value)
    with pytest.raises(ConfigError, match=key.replace(".", r"\.") + "=.*must be finite"):
        validated(config)


@pytest.mark.parametrize("key", sorted(RANGES))
def test_the_edges_of_a_range_are_as_they_are_documented(key: str) -> None:
    within = RANGES[key]
    for edge, allowed in ((within.low, not within.open_below), (within.high, True)):
        config = full(key)
        set_key(config, key, edge)
        section, _, leaf = key.rpartition(".")
        if leaf == "max_interval":
            set_key(config, f"{section}.min_interval", 1)
        if leaf == "processes":
            config.batch_size = 4096
            config.probes.landscape.enabled = config.probes.shift.enabled = False
        if allowed and math.isfinite(edge):
            validated(config)
        else:
            with pytest.raises(ConfigError, match=key):
                validated(config)


@pytest.mark.parametrize("model", MODELS)
def test_every_number_of_the_schema_has_a_range(model: str) -> None:
    numbers = {
        key
        for key, value in flatten(full(model=model)).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not key.startswith(("norm.", "profiles"))
    }
    assert numbers <= set(RANGES)


def test_all_faults_are_told_at_once() -> None:
    config = full()
    config.optimizer.lr, config.batch_size, config.placement = 0.0, 0, "middle"
    with pytest.raises(ConfigError) as caught:
        validated(config)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("hidden", [[], [0], [5, -1]])
def test_a_network_without_units_is_refused(hidden: list[int]) -> None:
    config = full()
    config.model.hidden = hidden  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="layer widths"):
        validated(config)


@pytest.mark.parametrize(
    "key", ["evaluation.min_interval", "probes.activations.min_interval", "probes.landscape.shortest"]
)
def test_an_interval_whose_ends_are_swapped_is_refused(key: str) -> None:
    config = full()
    set_key(config, key, 600)
    with pytest.raises(ConfigError, match=key):
        validated(config)


@pytest.mark.parametrize("name", ["a/b", "", "a b", "../x", "a,b"])
def test_a_name_that_cannot_name_a_file_is_refused(name: str) -> None:
    config = full()
    config.experiment = name
    with pytest.raises(ConfigError, match="it names files"):
        validated(config)
    config = full()
    config.norm["name"] = name or "/"
    with pytest.raises(ConfigError, match="it names files"):
        validated(config)
    config = full()
    config.arm = name
    with pytest.raises(ConfigError, match=r"^arm=.*stands in tables"):
        validated(config)


@pytest.mark.parametrize(
    "norm",
    [None, {}, "batch", 1, [1], {"eps": 1.0}, {"name": "mine"}, {"name": "mine", "target": "mine.MyNorm"},
     {"_target_": 5}, {"_target_": "mine"}, {"_target_": "a b.c"}, {"_target_": ".mine.MyNorm"},
     {"_target_": ["mine.MyNorm"]},
     {"_target_": "mine.MyNorm", "inner": {"scale": float("nan")}}],
)  # fmt: skip
def test_a_norm_that_describes_nothing_is_refused(norm: object) -> None:
    config = full()
    config.norm = norm
    with pytest.raises(ConfigError, match=r"^norm") as caught:
        validated(config)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("target", ["os.getcwd", "sys.exit", "time.time", "no_such.Norm", "package_that_fails.m.Norm"])
def test_a_target_without_a_source_file_makes_no_traceback(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package_that_fails").mkdir()
    (tmp_path / "package_that_fails" / "__init__.py").write_text("raise OSError('no licence')")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = full()
    config.norm = {"name": "mine", "_target_": target}
    if target.startswith("package"):
        identity(config, "data")  # its own message tells what is wrong, when the layer is built
    else:
        with pytest.raises(ConfigError, match=f"norm._target_={target}: no source file"):
            identity(config, "data")


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_explained_where_its_default_stands(model: str) -> None:
    folder = Path(__file__).resolve().parents[2] / "configs"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.yaml")))
    for key in leaf_keys(model):
        leaf = key.rpartition(".")[2]
        lines = [line for line in text.splitlines() if line.strip().startswith(f"{leaf}:")]
        assert lines, f"{key} has no default in configs/"
        # A section's own line, and schedules explained once, speak for what stands below them.
        explained = any("#" in line for line in lines) or leaf in ("_target_", "name", "enabled")
        assert explained, f"{key} is not explained in configs/"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"processes": 7}, "7 processes cannot share it evenly"),
        ({"sync_batch_norm": True}, "needs several processes and device=cuda"),
        ({"precision": "bfloat16"}, "compare gradients"),
        ({"processes": 2}, "with one process only"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, object], expected: str) -> None:
    config = full()
    for key, value in values.items():
        set_key(config, key, value)
    with pytest.raises(ConfigError, match=expected):
        validated(config)
