"""Requests to a `Recommender` and to `slifmr serve` against product, mask and `torch.topk`.

A request asks for the best unseen items of one user by raw id. I = items, d = embedding size.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.data import InteractionData, generate
from benchmarks.harness import Report, Variant, compare
from benchmarks.ours import arguments, heterogeneous_graph, new_module
from benchmarks.service_load import ServiceLoad
from benchmarks.settings import Settings
from slifmr_pl.data.catalogue import Catalogue
from slifmr_pl.data.interactions import Interactions
from slifmr_pl.data.vocabulary import Vocabulary
from slifmr_pl.graphs.model_inputs import ModelInputs
from slifmr_pl.models.base import RecommenderModule
from slifmr_pl.runs.atomic_files import write_json
from slifmr_pl.serving.export import write_tables
from slifmr_pl.serving.recommender import Recommender

USERS, ITEMS, INTERACTIONS = 20_000, 100_000, 1_000_000
K = 20
REQUESTS = 20
CLIENTS, REQUESTS_A_CLIENT = 200, 5


def benchmark(settings: Settings) -> Iterator[Report]:
    data = generate(
        settings.scaled(USERS, quick=200),
        settings.scaled(ITEMS, quick=300),
        settings.scaled(INTERACTIONS, quick=4000),
        name="generated",
    )
    recommender, module = served(data, settings.dim)
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

    limit = Variant(
        "bare",
        lambda: bare,
        units=REQUESTS,
        kind="limit",
        compared=False,
        note="no ids, no checks, ties in any order",
    )
    yield compare(
        f"One request for {K} of {data.n_items:,} items, d {settings.dim}",
        [Variant("ours", lambda: ours, units=REQUESTS), limit],
        settings,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_json(
            Path(folder, "manifest.json"),
            write_tables(recommender, module, Path("benchmark.ckpt"), Path(folder)),
        )
        load = ServiceLoad(
            Path(folder),
            recommender.catalogue.users.ids.to_pylist(),
            k=K,
            clients=settings.scaled(CLIENTS, quick=4),
            requests_a_client=settings.scaled(REQUESTS_A_CLIENT, quick=2),
        )
        service = Variant("slifmr serve", load.prepare, note="HTTP; clients on the same cores")
        report = compare(
            f"A request of {load.clients} clients at once, {K} of {data.n_items:,} items, "
            f"d {settings.dim}; time is wall time ÷ requests",
            [service, limit],
            settings,
        )
        yield replace(report, figures=load.figures(), remarks=load.remarks())


def served(data: InteractionData, dim: int) -> tuple[Recommender, RecommenderModule]:
    """A recommender and its model, with untrained weights; the time does not depend on them."""
    users, items = (
        Vocabulary([f"{kind}-{row:07}" for row in range(count)])
        for kind, count in (("user", data.n_users), ("item", data.n_items))
    )
    nothing = np.empty(0, np.int64)
    catalogue = Catalogue(users, items, items, Vocabulary([]), Interactions(nothing, nothing))
    inputs = ModelInputs(heterogeneous_graph(data), {}, "benchmark", "benchmark", catalogue)
    module = new_module(inputs, arguments(dim, "lightgcn"))
    return Recommender(module, catalogue), module
