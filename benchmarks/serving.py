"""One request to a `Recommender` against its bare parts: product, mask and `torch.topk`.

A request asks for the best unseen items of one user by raw id. I = items, d = embedding size.
"""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.data import InteractionData, generate
from benchmarks.harness import Report, Variant, compare
from benchmarks.ours import arguments, heterogeneous_graph, new_module
from benchmarks.settings import Settings
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.serving.recommender import Recommender

USERS, ITEMS, INTERACTIONS = 20_000, 100_000, 1_000_000
K = 20
REQUESTS = 20


def benchmark(settings: Settings) -> Iterator[Report]:
    data = generate(
        settings.scaled(USERS, quick=200),
        settings.scaled(ITEMS, quick=300),
        settings.scaled(INTERACTIONS, quick=4000),
        name="generated",
    )
    recommender = served(data, settings.dim)
    chosen = np.linspace(0, data.n_users - 1, REQUESTS).astype(np.int64)
    ids = recommender.catalogue.users.decode(chosen)

    def ours() -> list[str]:
        lists = (recommender.recommend([user], K)[0] for user in ids)
        return [place.item_id for places in lists for place in places]

    users, items = recommender.user_embeddings, recommender.item_embeddings
    seen = [
        torch.from_numpy(recommender.seen.select(chosen[i : i + 1])[1]) for i in range(REQUESTS)
    ]

    def bare() -> list[torch.Tensor]:
        best = []
        for user, known in zip(chosen.tolist(), seen, strict=True):
            scores = items @ users[user]
            scores[known] = -torch.inf
            best.append(scores.topk(K).indices)
        return best

    yield compare(
        f"One request for {K} of {data.n_items:,} items, d {settings.dim}",
        [
            Variant("ours", lambda: ours, units=REQUESTS),
            Variant(
                "bare",
                lambda: bare,
                units=REQUESTS,
                kind="limit",
                compared=False,
                note="no ids, no checks, ties in any order",
            ),
        ],
        settings,
    )


def served(data: InteractionData, dim: int) -> Recommender:
    """A recommender with untrained weights; the time does not depend on them."""
    users, items = (
        Vocabulary([f"{kind}-{row:07}" for row in range(count)])
        for kind, count in (("user", data.n_users), ("item", data.n_items))
    )
    nothing = np.empty(0, np.int64)
    catalogue = Catalogue(users, items, items, Vocabulary([]), Interactions(nothing, nothing))
    inputs = ModelInputs(heterogeneous_graph(data), {}, "benchmark", "benchmark", catalogue)
    return Recommender(new_module(inputs, arguments(dim, "lightgcn")), catalogue)
