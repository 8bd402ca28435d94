"""Normalisation layers: Algorithms 1 and 2 from scratch, PyTorch's kernels, other normalisers with the same interface.

``configs/norm`` names these classes by this package.
"""

from __future__ import annotations

from bnrepro.norm.batch import BatchNorm
from bnrepro.norm.dynamic_tanh import DynamicTanh
from bnrepro.norm.factory import layers_with_running_statistics, make_norm
from bnrepro.norm.filter_response import FilterResponseNorm
from bnrepro.norm.functional import batch_norm_inference, batch_norm_train
from bnrepro.norm.ghost import GhostBatchNorm
from bnrepro.norm.interface import Normaliser
from bnrepro.norm.noisy import NoisyBatchNorm
from bnrepro.norm.per_example import GroupNorm, LayerNorm
from bnrepro.norm.population import PopulationStatistics, fold, fold_pair, freeze, population_statistics
from bnrepro.norm.reference import ReferenceBatchNorm
from bnrepro.norm.renorm import BatchRenorm
from bnrepro.norm.rms import RMSNorm
from bnrepro.norm.weight import WeightNorm
