"""Recommendations from a checkpoint alone, with raw ids: no data folder, no Trainer.

Shapes: U users, I items, n users asked for, d embedding size.
"""

from collections.abc import Mapping, Sequence
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
from slifmr_pl.errors import DataError
from slifmr_pl.graphs.sparse.topk import topk_stable
from slifmr_pl.metrics.full_ranking import ItemRanking
from slifmr_pl.module import SlifMrModule
from slifmr_pl.regression.closed_form import append_regression
from slifmr_pl.serving.last_step import sent_to_users
from slifmr_pl.serving.new_items import fit_feature_map, new_item_features
from slifmr_pl.serving.raw_ids import RowLookup, catalogue_of

# So many at once are faster in the blocks of `predict` than one after the other.
_MANY_QUERIES = 32


class Recommendation(NamedTuple):
    """One place of a list.

    Attributes:
        item_id: Raw id.
        score: ⟨u*, i*⟩, or the cosine similarity of two items.
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

    Scores and their order are those of `predict`, up to the rounding of float32.

    Args:
        module: Trained; what it propagates is computed here, and it is not kept.
        catalogue: Raw ids of its rows.
    """

    def __init__(self, module: SlifMrModule, catalogue: Catalogue) -> None:
        assert module.inputs is not None
        self.graph = module.inputs.graph
        self.items = catalogue.items
        self.catalogue = catalogue
        views = module.representations()
        self.user_embeddings = views.users.float().cpu()
        self.item_embeddings = views.items.float().cpu()
        self._dim = module.network_config.embedding_dim
        regression = module.regression()
        self._regression = None if regression is None else regression.to(torch.device("cpu"))
        self._sent = sent_to_users(module, views).float().cpu()
        self._user_fusion = module.network_config.user_fusion
        train = Interactions(self.graph.users.cpu().numpy(), self.graph.items.cpu().numpy())
        self.seen = UserItems.of(self.graph.n_users, train, catalogue.held_out)
        self._user_ids, self._item_ids = RowLookup(catalogue.users), RowLookup(catalogue.items)
        self._directions: Tensor | None = None

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "Recommender":
        """Propagates once, on the CPU, over the graphs that the checkpoint holds.

        Args:
            path: A file that `fit` wrote.

        Raises:
            CheckpointError: If the file is absent, damaged or foreign, or holds no raw ids.
        """
        module = SlifMrModule.load_from_checkpoint(path)
        return cls(module, catalogue_of(module, path))

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
        return self._best(
            self.user_embeddings[torch.from_numpy(users)],
            self.item_embeddings,
            k,
            UserItems(*(self.seen.select(users) if exclude_seen else nothing)),
            self._allowed(candidates, blocked),
        )

    def recommend_for_history(
        self,
        item_ids: Sequence[str],
        k: int = 20,
        *,
        candidates: Sequence[str] | None = None,
        blocked: Sequence[str] | None = None,
    ) -> list[Recommendation]:
        """The k best items for somebody whom training has not seen, from what they have.

        The items send what they would send to a user of the training data who has them; there is
        no embedding of the user's own to add.

        Args:
            item_ids: Raw ids; those added later say nothing of the user. None of them comes back.
            k: Length of the list.
            candidates: Raw ids of the items that may be recommended; None for all.
            blocked: Raw ids of items that may not, candidates or not.

        Raises:
            DataError: If an id is unknown, or no item is one that training has seen.
            ConfigError: If `k` is below 1, or no item may be recommended.
        """
        rows = np.unique(self._item_ids.rows(item_ids))
        trained = rows[rows < len(self._sent)]
        if not len(trained):
            raise DataError(
                f"a history of {len(rows)} items, none of which training has seen",
                expected="at least one item of the training data",
                fix="show what is popular until there is one",
            )
        (places,) = self._best(
            self._query(torch.from_numpy(trained)),
            self.item_embeddings,
            k,
            UserItems(np.array([0, len(rows)]), rows),
            self._allowed(candidates, blocked),
        )
        return places

    def _query(self, items: Tensor) -> Tensor:
        """A representation of somebody who has the items (rows of the training data), [1, d']."""
        known = self.item_embeddings[: len(self._sent), : self._dim]
        query: Tensor = self._sent[items].sum(0) / len(items) ** 0.5
        query = (query + self._user_fusion * known[items].mean(0)).unsqueeze(0)
        if self._regression is not None:
            regression = self._regression.of_history(items)
            query, _ = append_regression(query, known, regression)
        return query

    def similar_items(self, item_ids: Sequence[str], k: int = 20) -> list[list[Recommendation]]:
        """The k items whose representations have the highest cosine with each item's own.

        The regression, which is on a scale of its own, takes no part.

        Args:
            item_ids: Raw ids.
            k: Items a list; the item itself is left out.

        Raises:
            DataError: If an id is unknown.
            ConfigError: If `k` is below 1.
        """
        rows = self._item_ids.rows(item_ids)
        if self._directions is None:
            self._directions = normalize(self.item_embeddings[:, : self._dim])
        itself = UserItems(np.arange(len(rows) + 1), rows)
        return self._best(self._directions[torch.from_numpy(rows)], self._directions, k, itself)

    def score(self, user_id: str, item_ids: Sequence[str]) -> list[float]:
        """⟨u*, i*⟩ of one user and some items, seen or not.

        Raises:
            DataError: If an id is unknown.
        """
        (user,) = self._user_ids.rows([user_id])
        items = torch.from_numpy(self._item_ids.rows(item_ids))
        scores: list[float] = (self.item_embeddings[items] @ self.user_embeddings[user]).tolist()
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
        """
        new = Vocabulary(item_ids)
        grown = Vocabulary(pa.concat_arrays([self.items.ids, new.ids]))
        warm = torch.bincount(self.graph.items, minlength=self.graph.n_items) > 0
        known, own, unknown = new_item_features(
            self.catalogue, self.graph, new, dict(stores or {}), facts
        )
        embeddings = self.item_embeddings[: len(warm)][warm]
        # The regression's part is on a scale of its own, and has a map of its own.
        maps = [fit_feature_map(known[warm], embeddings[:, : self._dim])]
        if self._regression is not None:
            maps.append(fit_feature_map(known[warm], embeddings[:, self._dim :]))
        added = torch.cat([fitted(own) for fitted in maps], dim=1)
        self.item_embeddings = torch.cat([self.item_embeddings, added])
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

    def _list(self, values: Tensor, rows: Tensor) -> list[Recommendation]:
        found = ~values.isneginf()
        ids = self.items.decode(rows[found].numpy())
        return [*map(Recommendation, ids, values[found].tolist())]
