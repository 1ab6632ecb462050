"""Exact ranking of the whole catalogue for batches of users.

Shapes: B users, I items, d embedding size, k' = min(k, I).
"""

import torch
from torch import Tensor

from slifmr_pl.errors import ConfigError, DataError, DivergenceError
from slifmr_pl.graphs.sparse.blocked_topk import ProductTopK
from slifmr_pl.graphs.sparse.topk import TopK, topk_stable


class ItemRanking:
    """The k items of highest ⟨user, item⟩ for any number of users, known items left out.

    Every item competes; equal scores are ranked by lower item. Scores are computed in blocks of one
    fixed shape, so the result is bitwise the same for every memory budget and every batching of
    the users on one device with one number of threads.

    Args:
        item_embeddings: float ``[I, d]``.
        k: Items a user, at least 1.
        allowed: bool ``[I]``, items that may be ranked; None for all.
        memory_budget_mb: Work space in MiB for the scores, see
            :func:`slifmr_pl.graphs.sparse.blocked_topk.tile_columns`.

    Raises:
        ConfigError: If ``k`` or the budget is below 1.
    """

    def __init__(
        self,
        item_embeddings: Tensor,
        k: int,
        *,
        allowed: Tensor | None = None,
        memory_budget_mb: int = 1024,
    ) -> None:
        self._forbidden = None if allowed is None else ~allowed.to(item_embeddings.device)
        self._items_shape = item_embeddings.shape
        self._largest_item_entry = _largest_entry(item_embeddings)
        self._product = ProductTopK(item_embeddings, k, memory_budget_mb=memory_budget_mb)

    @torch.no_grad()
    def recommend(
        self, user_embeddings: Tensor, known_offsets: Tensor, known_items: Tensor
    ) -> TopK:
        """Ranks the items for some users.

        Args:
            user_embeddings: float ``[B, d]``.
            known_offsets: int64 ``[B + 1]``; user b knows the items
                ``known_items[known_offsets[b]:known_offsets[b + 1]]``.
            known_items: int64, in any order.

        Returns:
            Values ``[B, k']`` in at least float32 and indices int64 ``[B, k']``, best first. Users
            with fewer than k' unknown items end with value ``-inf`` and index -1.

        Raises:
            DivergenceError: If embeddings are not finite or so large that scores overflow.
            ConfigError: If shapes are wrong.
            DataError: If a known item is not in the catalogue.
        """
        self._check_users(user_embeddings)
        n_items = self._items_shape[0]
        known_users = _known_users(len(user_embeddings), n_items, known_offsets, known_items)
        bounds = known_offsets.tolist()

        def leave_out_known(scores: Tensor, first_user: int, first_item: int) -> None:
            pairs = slice(bounds[first_user], bounds[first_user + scores.shape[0]])
            users, items = known_users[pairs] - first_user, known_items[pairs] - first_item
            if scores.shape[1] < n_items:
                inside = (items >= 0) & (items < scores.shape[1])
                users, items = users[inside], items[inside]
            scores[users, items] = -torch.inf
            if self._forbidden is not None:
                tile = self._forbidden[first_item : first_item + scores.shape[1]]
                scores.masked_fill_(tile, -torch.inf)

        best = self._product(user_embeddings, leave_out_known)
        return TopK(best.values, best.indices.masked_fill(best.values.isneginf(), -1))

    def _check_users(self, user_embeddings: Tensor) -> None:
        users, items = user_embeddings.shape, self._items_shape
        if len(users) != 2 or users[1:] != items[1:]:
            raise ConfigError(
                f"user embeddings {tuple(users)} with item embeddings {tuple(items)}",
                expected="[users, d] and [items, d] with one d",
                fix="pass the final embeddings of one network",
            )
        # The largest score these embeddings could have; NaN and inf pass through every step.
        largest_user_entry = _largest_entry(user_embeddings)
        bound = largest_user_entry * self._largest_item_entry * users[1]
        if not bound <= torch.finfo(torch.float32).max:
            raise DivergenceError(
                f"training diverged: the largest user embedding entry is {largest_user_entry:g},"
                f" the largest item embedding entry {self._largest_item_entry:g}",
                expected="finite embeddings whose scores fit into float32",
                fix="lower the learning rate, clip gradients, or raise the temperature of the"
                " losses",
            )


@torch.no_grad()
def rank_scores(scores: Tensor, k: int, known_offsets: Tensor, known_items: Tensor) -> TopK:
    """Ranks the catalogue by given scores, as `ItemRanking.recommend` does by products.

    Args:
        scores: float ``[B, I]``; left as they are.
        k: Items a user, at least 1.
        known_offsets: int64 ``[B + 1]``; user b knows the items
            ``known_items[known_offsets[b]:known_offsets[b + 1]]``.
        known_items: int64, in any order.

    Returns:
        Values and indices ``[B, k']``, see `ItemRanking.recommend`.

    Raises:
        ConfigError: If shapes are wrong, or a score is NaN or ``+inf``.
        DataError: If a known item is not in the catalogue.
    """
    n_users, n_items = scores.shape
    known_users = _known_users(n_users, n_items, known_offsets, known_items)
    # A copy: a model may hand out scores that are part of its weights, or expanded ones.
    left = scores.index_put((known_users, known_items), scores.new_tensor(-torch.inf))
    best = topk_stable(left, min(k, n_items))
    return TopK(best.values, best.indices.masked_fill(best.values.isneginf(), -1))


def _largest_entry(embeddings: Tensor) -> float:
    return float(torch.linalg.vector_norm(embeddings, ord=torch.inf)) if embeddings.numel() else 0.0


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
