"""Several processes that train one network together, started by `torchrun`; a single process pays nothing.

One process leads: it alone writes, evaluates what is not shared, and decides what depends on the clock or the disk.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bnrepro.config.launch import started
from bnrepro.errors import ConfigError, UserError

T = TypeVar("T")
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@dataclass(frozen=True)
class Group:
    """The place of this process among those that train one network.

    All processes must call every method but ``wrap``.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """``model`` with gradients averaged over the processes.

        Every process normalises by its own part of the mini-batch, as the paper's replicas did (§4.2); the running
        statistics are the leader's.
        """
        if self.size == 1:
            return model
        on_cpu = next(model.parameters()).device.type == "cpu"
        if on_cpu:
            warnings.filterwarnings("ignore", "find_unused_parameters=True was specified")
        # Otherwise it regroups the gradients after its first backward pass, at another step in a resumed run than in an
        # uninterrupted one, and three or more processes would sum them in another order.
        return DistributedDataParallel(model, find_unused_parameters=on_cpu)

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes the leader's running statistics, which they otherwise get with the next training step."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes."""
        return self.sum(values) / self.size if self.size > 1 else values

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def share(self, decide: Callable[[], T]) -> T:
        """The result of ``decide``, which only the leader calls. All processes raise its :class:`UserError`."""
        if self.size == 1:
            return decide()
        box: list[Any] = [None, None]
        if self.leads:
            try:
                box[0] = decide()
            except UserError as error:
                box[1] = error
        dist.broadcast_object_list(box, 0)
        decided, error = box
        if error is not None:
            error.told = not self.leads
            raise error
        return decided

    def gather(self, value: T) -> list[T]:
        """The ``value`` of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        boxes: list[Any] = [None] * self.size
        dist.all_gather_object(boxes, value)
        return boxes


ALONE = Group()


@contextlib.contextmanager
def join(processes: int, device: str) -> Iterator[Group]:
    """Join the other processes, and leave once all are done.

    Raises :class:`ConfigError` if their number is not that of the configuration, or exceeds the number of GPUs. A
    process that fails does not tell the others, which may be waiting for it: `torchrun` ends them.
    """
    if processes != (world := started()):
        raise ConfigError(
            f"processes={processes}, but {world} started; torchrun starts several: "
            f"torchrun --nproc-per-node={processes} scripts/train.py …"
        )
    if processes == 1:
        yield ALONE
        return
    if device == "cuda":
        here, cards = int(os.environ.get("LOCAL_WORLD_SIZE", processes)), torch.cuda.device_count()
        if here > cards:
            raise ConfigError(f"device=cuda: {here} processes need a GPU each, but there are only {cards}")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(BACKENDS[device])
    yield Group(dist.get_rank(), dist.get_world_size())
    dist.barrier()  # no process leaves while another still talks to it
    dist.destroy_process_group()
