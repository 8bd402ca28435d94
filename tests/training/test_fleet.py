"""Many runs as one program: the same as alone, and not one bit different for its company."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from bnrepro import data
from bnrepro.config.compose import Composer
from bnrepro.config.schema import Config
from bnrepro.training import checkpoint
from bnrepro.training.fleet import Block, Seat, needed, shape
from bnrepro.training.fleet.stack import Stepper
from bnrepro.training.fleet.trial import refusal
from bnrepro.training.loop import Trainer
from bnrepro.training.state import Callbacks, Placed

MLP = ("model.hidden=[16,12]", "placement=before", "model.activation=sigmoid")
INCEPTION = ("model=inception", "model.stem=4", "model.units=[1,2]", "model.blocks=[1,1]", "placement=before")
SET = {
    "group": ("norm.num_groups=2",),
    "filter_response": ("norm.eps=0.1",),
    "batch_renorm": ("norm.steps=60",),  # so that runs of other lengths have the same layers
}
"""In groups of two or three features a difference of one unit in the last place grows a hundred million times; a single
value over a root of almost its square is nearly a sign."""
OTHERS = ("rms", "weight", "batch_renorm", "ghost_batch", "filter_response", "dynamic_tanh")
NORMS = ("none", "batch", "batch_no_affine", "reference_batch", "group", "layer", "batch_noisy", *OTHERS)
RUNS = ("optimizer.lr=0.1,0.3", "seed=0,1,2")


@pytest.fixture(scope="module")
def configs() -> Callable[..., list[Config]]:
    def composed(*overrides: str) -> list[Config]:
        common = ("data=digits", "data.validation_examples=200", "batch_size=20", "steps=60", "wandb=disabled")
        with Composer() as composer:
            return composer.sweep([*common, *overrides])

    return composed


def trained(runs: Sequence[Config], width: int, first: Callable[[Block], None] = lambda block: None) -> list[Seat]:
    placed = Placed.of(runs[0], data.load(runs[0].data))
    seats = [Seat(run, placed) for run in runs]
    block, ended = Block(seats[0], width), list[Seat]()
    first(block)
    block.train(seats, ended.append)
    assert len(ended) == len(seats)
    return seats


def alone(run: Config) -> Trainer:
    trainer = Trainer(run, data.load(run.data))
    trainer.run()
    return trainer


def distance(one: Trainer | Seat, other: Trainer | Seat) -> float:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


def equal(one: Trainer | Seat, other: Trainer | Seat) -> bool:
    return distance(one, other) == 0 and one.progress.tables == other.progress.tables


# ------------------------------------------------------------------------------------- as if it were alone


@pytest.mark.parametrize("norm", NORMS)
def test_a_run_in_a_fleet_is_the_run_alone(norm: str, configs: Callable[..., list[Config]]) -> None:
    runs = configs(
        *MLP,
        f"norm={norm}",
        *SET.get(norm, ()),
        "steps=200",
        "precision=float64",
        "optimizer.lr=0.05,0.1",
        "seed=0,1,2",
    )
    assert len(runs) == 6
    for seat in trained(runs, width=4):
        trainer = alone(seat.config)
        assert distance(trainer, seat) < 1e-9
        assert trainer.progress.tables == seat.progress.tables
        assert trainer.progress.last_step == seat.progress.last_step == 200


@pytest.mark.parametrize("norm", NORMS)
def test_with_everything_that_can_be_stacked(norm: str, configs: Callable[..., list[Config]]) -> None:
    runs = configs(
        "model.hidden=[16,12]", f"norm={norm}", *SET.get(norm, ()), "model.activation=relu",
        f"placement={'before' if norm == 'weight' else 'after'}",
        "model.dropout=0.3",
        "optimizer.momentum=0,0.9", "optimizer.weight_decay=0.001", "optimizer.decay=0.1", "model.init_scale=0.2,0.3",
        "optimizer.lr=0.003", "precision=float64", "evaluation.train_examples=100", "probes.activations.enabled=true",
        "data.train_examples=400", "shuffle=batches", "augmentation.shift=1", "augmentation.photometric=0.2",
    )  # fmt: skip
    for seat in trained(runs, width=3):
        trainer = alone(seat.config)
        assert distance(trainer, seat) < 1e-9
        assert trainer.progress.tables == seat.progress.tables


def test_in_single_precision_too(configs: Callable[..., list[Config]]) -> None:
    for seat in trained(configs(*MLP, "norm=batch", "steps=20", *RUNS), width=4):
        assert distance(alone(seat.config), seat) < 1e-5


@pytest.mark.parametrize("norm", ["none", "batch", "reference_batch", "group", "instance", *OTHERS])
def test_an_inception_in_a_fleet_is_the_inception_alone(norm: str, configs: Callable[..., list[Config]]) -> None:
    runs = configs(
        *INCEPTION, f"norm={norm}", *SET.get(norm, ()), "data.enlarge=24", "steps=6", "batch_size=8",
        "precision=float64", "model.dropout=0.3", "seed=0,1",
        "augmentation.flip=true", "augmentation.shift=2", "optimizer.lr=0.05", "model.local_response_norm=true",
        "evaluation.test_examples=60", "evaluation.whole_test=2",
    )  # fmt: skip
    for seat in trained(runs, width=3):
        trainer = alone(seat.config)
        assert distance(trainer, seat) < 1e-9
        assert trainer.progress.tables == seat.progress.tables


def test_probes_that_rehearse_a_step_see_the_draws_of_that_step(configs: Callable[..., list[Config]]) -> None:
    runs = configs(
        *MLP, "norm=batch", "model.dropout=0.3", "precision=float64", "probes.shift.enabled=true", "seed=0,1",
        "probes.landscape.enabled=true", "probes.landscape.points=3", "probes.shift.points=3", "optimizer.lr=0.1",
    )  # fmt: skip
    for seat in trained(runs, width=2):
        trainer = alone(seat.config)
        assert trainer.progress.tables == seat.progress.tables


@pytest.mark.parametrize("norm", ["none", "batch", "batch_noisy"])
def test_a_probe_with_a_memory_keeps_it_in_a_fleet(norm: str, configs: Callable[..., list[Config]]) -> None:
    runs = configs(
        *MLP, f"norm={norm}", "model.dropout=0.3", "precision=float64", "probes.summary.enabled=true", "seed=0,1,2",
        "probes.summary.min_interval=3", "optimizer.lr=0.1",
    )  # fmt: skip
    placed = Placed.of(runs[0], data.load(runs[0].data))
    for seat in trained(runs, width=2):
        tables = seat.progress.tables
        assert tables["drift"]
        assert alone(seat.config).progress.tables == tables
        payloads: list[bytes] = []
        stopped = Seat(seat.config, placed, Callbacks(on_checkpoint=payloads.append))
        stopped.config.checkpoint_every_s = 1e-9
        Block(stopped, 2).train([stopped], lambda seat: None)
        resumed = Seat(seat.config, placed)
        checkpoint.restore(resumed, payloads[len(payloads) // 2])
        assert 0 < resumed.progress.step < 60
        Block(resumed, 2).train([resumed], lambda seat: None)
        assert resumed.progress.tables == tables


# ------------------------------------------------------------------------------------- whoever sits beside it


@pytest.mark.parametrize("norm", NORMS)
def test_a_run_does_not_notice_its_companions(norm: str, configs: Callable[..., list[Config]]) -> None:
    common = (*MLP, f"norm={norm}", *SET.get(norm, ()), "model.dropout=0.2", "batch_size=50")
    runs = configs(*common, *RUNS)
    first = trained(runs, width=4)
    again = trained(runs[::-1], width=4)[::-1]
    assert all(equal(one, other) for one, other in zip(first, again, strict=True))
    [lonely] = trained(runs[:1], width=4)
    wild = trained([runs[0], *configs(*common, "optimizer.lr=1e30", "seed=7,8")], width=4)[0]
    short = trained([*configs(*common, "steps=7,23", "seed=9", "optimizer.lr=0.1"), runs[0]], width=4)[-1]
    assert equal(lonely, first[0])
    assert equal(wild, first[0])
    assert equal(short, first[0])


ODD = (("model.hidden=[13,7]", "batch_size=19"), ("model.hidden=[24,12]", "batch_size=6"))
"""Sizes that no vector and no cache line divides."""


@pytest.mark.parametrize(
    ("norm", "sizes"),
    [(norm, sizes) for norm in NORMS for sizes in ODD],
)
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_no_place_is_another(
    norm: str, sizes: tuple[str, ...], activation: str, configs: Callable[..., list[Config]]
) -> None:
    """Whatever is left over where a kernel goes through a tensor in vectors: the last place is as the others."""
    rate = 0.5 if activation == "sigmoid" else 0.05
    runs = configs(
        *sizes, f"norm={norm}", *(("norm.num_groups=1",) if norm == "group" else ()), "steps=15",
        "seed=range(5)", f"model.activation={activation}", f"optimizer.lr={rate}", "data.validation_examples=199",
    )  # fmt: skip
    first = trained(runs, width=5)
    for turned in range(1, 5):
        again = trained(runs[turned:] + runs[:turned], width=5)
        assert all(equal(first[(place + turned) % 5], seat) for place, seat in enumerate(again))


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm not in ("reference_batch", "weight")])
@pytest.mark.parametrize("sizes", [*ODD, ("model.hidden=[100,100,100]", "batch_size=60"), (*MLP, "batch_size=2")])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_narrower_block_gives_the_same_bits(
    norm: str, sizes: tuple[str, ...], activation: str, configs: Callable[..., list[Config]]
) -> None:
    """So that places which would stay empty need not be computed."""
    whole = ("norm.num_groups=1",) if norm == "group" else ()  # ten groups of seven units are of one value each
    runs = configs(*sizes, f"norm={norm}", *whole, "steps=12", "seed=range(5)", f"model.activation={activation}",
                   "optimizer.lr=0.1", "evaluation.min_interval=5", "model.dropout=0.1")  # fmt: skip
    five = trained(runs, width=5)
    for width in (2, 3, 4):
        assert all(equal(one, other) for one, other in zip(five, trained(runs[:width], width), strict=False))


def test_only_what_is_known_is_computed_for_fewer(configs: Callable[..., list[Config]]) -> None:
    dataset = data.load(configs("norm=none")[0].data)

    def seat(*overrides: str) -> Seat:
        [run] = configs(*overrides)
        return Seat(run, Placed.of(run, dataset))

    plain, own = seat(*MLP, "norm=batch"), seat(*MLP, "norm=reference_batch")
    assert [needed(plain, 5, runs) for runs in (1, 2, 4, 5, 9)] == [2, 2, 4, 5, 5]
    assert needed(own, 5, 2) == needed(seat(*MLP, "norm=weight"), 5, 2) == 5
    uneven = seat(*MLP, "norm=ghost_batch", "norm.ghost_size=6")  # 20 examples are three ghost batches of two sizes
    assert [needed(uneven, 5, 2), needed(seat(*MLP, "norm=ghost_batch", "norm.ghost_size=5"), 5, 2)] == [5, 2]
    assert len(Block(plain, 2).places) == Block(plain, 2).width == 2
    assert (len(Block(own, 5).places), Block(own, 5).width) == (5, 6)


def test_the_network_of_the_paper_is_the_same_in_every_place(configs: Callable[..., list[Config]]) -> None:
    runs = configs("model.hidden=[100,100,100]", "norm=none,batch", "batch_size=60", "steps=12", "seed=range(5)")
    for five in (runs[:5], runs[5:]):
        first = trained(five, width=5)
        for turned in range(1, 5):
            again = trained(five[turned:] + five[:turned], width=5)
            assert all(equal(first[(place + turned) % 5], seat) for place, seat in enumerate(again))


def test_an_inception_does_not_notice_its_companions(configs: Callable[..., list[Config]]) -> None:
    common = (*INCEPTION, "norm=batch", "batch_size=8", "steps=5", "optimizer.lr=0.1")
    runs = configs(*common, "seed=0,1,2")
    first = trained(runs, width=3)
    wild = trained([*configs(*common, "seed=5", "optimizer.lr=1e30"), *runs[:1]], width=3)[-1]
    assert all(equal(one, other) for one, other in zip(first, trained(runs[::-1], width=3)[::-1], strict=True))
    assert equal(first[0], wild)


def test_a_divergence_stays_with_its_run(configs: Callable[..., list[Config]]) -> None:
    tame = configs(*MLP, "norm=none", "model.activation=relu", "model.init=kaiming", "optimizer.lr=0.05", "seed=0,1")
    [wild] = configs(*MLP, "norm=none", "model.activation=relu", "model.init=kaiming", "optimizer.lr=1e25")
    seats = trained([tame[0], wild, tame[1]], width=3)
    assert [seat.progress.status for seat in seats] == ["finished", "diverged", "finished"]
    assert seats[1].progress.last_step == alone(wild).progress.last_step
    assert equal(seats[0], trained([tame[0]], width=3)[0])


@pytest.mark.parametrize("norm", ["batch", "batch_noisy"])
def test_a_run_goes_on_from_its_checkpoint_in_another_fleet(norm: str, configs: Callable[..., list[Config]]) -> None:
    runs = configs(*MLP, f"norm={norm}", "model.dropout=0.2", "optimizer.momentum=0.9", *RUNS)
    whole = trained(runs, width=4)
    placed = Placed.of(runs[0], data.load(runs[0].data))
    payloads: list[bytes] = []
    stopped = Seat(runs[0], placed, Callbacks(on_checkpoint=payloads.append))
    stopped.config.checkpoint_every_s = 1e-9
    Block(stopped, 4).train([stopped, *(Seat(run, placed) for run in runs[1:4])], lambda seat: None)
    assert len(payloads) > 2
    resumed = Seat(runs[0], placed)
    checkpoint.restore(resumed, payloads[len(payloads) // 2])
    assert 0 < resumed.progress.step < 60
    others = [Seat(run, placed) for run in runs[4:]]
    Block(others[0], 4).train([*others, resumed], lambda seat: None)
    assert equal(resumed, whole[0])
    runs[0].checkpoint_every_s = 0.0


def test_runs_of_another_shape_are_refused(configs: Callable[..., list[Config]]) -> None:
    [one] = configs(*MLP, "norm=batch")
    [other] = configs(*MLP, "norm=batch", "batch_size=10")
    with pytest.raises(ValueError, match="shape"):
        trained([one, other], width=2)
    [alike] = configs(*MLP, "norm=batch", "steps=3", "seed=4", "optimizer.lr=3", "model.init_scale=0.1")
    assert shape(one) == shape(alike) != shape(other)
    [larger] = configs(*MLP, "norm=batch", "model.first_layer_scale=10")
    assert shape(one) == shape(larger)


# ------------------------------------------------------------------------------------- the parts below


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 1e-3), (0.0, 0.01), (0.3, 5.0)])
def test_the_written_optimiser_is_torchs_bit_for_bit(dtype: torch.dtype, momentum: float, decay: float) -> None:
    width, elements, rates = 3, 1008, [0.1, 0.37, 1.3]

    class Rows:
        device = torch.device("cpu")

        def __init__(self) -> None:
            self.width, self.dtype = width, dtype
            draw = torch.Generator().manual_seed(0)
            self.parameters = torch.randn(width, elements, generator=draw, dtype=dtype)
            self.gradients, self.velocities = torch.zeros(2, width, elements, dtype=dtype)

    kernel, written = Stepper(Rows()), Stepper(Rows())  # pyright: ignore[reportArgumentType]
    parameters = [row.clone().requires_grad_() for row in kernel.stack.parameters]
    torchs = [
        torch.optim.SGD([p], lr=rate, momentum=momentum, weight_decay=decay, fused=True)
        for p, rate in zip(parameters, rates, strict=True)
    ]
    for place in range(width):
        kernel.set(place, momentum, decay)
        written.set(place, momentum, decay)
    for _ in range(30):
        slopes = torch.randn(width, elements, dtype=dtype)
        kernel.stack.gradients.copy_(slopes)
        written.stack.gradients.copy_(slopes)
        kernel.by_kernel(rates)
        written.by_equations(torch.tensor(rates, dtype=dtype)[:, None], written.settings())
        for parameter, slope, optimizer in zip(parameters, slopes, torchs, strict=True):
            parameter.grad = slope.clone()
            optimizer.step()
        assert torch.equal(kernel.stack.parameters, written.stack.parameters)
        assert torch.equal(kernel.stack.parameters, torch.stack([p.detach() for p in parameters]))


@pytest.mark.parametrize("network", [MLP, INCEPTION])
def test_a_captured_stretch_computes_the_same(
    network: tuple[str, ...], configs: Callable[..., list[Config]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = configs(*network, "norm=batch", "steps=31", "batch_size=8", "model.dropout=0.2", "optimizer.momentum=0.5",
                   "augmentation.shift=1", "optimizer.decay=0.5", "seed=0,1,2")  # fmt: skip
    plain = trained(runs, width=2)

    def captured(block: Block) -> None:
        block.capture = lambda work: work
        monkeypatch.setattr(block, "_advance", block._captured)

    assert all(equal(one, other) for one, other in zip(plain, trained(runs, 2, captured), strict=True))


@pytest.mark.parametrize("network", [MLP, INCEPTION])
@pytest.mark.parametrize("norm", ["none", "batch", "reference_batch", "layer", *OTHERS])
def test_an_update_never_asks_the_host(
    network: tuple[str, ...], norm: str, configs: Callable[..., list[Config]]
) -> None:
    [run] = configs(*network, f"norm={norm}", "batch_size=8", "model.dropout=0.2", "optimizer.lr=0.1")
    seat = Seat(run, Placed.of(run, data.load(run.data)))
    block = Block(seat, 2)
    given = block._inputs(0)
    # Fake tensors have no values: reading one on the host raises.
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        images = fake.from_tensor(seat.train_set.images).index_select(0, fake.from_tensor(given.chosen))
        labels = (
            fake.from_tensor(seat.train_set.labels)
            .index_select(0, fake.from_tensor(given.chosen))
            .view(block.width, -1)
        )
        losses = block.stack.losses(
            images.unflatten(0, (block.width, -1)), labels, [fake.from_tensor(d) for d in given.draws]
        )
        assert losses.shape == (block.width,)
        with pytest.raises(Exception, match=r"item|data-dependent|local_scalar"):
            losses[0].item()


# ------------------------------------------------------------------------------------- a user's own layer

OWN = """
    import torch
    from torch import nn

    class Honest(nn.Module):
        def __init__(self, num_features):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(num_features))
            self.register_buffer("seen", torch.zeros(num_features))

        def forward(self, x):
            if self.training:
                self.seen.mul_(0.9).add_(0.1 * x.mean(0).detach())
            return self.gain * x / (1 + x.square().mean(0).sqrt())

    class Draws(Honest):
        def forward(self, x):
            return super().forward(x) + torch.rand_like(x)

    class Counts(Honest):
        calls = 0

        def forward(self, x):
            self.calls += self.training
            return super().forward(x) * (1 + self.calls / 100)

    class Branches(Honest):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x
