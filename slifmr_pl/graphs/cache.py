"""Neighbours of features, sorted triples, regressions: made once, kept for the next run.

The processes of a machine share their memory, see `cached_arrays`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from scipy import sparse
from torch import Tensor

from slifmr_pl.data.array_cache import Arrays, cached_arrays, content_key
from slifmr_pl.graphs.knowledge import DirectedTriples
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours
from slifmr_pl.graphs.regression import ItemRegression, item_regression


def cached_neighbours(
    folder: Path,
    features: Tensor,
    k: int,
    *,
    present: Tensor,
    memory_budget_mb: int,
    centre: bool,
    search: NeighbourSearch = NeighbourSearch(),
) -> Neighbours:
    """What ``cosine_neighbours`` finds, from the cache where the same was searched before.

    The key holds all that the result depends on: values and presence of the features, the
    settings (but not the memory budget), the version of torch, and the code of this package room.

    Args:
        folder: Folder of the cache.
        features: float ``[N, d]`` on the CPU.
        k: Neighbours a row.
        present: bool ``[N]``.
        memory_budget_mb: Work space of the search in MiB.
        centre: Subtract the mean of the present rows first.
        search: Exact or approximate.
    """
    inputs = {"features": features.numpy(), "present": present.numpy()}
    settings = {"k": k, "centre": centre, "torch": torch.__version__, "search": asdict(search)}
    key = content_key(settings, inputs, Path(__file__).parent.glob("*.py"))

    def searched() -> Arrays:
        found = cosine_neighbours(
            features,
            k,
            present=present,
            memory_budget_mb=memory_budget_mb,
            centre=centre,
            search=search,
        )
        return {name: tensor.numpy() for name, tensor in found._asdict().items()}

    arrays = cached_arrays(folder, "neighbours", key, searched)
    return Neighbours(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def cached_triples(
    folder: Path,
    heads: Tensor,
    relations: Tensor,
    tails: Tensor,
    n_entities: int,
    n_relations: int,
) -> DirectedTriples:
    """What ``DirectedTriples.bidirectional`` makes of the same triples.

    Args:
        folder: Folder of the cache.
        heads: int64 ``[T]`` on the CPU.
        relations: int64 ``[T]``.
        tails: int64 ``[T]``.
        n_entities: Number of entities.
        n_relations: Number of relations, each in one direction.
    """
    inputs = {"heads": heads.numpy(), "relations": relations.numpy(), "tails": tails.numpy()}
    key = content_key(
        {"n_relations": n_relations}, inputs, [Path(__file__).parent / "knowledge.py"]
    )

    def sorted_both_ways() -> Arrays:
        both = DirectedTriples.bidirectional(heads, relations, tails, n_entities, n_relations)
        return {name: getattr(both, name).numpy() for name in inputs}

    arrays = cached_arrays(folder, "triples", key, sorted_both_ways)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return DirectedTriples(**tensors, n_entities=n_entities, n_relations=2 * n_relations)


def cached_regression(
    folder: Path | None,
    users: Tensor,
    items: Tensor,
    n_users: int,
    n_items: int,
    *,
    rank: int,
    ridge: float,
    profiles: Sequence[Any] = (),
    profile_weight: float = 0.0,
) -> ItemRegression:
    """What ``item_regression`` solves, from the cache where the same was solved before.

    Args:
        folder: Folder of the cache; None keeps nothing.
        users: See ``item_regression``, as all that follows.
        items: int64 ``[n]``.
        n_users: U.
        n_items: I.
        rank: Most eigenvectors to keep.
        ridge: λ.
        profiles: Arrays of numpy or scipy.sparse.
        profile_weight: w.
    """

    def solved() -> ItemRegression:
        return item_regression(
            users,
            items,
            n_users,
            n_items,
            rank=rank,
            ridge=ridge,
            profiles=profiles,
            profile_weight=profile_weight,
        )

    if folder is None:
        return solved()
    inputs = {"users": users.cpu().numpy(), "items": items.cpu().numpy()}
    for number, profile in enumerate(profiles):
        parts = {"": profile}
        if sparse.issparse(profile):
            parts = {name: getattr(profile, name) for name in ("data", "indices", "indptr")}
        inputs |= {f"profile {number} {name}": part for name, part in parts.items()}
    settings = {
        "sizes": [n_users, n_items],
        "rank": rank,
        "ridge": ridge,
        "weight": profile_weight,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    key = content_key(settings, inputs, [Path(__file__).parent / "regression.py"])
    arrays = cached_arrays(
        folder / "regressions",
        "regression",
        key,
        lambda: {name: part.numpy() for name, part in solved()._asdict().items()},
    )
    return ItemRegression(**{name: torch.from_numpy(array) for name, array in arrays.items()})
