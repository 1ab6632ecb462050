"""Recommendations from a checkpoint alone, with raw ids: no data folder, no Trainer.

Shapes: U users, I items, n users asked for, d embedding size.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from feature_extraction import FeatureStore
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.interactions import Interactions, UserItems
from slifmr_pl.data.selection import allowed_items
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.errors import ConfigError, DataError
from slifmr_pl.graphs.sparse.topk import topk_stable
from slifmr_pl.metrics.full_ranking import ItemRanking
from slifmr_pl.models.base import RecommenderModule, catalogue_of, load_model
from slifmr_pl.models.history import HistoryEncoding
from slifmr_pl.models.ranking_module import ScoreRanker, Vectors, require_vectors
from slifmr_pl.serving.new_items import fit_feature_map, new_item_features
from slifmr_pl.serving.raw_ids import RowLookup

# So many at once are faster in the blocks of `predict` than one after the other.
_MANY_QUERIES = 32


class Recommendation(NamedTuple):
    """One place of a list.

    Attributes:
        item_id: Raw id.
        score: Of the model, or the cosine similarity of two items.
    """

    item_id: str
    score: float


class Addition(NamedTuple):
    """How well items could be added.

    Attributes:
        explained: Share of the variance of the known items' representations, the regression apart,
            that features and facts explain where an item is left out; near 0 they say little of
            who likes an item.
        unknown_facts: Facts whose relation or entity is not in the model's knowledge graph, and
            which say nothing therefore.
    """

    explained: float
    unknown_facts: int


class Recommender:
    """Answers for users and items by their raw ids.

    Scores and their order are those of `predict`, up to the rounding of float32. A model without
    vectors recommends and scores; similar and new items need vectors.

    Args:
        module: Trained; its vectors are computed here, and one that has them is not kept.
        catalogue: Raw ids of its rows.
    """

    @torch.no_grad()
    def __init__(self, module: RecommenderModule, catalogue: Catalogue) -> None:
        assert module.inputs is not None
        self.graph = module.inputs.graph
        self.items = catalogue.items
        self.catalogue = catalogue
        train = Interactions(self.graph.users.cpu().numpy(), self.graph.items.cpu().numpy())
        self.seen = UserItems.of(self.graph.n_users, train, catalogue.held_out)
        self._user_ids, self._item_ids = RowLookup(catalogue.users), RowLookup(catalogue.items)
        self._directions: Tensor | None = None
        self._device = module.device
        self._module: RecommenderModule | None = None  # kept where scores are computed by it
        self._vectors: Vectors | None = None
        if module.gives_vectors:
            vectors = module.representations()
            self._vectors = Vectors(vectors.users.float().cpu(), vectors.items.float().cpu())
            self._dim = module.representation_dim or vectors.items.shape[1]
            self._encode = module.history_encoder(vectors)
        else:
            self._module = module

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "Recommender":
        """Of whatever model a checkpoint is of, see `load_model`.

        What the model propagates is computed once, on the CPU, over the graphs that it holds.

        Args:
            path: A file that `fit` wrote.

        Raises:
            CheckpointError: If the file is absent, damaged or foreign, or holds no raw ids.
        """
        module = load_model(path)
        return cls(module, catalogue_of(module, path))

    @property
    def user_embeddings(self) -> Tensor:
        """Vectors of the users, float32 [U, d].

        Raises:
            ConfigError: If the model gives scores alone.
        """
        return self._needed("vectors of users").users

    @property
    def item_embeddings(self) -> Tensor:
        """Vectors of the items, those added too, float32 [I, d].

        Raises:
            ConfigError: If the model gives scores alone.
        """
        return self._needed("vectors of items").items

    @property
    def history_encoding(self) -> HistoryEncoding | None:
        """How a history becomes a vector, where that is tables; None of other models."""
        if self._vectors is None or not isinstance(self._encode, HistoryEncoding):
            return None
        return self._encode

    def _needed(self, wanted: str) -> Vectors:
        if self._module is not None:
            require_vectors(self._module, wanted)
        assert self._vectors is not None
        return self._vectors

    @torch.no_grad()
    def _scores(self, users: Tensor) -> Tensor:
        """Of a model without vectors: float32 [n, I] of rows int64 [n]."""
        assert self._module is not None
        return self._module.scores(users.to(self._device)).float().cpu()

    def recommend(
        self,
        user_ids: Sequence[str],
        k: int = 20,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        blocked: Sequence[str] | None = None,
    ) -> list[list[Recommendation]]:
        """The k best items of each user, best first; equal scores by the order of the catalogue.

        Args:
            user_ids: Raw ids, [n].
            k: Items a user; fewer where a user has nothing left.
            exclude_seen: Leave out what a user has interacted with.
            candidates: Raw ids of the items that may be recommended; None for all.
            blocked: Raw ids of items that may not, candidates or not.

        Returns:
            A list for each user, in the order given.

        Raises:
            DataError: If an id is unknown.
            ConfigError: If `k` is below 1, or no item may be recommended.
        """
        users = self._user_ids.rows(user_ids)
        nothing = np.zeros(len(users) + 1, np.int64), np.empty(0, np.int64)
        known = UserItems(*(self.seen.select(users) if exclude_seen else nothing))
        allowed, rows = self._allowed(candidates, blocked), torch.from_numpy(users)
        if self._vectors is None:
            return self._best_scored(self._scores, rows, k, known, allowed)
        return self._best(self._vectors.users[rows], self._vectors.items, k, known, allowed)

    @torch.no_grad()
    def recommend_for_history(
        self,
        item_ids: Sequence[str],
        k: int = 20,
        *,
        candidates: Sequence[str] | None = None,
        blocked: Sequence[str] | None = None,
    ) -> list[Recommendation]:
        """The k best items for somebody whom training has not seen, from what they have.

        How a model takes them is its own affair (`history_encoder`, `history_scores`). In SLIF-MR
        the items send what they would send to a user of the training data who has them; there is
        no embedding of the user's own to add.

        Args:
            item_ids: Raw ids; those added later say nothing of the user. None of them comes back.
            k: Length of the list.
            candidates: Raw ids of the items that may be recommended; None for all.
            blocked: Raw ids of items that may not, candidates or not.

        Raises:
            DataError: If an id is unknown, or no item is one that training has seen.
            ConfigError: If `k` is below 1, no item may be recommended, or the model scores known
                users alone.
        """
        rows = np.unique(self._item_ids.rows(item_ids))
        trained = torch.from_numpy(rows[rows < self.graph.n_items])
        if not len(trained):
            raise DataError(
                f"a history of {len(rows)} items, none of which training has seen",
                expected="at least one item of the training data",
                fix="show what is popular until there is one",
            )
        known = UserItems(np.array([0, len(rows)]), rows)
        allowed = self._allowed(candidates, blocked)
        if self._vectors is not None:
            query = self._encode(trained.to(self._device)).float().cpu().unsqueeze(0)
            return self._best(query, self._vectors.items, k, known, allowed)[0]
        module = self._module
        assert module is not None
        if not module.scores_histories:
            raise ConfigError(
                f"a history for {type(module).__name__}, which scores known users alone",
                expected="a model with vectors, or one that implements `history_scores`",
                fix="ask for users of the training data, with `recommend`",
            )

        def scores(_: Tensor) -> Tensor:
            history = torch.tensor([0, len(trained)]), trained
            return module.history_scores(*(part.to(self._device) for part in history)).float().cpu()

        return self._best_scored(scores, torch.zeros(1, dtype=torch.int64), k, known, allowed)[0]

    def similar_items(self, item_ids: Sequence[str], k: int = 20) -> list[list[Recommendation]]:
        """The k items whose representations have the highest cosine with each item's own.

        What a model adds on another scale, such as SLIF-MR's regression, takes no part.

        Args:
            item_ids: Raw ids.
            k: Items a list; the item itself is left out.

        Raises:
            DataError: If an id is unknown.
            ConfigError: If `k` is below 1, or the model gives scores alone.
        """
        table = self._needed("similar items").items
        rows = self._item_ids.rows(item_ids)
        if self._directions is None:
            self._directions = normalize(table[:, : self._dim])
        itself = UserItems(np.arange(len(rows) + 1), rows)
        return self._best(self._directions[torch.from_numpy(rows)], self._directions, k, itself)

    def score(self, user_id: str, item_ids: Sequence[str]) -> list[float]:
        """Scores of one user and some items, seen or not.

        Raises:
            DataError: If an id is unknown.
        """
        (user,) = self._user_ids.rows([user_id])
        items = torch.from_numpy(self._item_ids.rows(item_ids))
        if self._vectors is None:
            values = self._scores(torch.tensor([user]))[0, items]
        else:
            values = self._vectors.items[items] @ self._vectors.users[user]
        scores: list[float] = values.float().tolist()
        return scores

    def add_items(
        self,
        item_ids: Sequence[str],
        *,
        stores: Mapping[str, FeatureStore] | None = None,
        facts: Sequence[tuple[str, str, str]] = (),
    ) -> Addition:
        """Makes items that training has not seen recommendable, from their features and facts.

        Args:
            item_ids: Raw ids of the new items, [n].
            stores: Feature stores that hold known and new items, by any name; also of modalities
                that the model was not trained with.
            facts: (head, relation, tail) raw ids, one end a new item, the other an entity of the
                model's knowledge graph.

        Returns:
            How much features and facts say.

        Raises:
            DataError: If an id is known already or occurs twice, a store holds no known or no new
                item, a fact is of no new item, or there are neither stores nor facts.
            ConfigError: If the model gives scores alone.
        """
        vectors = self._needed("new items")
        new = Vocabulary(item_ids)
        grown = Vocabulary(pa.concat_arrays([self.items.ids, new.ids]))
        warm = torch.bincount(self.graph.items, minlength=self.graph.n_items) > 0
        known, own, unknown = new_item_features(
            self.catalogue, self.graph, new, dict(stores or {}), facts
        )
        embeddings = vectors.items[: len(warm)][warm]
        # What is on a scale of its own has a map of its own.
        maps = [fit_feature_map(known[warm], embeddings[:, : self._dim])]
        if self._dim < embeddings.shape[1]:
            maps.append(fit_feature_map(known[warm], embeddings[:, self._dim :]))
        added = torch.cat([fitted(own) for fitted in maps], dim=1)
        self._vectors = vectors._replace(items=torch.cat([vectors.items, added]))
        self.items, self._item_ids, self._directions = grown, RowLookup(grown), None
        return Addition(maps[0].explained, unknown)

    def _allowed(
        self, candidates: Sequence[str] | None, blocked: Sequence[str] | None
    ) -> Tensor | None:
        some, none = (
            None if ids is None else self._item_ids.rows(ids) for ids in (candidates, blocked)
        )
        allowed = allowed_items(len(self.items), some, none)
        return None if allowed is None else torch.from_numpy(allowed)

    def _best(
        self,
        queries: Tensor,
        table: Tensor,
        k: int,
        left_out: UserItems,
        allowed: Tensor | None = None,
    ) -> list[list[Recommendation]]:
        """Top-k of float32 [n, d] by [I, d], without the rows that each query leaves out."""
        offsets, items = torch.from_numpy(left_out.offsets), torch.from_numpy(left_out.items)
        if len(queries) >= _MANY_QUERIES:
            best = ItemRanking(table, k, allowed=allowed).recommend(queries, offsets, items)
            return [self._list(*row) for row in zip(*best, strict=True)]
        forbidden = None if allowed is None else ~allowed
        lists = []
        for row, query in enumerate(queries):
            scores = table @ query
            scores[items[offsets[row] : offsets[row + 1]]] = -torch.inf
            if forbidden is not None:
                scores.masked_fill_(forbidden, -torch.inf)
            values, indices = topk_stable(scores.unsqueeze(0), k)
            lists.append(self._list(values[0], indices[0]))
        return lists

    def _best_scored(
        self,
        scores: Callable[[Tensor], Tensor],
        users: Tensor,
        k: int,
        left_out: UserItems,
        allowed: Tensor | None,
    ) -> list[list[Recommendation]]:
        """Top-k by the scores of some users, int64 [n]."""
        ranker = ScoreRanker(scores, self.graph.n_items, k, allowed=allowed)
        offsets, items = torch.from_numpy(left_out.offsets), torch.from_numpy(left_out.items)
        best = ranker.recommend(users, offsets, items)
        return [self._list(*row) for row in zip(*best, strict=True)]

    def _list(self, values: Tensor, rows: Tensor) -> list[Recommendation]:
        filled = ~values.isneginf()
        ids = self.items.decode(rows[filled].numpy())
        return [*map(Recommendation, ids, values[filled].tolist())]