"""


@pytest.mark.parametrize(
    ("name", "stacks"), [("Honest", True), ("Draws", False), ("Counts", False), ("Branches", False)]
)
def test_a_users_own_layer_is_tried_out(
    name: str, stacks: bool, configs: Callable[..., list[Config]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_layers_of_a_user.py").write_text(dedent(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_layers_of_a_user", None)
    [run] = configs(*MLP, f"norm._target_=own_layers_of_a_user.{name}", "~norm.eps", "~norm.momentum", "~norm.affine",
                    "norm.name=own")  # fmt: skip
    found = refusal(run, data.load(run.data))
    assert (found == "") == stacks, found


def test_a_tensor_never_leaves_its_row(configs: Callable[..., list[Config]]) -> None:
    [run] = configs(*MLP, "norm=batch")
    seat = Seat(run, Placed.of(run, data.load(run.data)))
    block = Block(seat, 3)
    before: Tensor = block.stack.parameters.clone()
    seat.sit(block.stack, 1)
    assert torch.equal(before[[0, 2]], block.stack.parameters[[0, 2]])
    seat.model.output.weight.data.zero_()  # pyright: ignore
    seat.fetch()
    assert not torch.equal(seat.model.output.weight, torch.zeros_like(seat.model.output.weight))  # pyright: ignore
