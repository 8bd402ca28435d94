"""One module an experiment: its tables as the figures of the paper and of its readers. No torch, no judgement."""
