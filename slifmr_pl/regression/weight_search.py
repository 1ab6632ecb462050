"""Chooses the weight ω of the regression view by ndcg@20 on validation users."""

from collections.abc import Iterable

import torch
from torch import Tensor

from slifmr_pl.data.batches import EvalBatch
from slifmr_pl.metrics.accuracy import Ndcg
from slifmr_pl.metrics.full_ranking import rank_scores
from slifmr_pl.metrics.ranked_lists import ranked_lists
from slifmr_pl.regression.item_regression import RegressionFactors, append_regression
from slifmr_pl.regression.view import WEIGHTS

_K = 20
_TABLES = 4  # score tables [b, I] in memory at a time, work space of the ranking included


@torch.no_grad()
def best_weight(
    users: Tensor,
    items: Tensor,
    regression: RegressionFactors,
    batches: Iterable[EvalBatch],
    *,
    memory_budget_mb: int,
) -> float:
    """The ω of highest mean ndcg@20.

    Args:
        users: float32 [U, d], without the regression.
        items: float32 [I, d].
        regression: Factors, on the same device; their weight is not used.
        batches: Users to rank items for; the same in all processes, so that they agree.
        memory_budget_mb: Working memory of scoring, in MiB.

    Returns:
        One of `WEIGHTS`; the lower one of a tie.
    """
    dim = users.shape[1]
    users, items = append_regression(users, items, regression._replace(weight=1.0))
    k = min(_K, len(items))
    ndcg = Ndcg()
    rows = max(1, (memory_budget_mb << 20) // (_TABLES * len(items) * users.element_size()))
    totals = [0.0] * len(WEIGHTS)
    for batch in batches:
        for part in batch.split(rows):
            chosen, known_offsets, known_items, relevant_offsets, relevant_items = (
                tensor.to(users.device) for tensor in part
            )
            own = users[chosen, :dim] @ items[:, :dim].T
            regressed = users[chosen, dim:] @ items[:, dim:].T
            for position, weight in enumerate(WEIGHTS):
                scores = torch.add(own, regressed, alpha=weight)
                best = rank_scores(scores, k, known_offsets, known_items)
                lists = ranked_lists(
                    best.indices,
                    relevant_offsets,
                    relevant_items,
                    chosen,
                    ks=(k,),
                    n_items=len(items),
                )
                totals[position] += float(ndcg.values(lists).sum())
    return WEIGHTS[totals.index(max(totals))]
