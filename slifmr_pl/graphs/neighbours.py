"""Nearest neighbours by cosine similarity, exact unless another search is asked for.

Shapes: N rows, d feature size, K neighbours a row.
"""

import logging
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from slifmr_pl.config.bounds import is_number, require, require_counts
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.approximate import approximate_topk
from slifmr_pl.graphs.sparse.blocked_topk import ProductTopK
from slifmr_pl.graphs.sparse.topk import TopK, check_k

logger = logging.getLogger(__name__)

_NO_VARIANCE = 1e-12  # of the largest: what float32 features have of rounding alone


@dataclass(frozen=True)
class NeighbourSearch:
    """How nearest neighbours are searched.

    Attributes:
        method: "exact" compares all rows; "approximate" asks an index of faiss, an optional
            package; "auto" is exact up to `exact_rows`. No more rows than neighbours are always
            searched exactly.
        exact_rows: Most rows that "auto" searches exactly. Time grows with their square: so many
            take a CPU minutes; a GPU can take more.
        recall: Share of the exact neighbours that an approximate search must find, above 0 and at
            most 1; measured on a sample of rows.
    """

    method: Literal["exact", "approximate", "auto"] = "auto"
    exact_rows: int = 300_000
    recall: float = 0.95

    def __post_init__(self) -> None:
        methods, recall = ("exact", "approximate", "auto"), self.recall
        require(
            "search",
            ("method", self.method, self.method in methods, " or ".join(methods)),
            ("recall", recall, is_number(recall, above=0, most=1), "above 0 and at most 1"),
        )
        require_counts("search", 0, exact_rows=self.exact_rows)

    def is_exact(self, n_rows: int) -> bool:
        """Whether so many rows are searched exactly."""
        return self.method == "exact" or (self.method == "auto" and n_rows <= self.exact_rows)


class Neighbours(NamedTuple):
    """Weighted nearest neighbours of every row, nearest first.

    Attributes:
        indices: int64 ``[N, K]``, -1 where there is no neighbour (always at the end of a row).
        weights: float32 ``[N, K]`` similarities, 0 where there is no neighbour.
    """

    indices: Tensor
    weights: Tensor


@torch.no_grad()
def cosine_neighbours(
    features: Tensor,
    k: int,
    *,
    present: Tensor | None = None,
    memory_budget_mb: int = 256,
    centre: bool = False,
    whiten: bool = False,
    search: NeighbourSearch = NeighbourSearch(),
) -> Neighbours:
    """The k rows of highest cosine similarity, for every row, itself left out.

    Only similarities above zero count: weights become edges of a normalised graph, where zero is
    no edge and a negative one has no degree. Equal similarities are taken by lower index. The
    result is the same for every memory budget; the similarity matrix is never held whole. An
    approximate search is logged with its recall.

    Args:
        features: float ``[N, d]``; rows that are not present may hold anything.
        k: Neighbours a row, at least 1; rows with fewer are filled up with -1.
        present: bool ``[N]``; absent rows have no neighbours and are nobody's neighbour. Rows of
            zeros, which have no direction, count as absent.
        memory_budget_mb: Work space in MiB for the similarities of an exact search, see
            :func:`slifmr_pl.graphs.sparse.blocked_topk.tile_columns`.
        centre: Subtract the mean of the present rows first; rows equal to that mean then have
            no neighbours.
        whiten: Centre, and give every direction the same variance, so that no few of them decide
            what is similar. Needs more rows than columns: otherwise all rows are equally far.
        search: Exact or approximate.

    Raises:
        ConfigError: If ``k``, the budget or a shape is wrong, or faiss is needed and not there.
        DataError: If a present row is not finite, or there are too few rows to whiten.
    """
    check_k(k)
    n_rows = features.shape[0]
    present = _checked_presence(features, present)
    rows = present.nonzero().squeeze(1)
    if whiten:
        require_rows_to_whiten(len(rows), features.shape[1])
    directions, has_direction = _unit_rows(features[rows], centre=centre, whiten=whiten)
    rows = rows[has_direction]
    directions = directions[has_direction]

    best = _most_similar(directions, k, memory_budget_mb, search)
    weights = best.values.float()
    is_neighbour = weights > 0
    result = Neighbours(
        torch.full((n_rows, k), -1, dtype=torch.int64, device=features.device),
        torch.zeros((n_rows, k), dtype=torch.float32, device=features.device),
    )
    width = weights.shape[1]
    result.indices[rows, :width] = rows[best.indices].masked_fill(~is_neighbour, -1)
    result.weights[rows, :width] = weights.masked_fill(~is_neighbour, 0)
    return result


