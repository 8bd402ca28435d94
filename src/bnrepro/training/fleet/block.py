"""A block: a fixed number of places, in which runs of one shape train together.

The width never depends on how many runs there are. Empty places hold a network that does not learn, so that a run is
computed in the same way whoever sits beside it.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bnrepro.data.batches import Changes, changed, drawn_changes
from bnrepro.models.mlp import MLP
from bnrepro.norm import WeightNorm
from bnrepro.training import checkpoint
from bnrepro.training.evaluation import Evaluation, chunk_size, tally
from bnrepro.training.fleet.dense import DenseStack
from bnrepro.training.fleet.seat import Seat
from bnrepro.training.fleet.shape import shape
from bnrepro.training.fleet.stack import Stack, Stepper
from bnrepro.training.fleet.stretch import STEPS, Inputs, Stretch, cuda_graph
from bnrepro.training.fleet.vmapped import VmappedStack


class Block:
    """Trains runs in ``width`` places, and fills a place again when its run has ended.

    The stack may have a place more, see :func:`guards`.
    """

    def __init__(self, first: Seat, width: int) -> None:
        torch.set_num_threads(first.config.threads)
        self.config, self.places = first.config, range(width)
        self.width = width = width + guards(first)
        self.shape, self.train_set = shape(first.config), first.train_set
        self.images = _compact(first.train_set.images)
        # Allocated once: the system clears new memory page by page, which takes longer than the copies.
        self.gathered = self.images.new_empty(width * first.config.batch_size, *self.images.shape[1:])
        self.taken = torch.empty_like(self.gathered, dtype=self.train_set.images.dtype)
        self.initial = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
        self.stack = stacked(first, width)
        self.stepper = Stepper(self.stack)
        self.seats: list[Seat | None] = [None] * width
        self.spare = first
        """Gives the empty places their mini-batches."""
        self.idle = torch.Generator(first.config.device)
        self.capture, self.stretches = cuda_graph, dict[int, Stretch]()
        for place in range(width):
            self.stack.load(place, self.initial, [])

    # ------------------------------------------------------------------------------------------------ the loop

    def train(self, seats: Iterable[Seat], on_end: Callable[[Seat], None]) -> None:
        """Train every run to its end; ``on_end`` gets each as it ends, its network fetched from the stack."""
        waiting = iter(seats)
        began = time.perf_counter()
        self.fill(waiting, on_end)
        while any(self.seats):
            present = [seat for seat in self.seats if seat is not None]
            count = min(seat.next_stop() - seat.progress.step for seat in present)
            losses = self._advance(count)
            spent, began = time.perf_counter() - began, time.perf_counter()
            for seat in present:
                seat.add_losses(losses[:, seat.place])
                # The time of a block belongs to its runs in equal parts.
                seat.progress.seconds += spent / len(present)
            self._look([seat for seat in present if seat.progress.step in seat.stops and not seat.progress.diverged])
            for seat in present:
                if seat.ended:
                    self._leave(seat, on_end)
                elif seat.config.checkpoint_every_s:
                    self._keep(seat, len(present))
            self.fill(waiting, on_end)

    def fill(self, waiting: Iterator[Seat], on_end: Callable[[Seat], None]) -> None:
        """Give every empty place to the next run, which is looked at before its first update."""
        fresh = []
        for place in self.places:
            while self.seats[place] is None and (seat := next(waiting, None)) is not None:
                if shape(seat.config) != self.shape:
                    raise ValueError(f"{seat.config}: not of the shape of this block")
                seat.sit(self.stack, place)
                optimizer = seat.config.optimizer
                self.stepper.set(place, optimizer.momentum, optimizer.weight_decay)
                self.seats[place] = seat
                fresh += [seat] if seat.untouched else []
        self._look(fresh)
        for seat in fresh:
            if seat.ended:
                self._leave(seat, on_end)

    def _leave(self, seat: Seat, on_end: Callable[[Seat], None]) -> None:
        seat.end()
        seat.fetch()
        seat.progress.unreadable = seat.skipped_images()
        self.seats[seat.place] = None
        self.stack.load(seat.place, self.initial, [])
        self.stepper.set(seat.place, 0.0, 0.0)
        on_end(seat)

    def _keep(self, seat: Seat, present: int) -> None:
        """Write a checkpoint where one is due: by the time of the block, of which a run counts its part."""
        if (seat.progress.seconds - seat.saved_after_s) * present > seat.config.checkpoint_every_s:
            seat.fetch()
            seat.callbacks.on_checkpoint(checkpoint.save(seat))
            seat.saved_after_s = seat.progress.seconds

    # ------------------------------------------------------------------------------------------------- updates

    def advance(self, count: int) -> None:
        """Make the next ``count`` updates of the runs that sit, without looking at them, for timing and tests."""
        self._advance(count)
        for seat in filter(None, self.seats):
            seat.progress.step += count

    def _advance(self, count: int) -> Tensor:
        """Update every run ``count`` times; returns the losses (count, width)."""
        if self.stack.device.type == "cuda":
            return self._captured(count)
        return torch.stack([self._update(ahead) for ahead in range(count)])

    def _captured(self, count: int) -> Tensor:
        losses, ahead = [], 0
        while ahead < count:
            steps = STEPS if count - ahead >= STEPS else 1
            inputs = [self._inputs(ahead + step) for step in range(steps)]
            if steps not in self.stretches:
                self.stretches[steps] = self._stretch(inputs[0], steps)
            losses.append(self.stretches[steps].run(inputs))
            ahead += steps
        return torch.cat(losses)

    def _update(self, ahead: int) -> Tensor:
        """One update on a CPU, by the kernel of the single loop; the losses (width,)."""
        chosen = self._chosen(ahead)
        torch.index_select(self.images, 0, chosen, out=self.gathered)
        images = self.taken.copy_(self.gathered)
        images = changed(images, self._changes(ahead), self.config.augmentation.shift)
        labels = self.train_set.labels.index_select(0, chosen).view(self.width, -1)
        losses = self.stack.losses(images.unflatten(0, (self.width, -1)), labels, self._draws())
        self.stepper.by_kernel(self._rates(ahead))
        return losses

    def _stretch(self, like: Inputs, steps: int) -> Stretch:
        return Stretch(
            self.stack, self.stepper, self.train_set, self.config.augmentation.shift, like, steps, self.capture
        )

    def _inputs(self, ahead: int) -> Inputs:
        """What the host gives to the update that is ``ahead`` updates from now, in memory that a card can read."""
        chosen, changes = self._chosen(ahead), self._changes(ahead)
        rates = torch.tensor(self._rates(ahead), dtype=self.stack.dtype)[:, None]
        if self.stack.device.type == "cuda":
            chosen, rates = chosen.pin_memory(), rates.pin_memory()
            changes = Changes(*(None if part is None else part.contiguous().pin_memory() for part in changes))
        return Inputs(chosen, rates, changes, self._draws())

    def _chosen(self, ahead: int) -> Tensor:
        """The examples (width · N,) of every place's mini-batch."""
        return torch.cat([
            self._seat_at(place).order.batch(self._step(place, ahead)) for place in range(self.width)
        ])  # fmt: skip

    def _rates(self, ahead: int) -> list[float]:
        return [0.0 if seat is None else seat.rate(ahead) for seat in self.seats]

    def _draws(self) -> list[Tensor]:
        return self.stack.draws([self.idle if seat is None else seat.generator for seat in self.seats])

    def _changes(self, ahead: int) -> Changes:
        config = self.config
        if not (config.augmentation.flip or config.augmentation.shift or config.augmentation.photometric):
            return Changes()
        _, *side = self.train_set.example_shape
        parts = []
        for place in range(self.width):
            seed, step = self._seat_at(place).config.seed, self._step(place, ahead)
            parts.append(drawn_changes(config.augmentation, seed, step, config.batch_size, *side))
        return Changes.joined(parts)

    def _seat_at(self, place: int) -> Seat:
        return self.seats[place] or self.spare

    def _step(self, place: int, ahead: int) -> int:
        seat = self.seats[place]
        return 0 if seat is None else seat.progress.step + ahead

    # ------------------------------------------------------------------------------------------------ looking

    def _look(self, due: Sequence[Seat]) -> None:
        """Evaluate and probe the runs that are ``due``."""
        evaluated = [seat for seat in due if seat.progress.step in seat.evaluations]
        for seat in evaluated:
            seat.found = {}
        for name in dict.fromkeys(name for seat in evaluated for name in seat.splits_at(seat.progress.step)):
            found = self._evaluated(name)
            for seat in evaluated:
                seat.found[name] = found[seat.place]
        for seat in due:
            seat.look(seat.progress.step)

    @torch.inference_mode()
    def _evaluated(self, name: str) -> list[Evaluation]:
        """The evaluation of every place on a split; its own training examples for each, all other splits alike."""
        splits = [
            seat.splits.get(name, seat.whole_test) for seat in (self._seat_at(place) for place in range(self.width))
        ]
        own = name == "train"
        size = chunk_size(self.train_set.example_shape)
        loss = torch.zeros(self.width, dtype=torch.float64, device=self.stack.device)
        counts = torch.zeros(self.width, 4, dtype=torch.int64, device=self.stack.device)
        for chunks in zip(*(split.chunks(size) for split in (splits if own else splits[:1])), strict=True):
            images = torch.stack([images for images, _ in chunks]) if own else chunks[0][0]
            labels = torch.stack([labels for _, labels in chunks]).expand(self.width, -1)
            scores = self.stack.scores(images)
            each = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
            loss += each.view(labels.shape).sum(1)
            counts += tally(scores, labels)
        return [Evaluation.of(total, *each) for total, each in zip(loss.tolist(), counts.tolist(), strict=True)]


