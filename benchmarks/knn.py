"""Nearest neighbours against their bare parts: product and `torch.topk` in tiles.

`ours` is what the self-loop does at the end of an epoch: checks, unit length, exact search with
ties by index. `bare` finds the best columns of unit rows that are prepared beforehand.
N = rows, d = feature size, K = neighbours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from benchmarks.harness import Report, Variant, compare
from benchmarks.settings import Settings
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours

BARE_TILE_ROWS = (512, 1024, 2048)
ROWS, NEIGHBOURS = 25_000, 10


def benchmark(settings: Settings) -> Iterator[Report]:
    rows = features(
        settings.scaled(ROWS, quick=300),
        settings.dim,
        seed=0,
        n_clusters=settings.scaled(500, quick=5),
    )

    def prepare_bare(tile_rows: int, aligned: bool) -> Callable[[], Tensor]:
        work = prepared(rows, tile_rows=tile_rows, aligned=aligned)
        return lambda: bare(work, NEIGHBOURS)

    yield compare(
        f"The {NEIGHBOURS} nearest of {len(rows):,} rows, d {settings.dim}",
        [
            Variant("ours", lambda: lambda: ours(rows, NEIGHBOURS)),
            Variant(
                "ours, approximate",
                lambda: lambda: ours_approximate(rows, NEIGHBOURS),
                kind="ours",
                compared=False,
                note="an index of faiss that finds 95 %; for a million rows and more",
            ),
            *(
                Variant(
                    f"bare, {size} rows{', aligned' * aligned}",
                    partial(prepare_bare, size, aligned),
                    kind="limit",
                    compared=False,
                    note="ties in any order",
                )
                for aligned in (False, True)
                for size in BARE_TILE_ROWS
            ),
        ],
        settings,
    )


def features(n_rows: int, dim: int, *, seed: int, n_clusters: int = 0) -> Tensor:
    """float32 [N, d]; around centres where there are clusters, as learned representations lie."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_rows, dim, generator=rng)
    if not n_clusters:
        return rows
    centres = torch.randn(n_clusters, dim, generator=rng)
    return centres[torch.randint(n_clusters, (n_rows,), generator=rng)] + 0.7 * rows


def ours(rows: Tensor, k: int, *, memory_budget_mb: int = 256) -> Neighbours:
    """Exact neighbours."""
    search = NeighbourSearch("exact")
    return cosine_neighbours(rows, k, memory_budget_mb=memory_budget_mb, search=search)


def ours_approximate(rows: Tensor, k: int, *, recall: float = 0.95) -> Neighbours:
    """Neighbours from an index of faiss; needs the extra `faiss`."""
    return cosine_neighbours(rows, k, search=NeighbourSearch("approximate", recall=recall))


@dataclass(frozen=True)
class Prepared:
    """What `bare` needs, made beforehand.

    Attributes:
        queries: Unit rows, float32 [N, d].
        candidates: The same with rows of zeros at the end, float32 [N', d].
        scores: float32 [tile rows, N'].
    """

    queries: Tensor
    candidates: Tensor
    scores: Tensor


def prepared(rows: Tensor, *, tile_rows: int, aligned: bool) -> Prepared:
    """Tiles of `tile_rows` by all rows; see `benchmarks.ranking.prepared` for `aligned`."""
    directions = normalize(rows)
    candidates = pad(directions, (0, 0, 0, -len(rows) % 64)) if aligned else directions
    return Prepared(directions, candidates, torch.empty(tile_rows, len(candidates)))


def bare(work: Prepared, k: int) -> Tensor:
    """The neighbours of the last tile, int64; those before are found and dropped."""
    n_rows, tile_rows = len(work.queries), len(work.scores)
    for first in range(0, n_rows, tile_rows):
        queries = work.queries[first : first + tile_rows]
        scores = work.scores[: len(queries)]
        torch.mm(queries, work.candidates.T, out=scores)
        scores.diagonal(first).fill_(-torch.inf)
        best = scores[:, :n_rows].topk(k, dim=1).indices
    return best