def _most_similar(
    directions: Tensor, k: int, memory_budget_mb: int, search: NeighbourSearch
) -> TopK:
    """TopK ``[N, min(k, N)]`` of unit rows, itself left out."""
    n_rows = len(directions)
    # Rounding must not keep exact copies from being tied.
    product = ProductTopK(directions, k, memory_budget_mb=memory_budget_mb, ceiling=1.0)

    def exact(queries: Tensor, rows: Tensor) -> TopK:
        def leave_out_self(similarities: Tensor, first_row: int, first_column: int) -> None:
            columns = rows[first_row : first_row + len(similarities)] - first_column
            inside = (columns >= 0) & (columns < similarities.shape[1])
            similarities[inside.nonzero().squeeze(1), columns[inside]] = -torch.inf

        return product(queries, leave_out_self)

    if search.is_exact(n_rows) or n_rows <= k:
        return exact(directions, torch.arange(n_rows, device=directions.device))
    result = approximate_topk(
        directions, k, recall=search.recall, exact=lambda rows: exact(directions[rows], rows)
    )
    logger.info(
        "Nearest neighbours of %d rows: approximate, %d of %d lists searched;"
        " recall@%d %.4f on %d rows",
        n_rows, result.searched, result.lists, k, result.recall, result.sample,
    )  # fmt: skip
    return result.best


def _checked_presence(features: Tensor, present: Tensor | None) -> Tensor:
    if features.dim() != 2 or not features.is_floating_point():
        raise ConfigError(
            f"features are {features.dtype} of shape {tuple(features.shape)}",
            expected="a float matrix [rows, feature size]",
            fix="pass one feature vector a row, for example features.flatten(1).float()",
        )
    n_rows = features.shape[0]
    if present is None:
        present = torch.ones(n_rows, dtype=torch.bool, device=features.device)
    if present.dtype != torch.bool or present.shape != (n_rows,):
        raise ConfigError(
            f"the presence mask is {present.dtype} of shape {tuple(present.shape)}",
            expected=f"bool of shape ({n_rows},), one entry for each feature row",
            fix="build the mask from the same row order as the features",
        )
    broken = present & ~features.isfinite().all(dim=1)
    if bool(broken.any()):
        row = int(broken.nonzero()[0])
        raise DataError(
            f"{int(broken.sum())} feature rows are not finite, the first is row {row} (0-based)",
            expected="finite features in all present rows",
            fix="extract these rows again, or mark them as not present",
        )
    return present


def require_rows_to_whiten(rows: int, columns: int) -> None:
    """Refuse to whiten where every row would be equally far from every other.

    Raises:
        DataError: There are no more rows than columns.
    """
    if rows <= columns:
        raise DataError(
            f"{rows:,} rows of {columns:,} columns cannot be whitened",
            expected="more items with features than columns",
            fix="reduce the features to fewer columns first (data.modalities.NAME.reduce), or "
            "choose another similarity",
        )


def _whitened(centred: Tensor) -> Tensor:
    """Centred rows ``[N, d]`` with variance 1 in every direction in which they vary."""
    values = centred.double()
    variances, vectors = torch.linalg.eigh(values.T @ values / len(values))
    varies = variances > _NO_VARIANCE * variances[-1]
    white: Tensor = values @ (vectors[:, varies] / variances[varies].sqrt())
    return white.to(centred.dtype)


def _unit_rows(features: Tensor, *, centre: bool, whiten: bool = False) -> tuple[Tensor, Tensor]:
    """Rows of length 1 in float32 or float64, and which rows have a direction (bool)."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    largest = _largest_entries(features)
    noise = torch.zeros_like(largest)
    if (centre or whiten) and len(features):
        mean = features.mean(dim=0, dtype=torch.float64).to(features.dtype)
        # What is left of a row equal to the mean is rounding, which must not become a direction.
        noise = 8 * torch.finfo(features.dtype).eps * largest.maximum(_largest_entries(mean[None]))
        features = features - mean
        largest = _largest_entries(features)
    has_direction = largest > noise
    if whiten:
        features = _whitened(features)
        largest = _largest_entries(features)
    # Dividing by the largest entry first keeps the squares of the norm in range.
    features = features / torch.where(has_direction, largest, 1).unsqueeze(1)
    return features / features.norm(dim=1, keepdim=True).clamp_min(1), has_direction


def _largest_entries(features: Tensor) -> Tensor:
    """``[N, d] -> [N]``, largest absolute entry of every row."""
    largest: Tensor = torch.linalg.vector_norm(features, ord=torch.inf, dim=1)
    return largest
