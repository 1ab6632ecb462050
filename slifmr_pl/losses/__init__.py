"""Ranking, semantic-consistency and regularisation losses: pure functions."""
