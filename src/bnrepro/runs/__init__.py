"""Runs from start to end: one, from its configuration to its finished folder, and many on all cores."""
