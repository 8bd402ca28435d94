"""Many runs as one program: networks of the same shape, stacked, with every run's record, draws and end its own."""

from __future__ import annotations

from bnrepro.training.fleet.block import Block, needed
from bnrepro.training.fleet.seat import Seat
from bnrepro.training.fleet.shape import shape
