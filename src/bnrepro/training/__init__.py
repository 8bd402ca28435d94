"""How one network is trained: the loop, evaluation, checkpoints, several processes, W&B."""
