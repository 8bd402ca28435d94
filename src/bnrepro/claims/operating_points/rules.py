"""The declared rules of the map, and of the experiments that belong to it: all that a verdict depends on but the runs.

They were committed before the runs that they judge, and stand apart from the code that reads the tables, so that the
dates can be compared: tests/claims/test_declared.py holds this file's last commit against the runs' records.

They replace the rules of the first report, under which one cell (the best for the network without BN), one target or
one unit decided. The margins are those of the first report. The thresholds on the shares of cells were chosen with the
map of a pilot in view, which had other code, another device, 8 seeds and 50,000 steps.
"""

from __future__ import annotations

from bnrepro.stats import Above, Below, OnMap, Thresholds

PASS = 0.9
"""A run trains if its last validation accuracy is at least this. One that diverged does not.
Final accuracy is the mean of the last five evaluations."""
SIGMOID, RELU = "sigmoid", "relu"
"""The limits are judged with sigmoids, as §4.1 has them, and ReLU stands beside; for the depth it is the other way
round, since without BN only ReLUs with Kaiming's initialisation train more than a few layers."""
BUDGETS = (2_000, 5_000)
"""Steps at which the same verdict is read from the same curves, beside the whole."""
LOSSES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
"""Targets of the mean mini-batch loss since the last evaluation, in nats: an axis of the answer."""
STATISTICS = ("median", "mean", "p90")
"""Over the 100 units of the last hidden layer."""
PARTS = (0.02, 0.1, 0.5, 1.0)
"""The first parts of training over which the drift is taken."""

CELLS = Thresholds(majority=0.5, minority=0.2, both=0.1, least=10)
RATES = Thresholds(majority=0.5, minority=0.2, both=0.1, least=5)
SCALES = Thresholds(majority=0.5, minority=0.2, both=0.1, least=3)
"""Of eight scales on the map and five of stability_limit; a scale counts where both arms train at some rate."""
SMALL_RATE_CELLS = 3
"""The gain at small rates needs this many cells in which both arms train, below the plain network's best rate."""

# A case is a cell with one of the targets, with one of the statistics over one of the parts, or with one of the layers.
# Steps are known to lie between two evaluations, and limits between two points of the grid: a case counts on a side
# only if all that the truth may be lies there.
FASTER_TRAINING = OnMap(Below(0.5, null=1.0), "ratio", CELLS)
HIGHER_ACCURACY = OnMap(Above(0.0), "difference", CELLS)
LOWER_TRAINING_LOSS = OnMap(Below(0.5, null=1.0), "ratio", CELLS, units="cases")
STABLE_INPUTS = OnMap(Below(0.5, null=1.0), "ratio", CELLS, units="cases")
ACTIVATION_DISTRIBUTION = OnMap(Below(0.0), "difference", CELLS, units="cases")
PARAMETER_GROWTH = OnMap(Below(0.5, null=1.0), "ratio", CELLS)
ROBUST_TO_INIT = OnMap(Above(0.5, null=0.0), "number", RATES, units="rates", places="rates")
"""In decades of initial scale."""
HIGHER_LEARNING_RATES = OnMap(Above(3.0, null=1.0), "ratio", SCALES, units="scales", places="scales")
GAIN_NEEDS_LARGE_RATES = Above(0.0)
DEPTH = Above(1.5, null=1.0)
"""Ratio of the largest depths at which any of the rates trains."""
