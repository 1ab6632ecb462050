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
# A neighbour whose similarity is lower by rounding alone counts as equally similar.
ROUNDING = 1e-6
SEARCHED_AT_ONCE = 2**16


class Approximation(NamedTuple):
    """Approximate neighbours, and their recall.

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
    """The k most similar rows of every row, itself left out, of which some may be missed.

    The number of lists to search is doubled until a sample of rows reaches the recall. The result
    depends on nothing but the arguments.

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
            on_sample = _search(index, rows, sample, k)
            reached = float((on_sample.values >= threshold).double().mean())
            if reached >= recall or index.nprobe == n_lists:
                break
            index.nprobe = min(2 * index.nprobe, n_lists)
        best = _search(index, rows, torch.arange(n_rows), k)
    best = TopK(*(part.to(directions.device) for part in best))
    return Approximation(best, reached, len(sample), n_lists, index.nprobe)


def _search(index: Any, rows: Any, which: Tensor, k: int) -> TopK:
    """TopK ``[n, k]`` of some rows, itself left out; ties go to the lower index."""
    parts = []
    for own in which.split(SEARCHED_AT_ONCE):
        values, indices = map(torch.from_numpy, index.search(rows[own.numpy()], k + 1))
        values.clamp_(max=1)  # rounding would break ties of exact copies
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
