"""Full-ranking evaluation against its bare parts: product, mask and `torch.topk` in tiles.

`ours` is what validation does with propagated representations: batches, checks, ranking, and all
metrics at all cut-offs. `bare` only finds the best items, with everything prepared beforehand.
U = users, I = items, d = embedding size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.data import InteractionData, load
from benchmarks.harness import Report, Variant, compare
from benchmarks.settings import Settings
from slifmr_pl.data.batches import EvalBatches
from slifmr_pl.data.interactions import UserItems
from slifmr_pl.metrics.definitions import built_in_metrics
from slifmr_pl.metrics.full_ranking import ItemRanking
from slifmr_pl.metrics.metric_inputs import MetricInputs
from slifmr_pl.metrics.ranking_metrics import RankingMetrics

KS = (5, 10, 20, 50)
BARE_TILE_ROWS = (512, 1024, 2048)
USERS = 16_384  # of the data's; time is linear in them


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    case = evaluation(data, settings)
    n_users, n_items = len(case.users), len(case.items)

    def prepare_bare(tile_rows: int, aligned: bool) -> Callable[[], Tensor]:
        work = prepared(case, tile_rows=tile_rows, aligned=aligned)
        return lambda: bare(work)

    yield compare(
        f"Evaluation of {n_users:,} users by {n_items:,} items, top {max(KS)}, all metrics at "
        f"{len(KS)} cut-offs ({data.title})",
        [
            Variant("ours", lambda: lambda: ours(case)),
            *(
                Variant(
                    f"bare, {rows} rows{', aligned' * aligned}",
                    partial(prepare_bare, rows, aligned),
                    kind="limit",
                    compared=False,
                    note="finds the items; no checks, ties in any order, no metrics",
                )
                for aligned in (False, True)
                for rows in BARE_TILE_ROWS
            ),
        ],
        settings,
    )


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


def evaluation(data: InteractionData, settings: Settings) -> Evaluation:
    """Random representations of the size of trained ones; training items are masked."""
    rng = torch.Generator().manual_seed(0)
    n_users = min(data.n_users, settings.scaled(USERS, quick=64))
    chosen = np.arange(n_users)
    known, relevant = (
        UserItems(*UserItems.of(data.n_users, part).select(chosen))
        for part in (data.train, data.test)
    )
    return Evaluation(
        users=0.1 * torch.randn(n_users, settings.dim, generator=rng),
        items=0.1 * torch.randn(data.n_items, settings.dim, generator=rng),
        known=known,
        relevant=relevant,
        popularity=torch.from_numpy(np.bincount(data.train.items, minlength=data.n_items)),
    )


def ours(
    case: Evaluation, *, batch_size: int = 1024, memory_budget_mb: int = 1024
) -> dict[str, Tensor]:
    """All metrics, in the steps of `slifmr_pl.models.base.RecommenderModule`."""
    ranking = ItemRanking(case.items, max(KS), memory_budget_mb=memory_budget_mb)
    metrics = RankingMetrics(built_in_metrics(), KS, MetricInputs(case.popularity))
    users = np.arange(len(case.users))
    for batch in EvalBatches(users, case.known, case.relevant, batch_size=batch_size):
        embeddings = case.users[batch.users]
        best = ranking.recommend(embeddings, batch.known_offsets, batch.known_items)
        metrics.update(best.indices, batch.relevant_offsets, batch.relevant_items, batch.users)
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
