"""The schema of a run's configuration: Hydra composes ``configs/`` into these dataclasses.

Each field declares its key once: type, default, allowed values, and role in the identity of a run. Unknown keys and
wrong types are refused before anything starts. Only ``norm`` is open: a user's own normaliser is a YAML file with
``_target_``. ``configs/`` explains every key beside its default.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

MISSING: Any = "???"
"""OmegaConf's mark of a value that must be given. Spelled here, so that reading tables needs no library."""

if TYPE_CHECKING:
    Flag = bool
else:
    # Declared as a bool, OmegaConf would take any number for true. `checks` reads the switches.
    Flag = Any


@dataclass(frozen=True)
class Range:
    """Finite numbers from ``low`` to ``high``, both included; without ``low`` if ``open_below``."""

    low: float
    high: float = math.inf
    open_below: bool = False

    def holds(self, value: float) -> bool:
        if not math.isfinite(value) or value > self.high:
            return False
        return value > self.low if self.open_below else value >= self.low

    def __str__(self) -> str:
        least = f"above {self.low:g}" if self.open_below else f"at least {self.low:g}"
        return least if self.high == math.inf else f"{least} and at most {self.high:g}"


@dataclass(frozen=True)
class Key:
    """What a field declares of its key besides type and default.

    ``within`` and ``choices`` are the allowed values. The rest says when a key is left out of a run's identity:

    - always, if it is not ``scientific``: it cannot change a number of the run;
    - at its default, if it is ``traceless``: it does nothing there, so that a new key keeps the identity of older runs;
    - if ``with_key``, another key of its section, is left out;
    - with its whole section, if ``switched``, on the section, names a key of it that is False.
    """

    within: Range | None = None
    choices: tuple[str, ...] = ()
    scientific: bool = True
    traceless: bool = False
    with_key: str | None = None
    switched: str | None = None


def key(default: Any = MISSING, **declared: Any) -> Any:
    """A field with the attributes of :class:`Key`; a class or function as ``default`` is the factory of the value."""
    given: dict[str, Any] = {"default_factory" if callable(default) else "default": default}
    return field(**given, metadata={"key": Key(**declared)})


def key_of(place: Field[Any]) -> Key:
    """What the field ``place`` declares of its key."""
    return place.metadata.get("key", Key())


POSITIVE = Range(0, open_below=True)
COUNT, COUNT_FROM_1 = Range(0), Range(1)
SHARE = Range(0, 1)
DROPOUT = Range(0, 0.999)
ACTIVATIONS = ("sigmoid", "relu")
INITS = ("gaussian", "kaiming")


@dataclass
class ModelConfig:
    """The keys of every network; subclasses add their own. ``name`` is that of a module in ``bnrepro.models``."""

    example_cost: ClassVar[float] = 1
    """Training cost of an example relative to the fully connected network; long runs are started first."""

    name: str = MISSING
    activation: str = key("sigmoid", choices=ACTIVATIONS)
    init: str = key("gaussian", choices=INITS)
    init_scale: float = key(1.0, within=POSITIVE)


@dataclass
class MLPConfig(ModelConfig):
    name: str = "mlp"
    hidden: list[int] = key(lambda: [100, 100, 100])
    first_layer_scale: float = key(1.0, within=POSITIVE, traceless=True)
    dropout: float = key(0.0, within=DROPOUT)


@dataclass
class InceptionConfig(ModelConfig):
    example_cost: ClassVar[float] = 150
    name: str = "inception"
    activation: str = key("relu", choices=ACTIVATIONS)
    init: str = key("kaiming", choices=INITS)
    stem: int = key(16, within=Range(1, 4096))
    units: list[int] = key(lambda: [4, 6, 8])
    blocks: list[int] = key(lambda: [1, 2, 1])
    per_activation_blocks: int = key(0, within=COUNT, traceless=True)
    dropout: float = key(0.0, within=DROPOUT)
    local_response_norm: Flag = False
    channels_last: Flag = True


@dataclass
class BNInceptionConfig(ModelConfig):
    example_cost: ClassVar[float] = 40_000
    name: str = "bn_inception"
    activation: str = key("relu", choices=ACTIVATIONS)
    init: str = key("kaiming", choices=INITS)
    separable_stem: Flag = True
    pool_projection_4cd: int = key(96, within=Range(1, 4096))
    dropout: float = key(0.0, within=DROPOUT)
    local_response_norm: Flag = False
    channels_last: Flag = True


@dataclass(unsafe_hash=True)  # as the key of a cache of data sets
class DataConfig:
    """``root`` and the keys after it are about image folders.

    ``root`` is not scientific, since the fingerprint of the data is part of a run's identity.
    """

    name: str = key(choices=("mnist", "digits", "cifar10", "image_folder"))
    threshold: float | None = key(None, within=SHARE)
    validation_examples: int = key(5000, within=COUNT_FROM_1)
    train_examples: int | None = key(None, within=COUNT_FROM_1)
    standardize: Flag = key(False, traceless=True)
    enlarge: int = key(0, within=Range(0, 1024), traceless=True)
    root: str | None = key(None, scientific=False)
    title: str | None = key(None, scientific=False)
    unreadable: str = key("refuse", choices=("refuse", "skip"), traceless=True)
    stream: Flag = key(False, traceless=True)
    image_size: int = key(224, within=Range(8, 1024), with_key="stream")
    crop: float = key(0.08, within=Range(0, 1, open_below=True), with_key="stream")
    workers: int = key(4, within=Range(0, 256), scientific=False)


