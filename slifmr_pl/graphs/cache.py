"""Neighbours of features and sorted triples: made once, kept for the next run.

The processes of a machine share their memory, see `cached_arrays`.
"""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from slifmr_pl.data.array_cache import Arrays, cached_arrays, content_key
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours
from slifmr_pl.graphs.triples import DirectedTriples


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
    settings (but not the memory budget), the version of torch, and the code of `graphs`.

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
    key = content_key(settings, inputs, Path(__file__).parent.rglob("*.py"))

    def searched() -> Arrays:
        neighbours = cosine_neighbours(
            features,
            k,
            present=present,
            memory_budget_mb=memory_budget_mb,
            centre=centre,
            search=search,
        )
        return {name: tensor.numpy() for name, tensor in neighbours._asdict().items()}

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
    key = content_key({"n_relations": n_relations}, inputs, [Path(__file__).parent / "triples.py"])

    def sorted_both_ways() -> Arrays:
        both = DirectedTriples.bidirectional(heads, relations, tails, n_entities, n_relations)
        return {name: getattr(both, name).numpy() for name in inputs}

    arrays = cached_arrays(folder, "triples", key, sorted_both_ways)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return DirectedTriples(**tensors, n_entities=n_entities, n_relations=2 * n_relations)
