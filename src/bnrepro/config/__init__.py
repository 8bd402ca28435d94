"""The configuration of a run: its schema, composition, checks and identity. Only ``randomness`` needs torch."""
