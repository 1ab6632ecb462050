"""Exact full-ranking metrics: pure functions, and their torchmetrics state."""
