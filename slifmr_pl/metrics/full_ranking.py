"""Exact ranking of the whole catalogue for a batch of users.

Shapes: B users, I items, d embedding size, k' = min(k, I).
"""

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError, DataError, DivergenceError
from slifmr_pl.graphs.topk import TopK, check_k, product_topk, tile_sizes


@torch.no_grad()
def recommend(
    user_embeddings: Tensor,
    item_embeddings: Tensor,
    k: int,
    *,
    known_offsets: Tensor,
    known_items: Tensor,
    memory_budget_mb: int = 1024,
) -> TopK:
    """The k items of highest ⟨user, item⟩ for every user, known items left out.

    Every item competes; equal scores are ranked by lower item. Scores are computed in blocks of one
    fixed shape, so the result is bitwise the same for every memory budget and every batching of
    the users on one device with one number of threads.

    Args:
        user_embeddings: float ``[B, d]``.
        item_embeddings: float ``[I, d]``.
        k: Items a user, at least 1.
        known_offsets: int64 ``[B + 1]``; user b knows the items
            ``known_items[known_offsets[b]:known_offsets[b + 1]]``.
        known_items: int64, in any order.
        memory_budget_mb: Work space in MiB for the scores, see
            :func:`slifmr_pl.graphs.topk.tile_sizes`.

    Returns:
        Values ``[B, k']`` in at least float32 and indices int64 ``[B, k']``, best first. Users with
        fewer than k' unknown items end with value ``-inf`` and index -1.

    Raises:
        DivergenceError: If embeddings are not finite or so large that scores overflow.
        ConfigError: If ``k``, the budget or shapes are wrong.
        DataError: If a known item is not in the catalogue.
    """
    check_k(k)
    _check_embeddings(user_embeddings, item_embeddings)
    n_users, n_items = len(user_embeddings), len(item_embeddings)
    known_users = _known_users(n_users, n_items, known_offsets, known_items)

    def leave_out_known(scores: Tensor, first_user: int, first_item: int) -> None:
        last_user = first_user + scores.shape[0]
        pairs = slice(int(known_offsets[first_user]), int(known_offsets[last_user]))
        users, items = known_users[pairs] - first_user, known_items[pairs] - first_item
        if scores.shape[1] < n_items:
            inside = (items >= 0) & (items < scores.shape[1])
            users, items = users[inside], items[inside]
        scores[users, items] = -torch.inf

    dtype = torch.promote_types(user_embeddings.dtype, torch.float32)
    tiles = tile_sizes(n_users, n_items, memory_budget_mb, dtype)
    best = product_topk(user_embeddings, item_embeddings, k, tiles=tiles, edit=leave_out_known)
    return TopK(best.values, best.indices.masked_fill(best.values.isneginf(), -1))


def _check_embeddings(user_embeddings: Tensor, item_embeddings: Tensor) -> None:
    if (
        user_embeddings.dim() != 2
        or item_embeddings.dim() != 2
        or user_embeddings.shape[1] != item_embeddings.shape[1]
    ):
        raise ConfigError(
            f"user embeddings {tuple(user_embeddings.shape)}"
            f" with item embeddings {tuple(item_embeddings.shape)}",
            expected="[users, d] and [items, d] with one d",
            fix="pass the final embeddings of one network",
        )
    # The largest score that these embeddings could have; NaN and inf pass through every step.
    peaks = [
        float(torch.linalg.vector_norm(e, ord=torch.inf)) if e.numel() else 0.0
        for e in (user_embeddings, item_embeddings)
    ]
    bound = peaks[0] * peaks[1] * user_embeddings.shape[1]
    if not bound <= torch.finfo(torch.float32).max:
        raise DivergenceError(
            f"training diverged: the largest user embedding entry is {peaks[0]:g}, the largest item"
            f" embedding entry {peaks[1]:g}",
            expected="finite embeddings whose scores fit into float32",
            fix="lower the learning rate, clip gradients, or raise the temperature of the losses",
        )


def _known_users(n_users: int, n_items: int, known_offsets: Tensor, known_items: Tensor) -> Tensor:
    """The user row of every known item, int64 like ``known_items``."""
    counts = known_offsets.diff()
    if (
        known_offsets.shape != (n_users + 1,)
        or known_items.dim() != 1
        or known_offsets.dtype != torch.int64
        or known_items.dtype != torch.int64
        or int(known_offsets[0]) != 0
        or int(known_offsets[-1]) != len(known_items)
        or bool((counts < 0).any())
    ):
        raise ConfigError(
            f"known_offsets {tuple(known_offsets.shape)} and known_items"
            f" {tuple(known_items.shape)} do not fit {n_users} users",
            expected="int64 [B + 1] rising from 0 to len(known_items), int64",
            fix="slice the offsets and items of exactly the users that are ranked for",
        )
    outside = (known_items < 0) | (known_items >= n_items)
    if bool(outside.any()):
        raise DataError(
            f"known item {int(known_items[outside][0])} is out of range",
            expected=f"items from 0 to {n_items - 1}",
            fix="rank with the embeddings of the vocabulary that made the ids",
        )
    return torch.arange(n_users, device=counts.device).repeat_interleave(counts)
