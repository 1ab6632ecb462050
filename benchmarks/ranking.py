"""Full-ranking evaluation against its bare parts: product, mask and `torch.topk` in tiles.

`ours` is what validation does with propagated representations: batches, checks, ranking, and all
metrics at all cut-offs. `bare` only finds the best items, with everything prepared beforehand.
U = users, I = items, d = embedding size.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from slifmr_pl.data.batches import EvalBatches
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.metrics.full_ranking import ItemRanking
from slifmr_pl.metrics.ranking import RankingMetrics

KS = (5, 10, 20, 50)
BARE_TILE_ROWS = (128, 256, 512, 1024)


@dataclass(frozen=True)
class Evaluation:
    """What there is to rank and to find.

    Attributes:
        users: float32 [U, d].
        items: float32 [I, d].
        known: Items to mask, of every user.
        relevant: Items to find, of every user.
        popularity: int64 [I], training interactions of each item.
    """

    users: Tensor
    items: Tensor
    known: UserItems
    relevant: UserItems
    popularity: Tensor


def kgat_interactions(path: Path) -> Interactions:
    """Interactions of a file in KGAT's format: in each line a user, then the user's items."""
    rows = [np.array(line.split(), dtype=np.int64) for line in path.read_text().splitlines()]
    users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    items = np.concatenate([row[1:] for row in rows])
    order = np.lexsort((items, users))
    return Interactions(users[order], items[order])


def random_interactions(n_users: int, n_items: int, n_pairs: int, seed: int) -> Interactions:
    """About `n_pairs` distinct pairs; popular items have lower rows."""
    rng = np.random.default_rng(seed)
    items = (n_items * rng.random(n_pairs) ** 2).astype(np.int64)
    keys = np.unique(rng.integers(n_users, size=n_pairs) * n_items + items)
    return Interactions(keys // n_items, keys % n_items)


def evaluation(
    n_users: int, n_items: int, train: Interactions, test: Interactions, *, dim: int, seed: int
) -> Evaluation:
    """Random representations of the size of trained ones; training items are masked."""
    rng = torch.Generator().manual_seed(seed)
    return Evaluation(
        users=0.1 * torch.randn(n_users, dim, generator=rng),
        items=0.1 * torch.randn(n_items, dim, generator=rng),
        known=UserItems.of(n_users, train),
        relevant=UserItems.of(n_users, test),
        popularity=torch.from_numpy(np.bincount(train.items, minlength=n_items)),
    )


def ours(
    case: Evaluation, *, batch_size: int = 1024, memory_budget_mb: int = 1024
) -> dict[str, Tensor]:
    """All metrics, in the steps of `slifmr_pl.evaluation.FullRanking`."""
    ranking = ItemRanking(case.items, max(KS), memory_budget_mb=memory_budget_mb)
    metrics = RankingMetrics(KS, n_items=len(case.items), item_popularity=case.popularity)
    users = np.arange(len(case.users))
    for batch in EvalBatches(users, case.known, case.relevant, batch_size=batch_size):
        embeddings = case.users[batch.users]
        best = ranking.recommend(embeddings, batch.known_offsets, batch.known_items)
        metrics.update(best.indices, batch.relevant_offsets, batch.relevant_items)
    return metrics.compute()


@dataclass(frozen=True)
class Prepared:
    """What `bare` needs, made beforehand.

    Attributes:
        users: float32 [U, d].
        items: float32 [I', d], I' ≥ I with rows of zeros.
        n_items: I.
        bounds: For each tile, where its pairs begin; and the number of pairs.
        rows: int64, row of each masked pair in its tile.
        columns: int64, item of each masked pair.
        scores: float32 [tile rows, I'].
    """

    users: Tensor
    items: Tensor
    n_items: int
    bounds: list[int]
    rows: Tensor
    columns: Tensor
    scores: Tensor


def prepared(case: Evaluation, *, tile_rows: int, aligned: bool) -> Prepared:
    """Tiles of `tile_rows` users by all items.

    Args:
        case: What there is to rank.
        tile_rows: Users of a tile.
        aligned: Pad the items to a multiple of 64, so that rows of scores begin at cache lines. It
            makes the product much faster, though few would think of it.
    """
    n_users, n_items = len(case.users), len(case.items)
    users = torch.arange(n_users).repeat_interleave(torch.from_numpy(case.known.counts))
    items = pad(case.items, (0, 0, 0, -n_items % 64)) if aligned else case.items
    return Prepared(
        users=case.users,
        items=items,
        n_items=n_items,
        bounds=[*case.known.offsets[:n_users:tile_rows].tolist(), len(users)],
        rows=users % tile_rows,
        columns=torch.from_numpy(case.known.items),
        scores=torch.empty(tile_rows, len(items)),
    )


def bare(work: Prepared) -> Tensor:
    """The best items of the last tile, int64; those before are found and dropped."""
    tile_rows, k = len(work.scores), max(KS)
    for tile, first in enumerate(range(0, len(work.users), tile_rows)):
        users = work.users[first : first + tile_rows]
        scores = work.scores[: len(users)]
        torch.mm(users, work.items.T, out=scores)
        pairs = slice(work.bounds[tile], work.bounds[tile + 1])
        scores[work.rows[pairs], work.columns[pairs]] = -torch.inf
        best = scores[:, : work.n_items].topk(k, dim=1).indices
    return best
