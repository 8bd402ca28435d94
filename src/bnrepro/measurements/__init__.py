"""Exact measurements (groups B and C of the claims): a function → a table. No training of their own.

A measurement's name is the thread, as an experiment's is: ``configs/measurement/X.yaml`` → ``bnrepro.measurements.X`` →
``results/tables/X.csv`` → ``bnrepro.claims.X`` → ``results/figures/X_*``. Its module holds ``measure(**settings)``,
which returns a data frame, and, where it works on trained networks, ``NEEDS``, the experiment that trains them;
``measure`` is then given them as ``trained``. A module that trains networks of its own, briefly, says which
configurations in ``own_training(**settings)``: they are part of the measurement's identity, as is the source of the
packages that a module names in ``MADE_FROM`` because its numbers come from their code without training.
"""