@functools.lru_cache(maxsize=1)  # by identity: the next block mostly has the same images
def _compact(images: Tensor) -> Tensor:
    """The images as bytes, if these hold every value: mini-batches are then gathered in a quarter of the time."""
    small = images.to(torch.uint8)
    return small if images.is_cpu and torch.equal(small.to(images.dtype), images) else images


def guards(seat: Seat) -> int:
    """Places that stay empty at the end of a stack of networks like that of ``seat``.

    CPU kernels treat the last elements of a tensor in another way than the others, see
    :func:`~bnrepro.training.fleet.layers.evenly`: where it is not known which kernels run, they are nobody's.
    """
    return int(seat.config.device == "cpu" and not _known(seat))


def needed(seat: Seat, width: int, runs: int) -> int:
    """How many of the ``width`` places of a block have to be computed for so many ``runs``.

    All of them, unless a run is known to have the same bits in a narrower stack: then as many as there are runs, but
    two, since a single matrix is multiplied in another way than several. With lengths of weights, sums over two
    examples differ between widths in their last bit.
    """
    same = seat.config.device == "cpu" and _known(seat)
    lengths = any(isinstance(module, WeightNorm) for module in seat.model.modules())
    return min(width, max(runs, 2)) if same and not lengths else width


def _known(seat: Seat) -> bool:
    """Whether all the kernels that step the network of ``seat`` are known to treat all places alike."""
    return isinstance(seat.model, MLP) and DenseStack.by_kernels(seat.model, seat.config.batch_size)


def stacked(seat: Seat, width: int) -> Stack:
    """A stack for networks like that of ``seat``."""
    if isinstance(seat.model, MLP):
        return DenseStack(seat.model, width, seat.config.batch_size)
    return VmappedStack(copy.deepcopy(seat.model), width, seat.train_set.sample(seat.config.batch_size))
