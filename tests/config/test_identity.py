"""The schema refuses what it should, and a run's key depends on every scientific value and on nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from bnrepro.config import identity as configuration
from bnrepro.config.checks import CHOICES, RANGES
from bnrepro.config.identity import NOT_SCIENTIFIC, arm_label, flatten, run_key, scientific, unflatten, validated
from bnrepro.config.schema import Config, DataConfig, EvaluationConfig, InceptionConfig, OptimizerConfig, ProbesConfig
from bnrepro.errors import ConfigError

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
    assert changed == (not {key, key.partition(".")[0]} & set(NOT_SCIENTIFIC))


def test_what_is_not_scientific_is_a_short_list_of_views_and_places() -> None:
    names = {"experiment", "profile", "profiles", "treatment", "arm", "data.root", "data.title"}
    views_and_places = names | {"data.workers", "wandb", "checkpoint_every_s", "keep_weights"}
    assert set(NOT_SCIENTIFIC) == views_and_places


@pytest.mark.parametrize("key", configuration.NEUTRAL)
def test_a_key_that_does_nothing_leaves_no_trace(key: str) -> None:
    config = full(key)
    set_key(config, key, configuration.NEUTRAL[key])
    kept = flatten(scientific(config))
    assert not {key, *configuration.WITHOUT_MEANING.get(key, ())} & set(kept)
    # What is missing from a record reads as its neutral value: the schema's own default must be that.
    sections = {"optimizer": OptimizerConfig(), "data": DataConfig(), "evaluation": EvaluationConfig()}
    default = Config(model=InceptionConfig(), norm={}, probes=ProbesConfig(), **sections)  # type: ignore[arg-type]
    defaults = flatten(default)
    assert defaults[key] == configuration.NEUTRAL[key]
    set_key(config, key, other(configuration.NEUTRAL[key]))
    assert key in flatten(scientific(config))


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
    source.write_text("class Mine: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = full()
    config.norm = {"_target_": "own_layer_of_a_user.Mine"}
    before = run_key(config, FINGERPRINT)
    assert run_key(config, FINGERPRINT) == before
    source.write_text("class Mine: x = 1\n")
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
    low, high, inclusive = RANGES[key]
    for edge, allowed in ((low, inclusive), (high, True)):
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


@pytest.mark.parametrize("norm", [None, {}, "batch", {"eps": 1.0}])
def test_a_norm_that_describes_nothing_is_refused(norm: object) -> None:
    config = full()
    config.norm = norm
    with pytest.raises(ConfigError, match="norm"):
        validated(config)


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_explained_where_its_default_stands(model: str) -> None:
    folder = Path(__file__).resolve().parents[2] / "configs"
    text = "\n".join(path.read_text() for path in sorted(folder.rglob("*.yaml")))
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
