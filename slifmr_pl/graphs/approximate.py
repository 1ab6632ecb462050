"""Approximate nearest neighbours by cosine similarity, with the recall that was reached.

An inverted file (Jégou, Douze & Schmid, TPAMI 2011; faiss) puts every row into the list of the
centroid nearest to it, and searches the lists whose centroids are nearest to a query. Searching all
lists is exact, so any recall can be reached. Shapes: N rows, d feature size, K neighbours a row.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from slifmr_pl.config.optional import library
from slifmr_pl.graphs.sparse.topk import TopK

SAMPLE_ROWS = 1000
SEED = 2026  # of the sample and of the centroids
# Neighbours whose similarity lies below the exact ones by rounding alone are no worse than they.
ROUNDING = 1e-6
SEARCHED_AT_ONCE = 2**16


class Approximation(NamedTuple):
    """Neighbours that an index found, and how good they are.

    Attributes:
        best: TopK ``[N, K]``, the row itself left out; value ``-inf`` where too few were found.
        recall: Share of the exact neighbours that is found, on a sample of rows; a neighbour as
            similar as the K-th exact one counts as found.
        sample: Rows of that sample.
        lists: Lists of the index.
        searched: Lists that were searched for each row.
    """

    best: TopK
    recall: float
    sample: int
    lists: int
    searched: int


def approximate_topk(
    directions: Tensor, k: int, *, recall: float, exact: Callable[[Tensor], TopK]
) -> Approximation:
    """Most of the k rows of highest cosine similarity for every row, itself left out.

    As many lists are searched as a sample of rows needs to reach the recall. The result depends on
    nothing but the arguments.

    Args:
        directions: Unit rows, float ``[N, d]``; the index holds a float32 copy in host memory.
        k: Neighbours a row, less than N.
        recall: Lowest recall on the sample, above 0 and at most 1.
        exact: Exact TopK ``[n, k]`` of some rows, given as int64 ``[n]``.

    Raises:
        ConfigError: If faiss is not installed.
    """
    faiss = library("faiss", "faiss", "an approximate search", "search exactly (method: exact)")
    n_rows = len(directions)
    n_lists = max(1, min(round(4 * n_rows**0.5), n_rows // 39))  # 39: what faiss trains on at least
    rows = directions.detach().float().cpu().contiguous().numpy()
    sample = torch.randperm(n_rows, generator=torch.Generator().manual_seed(SEED))[:SAMPLE_ROWS]
    threshold = exact(sample.to(directions.device)).values[:, -1:].cpu() - ROUNDING
    with _threads(faiss):
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], n_lists, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = SEED
        index.train(rows)
        index.add(rows)
        index.nprobe = 1
        while True:
            found = _search(index, rows, sample, k)
            reached = float((found.values >= threshold).double().mean())
            if reached >= recall or index.nprobe == n_lists:
                break
            index.nprobe = min(2 * index.nprobe, n_lists)
        best = _search(index, rows, torch.arange(n_rows), k)
    best = TopK(*(part.to(directions.device) for part in best))
    return Approximation(best, reached, len(sample), n_lists, index.nprobe)


def _search(index: Any, rows: Any, which: Tensor, k: int) -> TopK:
    """TopK ``[n, k]`` of some rows: equal values by lower index, and no row its own neighbour."""
    parts = []
    for own in which.split(SEARCHED_AT_ONCE):
        values, indices = map(torch.from_numpy, index.search(rows[own.numpy()], k + 1))
        values.clamp_(max=1)  # rounding; before ranking, so that exact copies stay tied
        values.masked_fill_((indices == own.unsqueeze(1)) | (indices < 0), -torch.inf)
        indices, order = indices.clamp_min_(0).sort(dim=1)
        values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
        parts.append(TopK(values[:, :k], indices.gather(1, order[:, :k])))
    return TopK(*(torch.cat(column) for column in zip(*parts, strict=True)))


@contextmanager
def _threads(faiss: Any) -> Iterator[None]:
    """Lets faiss use as many threads as torch does."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
