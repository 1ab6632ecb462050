"""Strategies of the Trainer: how the processes of a run share its work."""
