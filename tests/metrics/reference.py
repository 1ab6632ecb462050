"""Slow plain-Python definitions of the ranking metrics, the oracle of the tensor code."""

import math


def user_metrics(ranked: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """Metrics of one user; `ranked` has no padding and may be shorter than k."""
    top = ranked[:k]
    hit_ranks = [rank for rank, item in enumerate(top, start=1) if item in relevant]
    reachable = min(len(relevant), k)
    dcg = sum(1 / math.log2(rank + 1) for rank in hit_ranks)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, reachable + 1))
    precisions = [(i + 1) / rank for i, rank in enumerate(hit_ranks)]
    return {
        "recall": len(hit_ranks) / len(relevant),
        "precision": len(hit_ranks) / k,
        "ndcg": dcg / ideal,
        "map": sum(precisions) / reachable,
        "mrr": 1 / hit_ranks[0] if hit_ranks else 0.0,
        "hit": float(bool(hit_ranks)),
    }


def catalogue_metrics(rankings: list[list[int]], popularity: list[int], k: int) -> dict[str, float]:
    """Beyond-accuracy metrics of all users together."""
    recommended = [item for ranked in rankings for item in ranked[:k]]
    total = sum(popularity)
    count = len(recommended) or math.nan
    return {
        "coverage": len(set(recommended)) / len(popularity),
        "novelty": sum(-math.log2(max(popularity[i], 1) / total) for i in recommended) / count,
        "popularity": sum(popularity[i] for i in recommended) / count,
    }