@dataclass
class OptimizerConfig:
    lr: float = key(within=POSITIVE)
    momentum: float = key(0.0, within=Range(0, 0.9999))
    weight_decay: float = key(0.0, within=COUNT)
    decay: float = key(1.0, within=Range(0, 1, open_below=True), traceless=True)


@dataclass
class AugmentationConfig:
    flip: Flag = key(False, traceless=True)
    shift: int = key(0, within=Range(0, 16), traceless=True)
    photometric: float = key(0.0, within=Range(0, 0.99), traceless=True)


@dataclass
class ScheduleConfig:
    """Points of training, dense at first; see :func:`~bnrepro.config.schedule.points`."""

    growth: float = key(within=SHARE)
    min_interval: int = key(within=COUNT_FROM_1)
    max_interval: int = key(within=COUNT_FROM_1)


@dataclass
class EvaluationConfig(ScheduleConfig):
    train_examples: int = key(0, within=COUNT)
    test_examples: int = key(0, within=COUNT, traceless=True)
    whole_test: int = key(10, within=Range(0, 10), with_key="test_examples")


@dataclass
class ActivationProbeConfig(ScheduleConfig):
    enabled: Flag = False
    examples: int = key(1000, within=Range(2))
    batch_every: int = key(4, within=COUNT)
    histograms: int = key(5, within=Range(0, 1000))


@dataclass
class LandscapeProbeConfig:
    enabled: Flag = False
    points: int = key(20, within=Range(1, 1000))
    shortest: float = key(0.5, within=POSITIVE)
    longest: float = key(4.0, within=POSITIVE)
    lengths: int = key(7, within=Range(2, 1000))


@dataclass
class ShiftProbeConfig:
    enabled: Flag = False
    points: int = key(20, within=Range(1, 1000))


@dataclass
class SummaryProbeConfig(ScheduleConfig):
    enabled: Flag = False
    growth: float = key(0.17, within=SHARE)
    min_interval: int = key(10, within=COUNT_FROM_1)
    max_interval: int = key(1000, within=COUNT_FROM_1)
    examples: int = key(500, within=Range(2))


@dataclass
class ProbesConfig:
    activations: ActivationProbeConfig = key(ActivationProbeConfig, switched="enabled")
    landscape: LandscapeProbeConfig = key(LandscapeProbeConfig, switched="enabled")
    shift: ShiftProbeConfig = key(ShiftProbeConfig, switched="enabled")
    summary: SummaryProbeConfig = key(SummaryProbeConfig, switched="enabled")


@dataclass
class FleetConfig:
    enabled: Flag = key(True, scientific=False)


@dataclass
class Config:
    """One training run.

    ``engine`` is what trains it: ``single``, or ``fleet-4`` for a block of four places. Sweeps choose it by themselves.
    """

    experiment: str = key(scientific=False)
    profile: str = key("full", choices=("full", "exam", "quick", "smoke"), scientific=False)
    profiles: dict[str, Any] = key(dict, scientific=False)
    treatment: str = key("batch", scientific=False)
    arm: str | None = key(None, scientific=False)
    model: ModelConfig = MISSING
    norm: Any = MISSING
    placement: str = key("before", choices=("before", "after"))
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    shuffle: str = key("examples", choices=("examples", "batches"), traceless=True)
    batch_size: int = key(within=COUNT_FROM_1)
    steps: int = key(within=COUNT)
    seed: int = key(within=Range(0, 2**31 - 1))
    evaluation: EvaluationConfig = MISSING
    probes: ProbesConfig = MISSING
    threads: int = key(1, within=Range(1, 1024))
    processes: int = key(1, within=Range(1, 4096), traceless=True)
    sync_batch_norm: Flag = key(False, traceless=True)
    device: str = key("cpu", choices=("cpu", "cuda"))
    engine: str = key("single", traceless=True)
    fleet: FleetConfig = key(FleetConfig, scientific=False)
    precision: str = key("float32", choices=("float32", "float64", "bfloat16"))
    checkpoint_every_s: float = key(15.0, within=COUNT, scientific=False)
    keep_weights: Flag = key(False, scientific=False)
    wandb: str = key("offline", choices=("offline", "online", "disabled"), scientific=False)


def default_of(place: Field[Any]) -> Any:
    """The default of a field, from its factory if it has one."""
    return place.default if place.default_factory is NO_DEFAULT else place.default_factory()


MODELS: dict[str, type[ModelConfig]] = {default_of(fields(kind)[0]): kind for kind in ModelConfig.__subclasses__()}
"""The schema of each network by name."""


def walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Key, Any]]:
    """Dotted name, :class:`Key` and value of every key of a configuration; an open node counts as one key."""
    for place in fields(node):
        name, value = f"{prefix}{place.name}", getattr(node, place.name)
        if is_dataclass(value):
            yield from walk(value, f"{name}.")
        else:
            yield name, key_of(place), value
