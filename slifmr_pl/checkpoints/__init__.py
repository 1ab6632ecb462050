"""Checkpoints: their format, what is checked of them, how they are written."""
