"""Frozen encoders: what they are, where their files lie, how they run."""
