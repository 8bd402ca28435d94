"""Exact measurements (groups B and C of the claims), each a function to a table, without training of their own.

The name of a measurement links its files, as that of an experiment does: ``configs/measurement/X.yaml`` →
``bnrepro.measurements.X`` → ``results/tables/X.csv`` → ``bnrepro.claims.X`` → ``results/figures/X_*``. Its module holds
``measure(**settings)``, which returns a data frame. A module that works on trained networks names the experiment that
trains them in ``NEEDS``; ``measure`` then gets them as ``trained``. A module that briefly trains networks of its own
returns their configurations from ``own_training(**settings)``: they are part of the measurement's identity.
"""
