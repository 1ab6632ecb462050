"""How an export ranks items: by vectors, or by the lists that it holds.

Shapes: U users, I items of which the first K were trained, n users asked for, d size of a vector.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from slifmr_pl.errors import UserFacingError
from slifmr_pl.serving.service.export_files import map_tensors, read_columns

Rows = npt.NDArray[np.int64]
_AT_ONCE = 16  # users whose scores are held at a time


class NotInExportError(UserFacingError):
    """A question that an export of this kind cannot answer."""


class Ranked(NamedTuple):
    """A list, best first.

    Attributes:
        items: Rows int64 [k'].
        scores: float [k'].
    """

    items: Rows
    scores: npt.NDArray[Any]


class Ranking(Protocol):
    """What ranks items. `allowed` is bool [I], items that may be listed; None for all."""

    def users(
        self, users: Rows, k: int, allowed: npt.NDArray[np.bool_] | None, *, exclude_seen: bool
    ) -> Iterator[Ranked]:
        """The best items of known users, rows int64 [n]."""

    def history(
        self, trained: Rows, known: Rows, k: int, allowed: npt.NDArray[np.bool_] | None
    ) -> Ranked:
        """The best items for somebody who has some trained items, without those known.

        Both are distinct rows int64, at least one of them trained.
        """

    def similar(self, item: int, k: int, allowed: npt.NDArray[np.bool_] | None) -> Ranked:
        """The items of highest cosine with an item."""


class VectorRanking:
    """Exact ranking by mapped vectors.

    Args:
        folder: Of the export.
        manifest: Its manifest.
        tensors: Of its `embeddings.safetensors`.
    """

    def __init__(
        self, folder: Path, manifest: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        self._users, self._items = tensors["users"], tensors["items"]
        self._offsets, self._seen = tensors["seen_offsets"], tensors["seen_items"]
        self._trained = len(self._items) - manifest.get("new_items", 0)
        self._dim = manifest["representation_dim"]
        own = self._items[:, : self._dim]  # the rest is the regression, on a scale of its own
        self._lengths = np.maximum(np.sqrt(np.einsum("id,id->i", own, own)), 1e-12)
        self._histories = None
        if "histories" in manifest:
            self._histories = map_tensors(folder / "histories.safetensors")
            self._regression_weight = manifest["histories"]["regression_weight"]

    def users(
        self, users: Rows, k: int, allowed: npt.NDArray[np.bool_] | None, *, exclude_seen: bool
    ) -> Iterator[Ranked]:
        """See `Ranking`."""
        for first in range(0, len(users), _AT_ONCE):
            some = users[first : first + _AT_ONCE]
            for user, scores in zip(some, self._users[some] @ self._items.T, strict=True):
                if exclude_seen:
                    scores[self._seen[self._offsets[user] : self._offsets[user + 1]]] = -np.inf
                yield best(scores, k, allowed)

    def history(
        self, trained: Rows, known: Rows, k: int, allowed: npt.NDArray[np.bool_] | None
    ) -> Ranked:
        """See `Ranking`; what `HistoryEncoding` does with tensors."""
        tables = self._histories
        if tables is None:
            raise NotInExportError(
                "a history, for a model that encodes histories by a function of its own",
                expected="known users",
                fix="ask `Recommender.recommend_for_history`, which runs the model",
            )
        query = tables["messages"][trained].sum(0) / np.float32(len(trained) ** 0.5)
        if "means" in tables:
            query = query + tables["means"][trained].mean(0)
        scores = self._items[:, : len(query)] @ query
        if "regression" in tables:
            factors = tables["regression"][trained].sum(0)
            second = self._items[:, len(query) :] @ factors
            spread = float(second[: self._trained].std())
            if spread > 0:
                share = float(scores[: self._trained].std()) / spread
                scores += np.float32(self._regression_weight * share) * second
        scores[known] = -np.inf
        return best(scores, k, allowed)

    def similar(self, item: int, k: int, allowed: npt.NDArray[np.bool_] | None) -> Ranked:
        """See `Ranking`."""
        own = self._items[:, : self._dim]
        scores = own @ (own[item] / self._lengths[item]) / self._lengths
        scores[item] = -np.inf
        return best(scores, k, allowed)


class ListRanking:
    """The lists of a model that gives scores and no vectors.

    Args:
        folder: Of the export.
        users: Its users, a pyarrow array.
        items: Its items, likewise.

    Raises:
        DataError: If the lists are absent or damaged.
    """

    def __init__(self, folder: Path, users: Any, items: Any) -> None:
        table = read_columns(
            folder / "recommendations.parquet", ("user_id", "item_id", "rank", "score")
        )
        owners = pc.index_in(table["user_id"], users).to_numpy()
        counts = np.bincount(owners, minlength=len(users))
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        order = np.lexsort((table["rank"].to_numpy(), owners))
        self._items = pc.index_in(table["item_id"], items).to_numpy()[order].astype(np.int64)
        self._scores = table["score"].to_numpy()[order]

    def users(
        self, users: Rows, k: int, allowed: npt.NDArray[np.bool_] | None, *, exclude_seen: bool
    ) -> Iterator[Ranked]:
        """See `Ranking`: what is allowed of each user's list."""
        if not exclude_seen:
            raise NotInExportError(
                "items that the user knows, of an export that holds lists of unknown ones",
                expected="exclude_seen true",
                fix="leave exclude_seen out",
            )
        for user in users:
            part = slice(self._offsets[user], self._offsets[user + 1])
            items, scores = self._items[part], self._scores[part]
            if allowed is not None:
                items, scores = items[allowed[items]], scores[allowed[items]]
            yield Ranked(items[:k], scores[:k])

    def history(
        self, trained: Rows, known: Rows, k: int, allowed: npt.NDArray[np.bool_] | None
    ) -> Ranked:
        """Refuses."""
        raise _no_vectors("a history")

    def similar(self, item: int, k: int, allowed: npt.NDArray[np.bool_] | None) -> Ranked:
        """Refuses."""
        raise _no_vectors("similar items")


def best(scores: npt.NDArray[Any], k: int, allowed: npt.NDArray[np.bool_] | None = None) -> Ranked:
    """The k ≥ 1 highest of scores [I], equal ones by lower row; what is -inf is left out."""
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    last = max(len(scores) - k, 0)
    least = np.partition(scores, last)[last]
    rows = np.flatnonzero(scores >= least if np.isfinite(least) else np.isfinite(scores))
    rows = rows[np.lexsort((rows, -scores[rows]))][:k]
    return Ranked(rows, scores[rows])


def _no_vectors(wanted: str) -> NotInExportError:
    return NotInExportError(
        f"{wanted}, of a model that gives scores and no vectors",
        expected="known users, whose lists the export holds",
        fix="export a model with vectors",
    )
