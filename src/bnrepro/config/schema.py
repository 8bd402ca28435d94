"""The schema of a run's configuration: Hydra composes ``configs/`` into these dataclasses.

An unknown key or a wrong type is refused before anything starts. ``norm`` alone is an open node: a user's own
normaliser is a YAML file with ``_target_``. Every key is explained where its default stands, in ``configs/``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf


@dataclass
class ModelConfig:
    """What every model has. Subclasses add their own keys; ``name`` picks the builder in ``bnrepro.models``."""

    name: str = MISSING
    activation: str = "sigmoid"
    init: str = "gaussian"
    init_scale: float = 1.0


@dataclass
class MLPConfig(ModelConfig):
    name: str = "mlp"
    hidden: list[int] = field(default_factory=lambda: [100, 100, 100])
    dropout: float = 0.0


@dataclass
class InceptionConfig(ModelConfig):
    name: str = "inception"
    activation: str = "relu"
    init: str = "kaiming"
    stem: int = 16
    units: list[int] = field(default_factory=lambda: [4, 6, 8])
    blocks: list[int] = field(default_factory=lambda: [1, 2, 1])
    per_activation_blocks: int = 0
    dropout: float = 0.0
    local_response_norm: bool = False
    channels_last: bool = True


@dataclass
class BNInceptionConfig(ModelConfig):
    name: str = "bn_inception"
    activation: str = "relu"
    init: str = "kaiming"
    separable_stem: bool = True
    pool_projection_4cd: int = 96
    dropout: float = 0.0
    local_response_norm: bool = False
    channels_last: bool = True


@dataclass
class DataConfig:
    """``root`` and ``title`` are an image folder's place and its name in figures; what follows them is about it too."""

    name: str = MISSING
    threshold: float | None = None
    validation_examples: int = 5000
    train_examples: int | None = None
    standardize: bool = False
    enlarge: int = 0
    root: str | None = None
    title: str | None = None
    unreadable: str = "refuse"
    stream: bool = False
    image_size: int = 224
    crop: float = 0.08
    workers: int = 4


@dataclass
class OptimizerConfig:
    lr: float = MISSING
    momentum: float = 0.0
    weight_decay: float = 0.0
    decay: float = 1.0


@dataclass
class AugmentationConfig:
    flip: bool = False
    shift: int = 0
    photometric: float = 0.0


@dataclass
class ScheduleConfig:
    """Points of training, dense at first: the interval after step t is growth·t, kept within [min, max]."""

    growth: float = MISSING
    min_interval: int = MISSING
    max_interval: int = MISSING


@dataclass
class EvaluationConfig(ScheduleConfig):
    train_examples: int = 0
    test_examples: int = 0
    whole_test: int = 10


@dataclass
class ActivationProbeConfig(ScheduleConfig):
    enabled: bool = False
    examples: int = 1000
    batch_every: int = 4
    histograms: int = 5


@dataclass
class LandscapeProbeConfig:
    enabled: bool = False
    points: int = 20
    shortest: float = 0.5
    longest: float = 4.0
    lengths: int = 7


@dataclass
class ShiftProbeConfig:
    enabled: bool = False
    points: int = 20


@dataclass
class ProbesConfig:
    activations: ActivationProbeConfig = field(default_factory=ActivationProbeConfig)
    landscape: LandscapeProbeConfig = field(default_factory=LandscapeProbeConfig)
    shift: ShiftProbeConfig = field(default_factory=ShiftProbeConfig)


@dataclass
class Config:
    """One training run. Every key is explained where its default stands: ``configs/train.yaml``."""

    experiment: str = MISSING
    profile: str = "full"
    profiles: dict[str, Any] = field(default_factory=dict)
    treatment: str = "batch"
    arm: str | None = None
    model: ModelConfig = MISSING
    norm: Any = MISSING
    placement: str = "before"
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    shuffle: str = "examples"
    batch_size: int = MISSING
    steps: int = MISSING
    seed: int = MISSING
    evaluation: EvaluationConfig = MISSING
    probes: ProbesConfig = MISSING
    threads: int = 1
    processes: int = 1
    sync_batch_norm: bool = False
    continue_from: str | None = None
    device: str = "cpu"
    precision: str = "float32"
    checkpoint_every_s: float = 15.0
    keep_weights: bool = False
    wandb: str = "offline"


def register_schema() -> None:
    """Make the dataclasses known to Hydra, as ``schema`` groups that the YAML files build on."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=Config, package="_global_")
    store.store(group="schema/model", name="mlp", node=MLPConfig)
    store.store(group="schema/model", name="inception", node=InceptionConfig)
    store.store(group="schema/model", name="bn_inception", node=BNInceptionConfig)
    # The little arithmetic that sweeps over the batch size need: as many examples in all, and a rate for each size.
    OmegaConf.register_new_resolver("quotient", lambda total, part: max(total // part, 1), replace=True)
    OmegaConf.register_new_resolver(
        "root_scaled", lambda value, size, at: float(f"{value * math.sqrt(size / at):.3g}"), replace=True
    )
