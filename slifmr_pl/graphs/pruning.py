"""Graphs without some of their edges."""

import torch
from torch import Tensor

from slifmr_pl.graphs.triples import DirectedTriples


def drawn_by_degree(
    users: Tensor, items: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A share of the interactions, drawn without replacement by 1 ÷ √(d_u d_i).

    The smallest of exponential numbers with these rates: the same distribution as one draw after
    the other (Efraimidis & Spirakis 2006).

    Args:
        users: int64 [n].
        items: int64 [n].
        share: Above 0 and at most 1.
        generator: Of the CPU.
    """
    degrees = torch.bincount(users)[users].double() * torch.bincount(items)[items].double()
    waits = torch.empty(len(users), dtype=torch.float64).exponential_(generator=generator)
    first = (waits * degrees.sqrt()).topk(int(len(users) * share), largest=False, sorted=False)
    kept = first.indices.sort().values
    return users[kept], items[kept]


def some_triples(triples: DirectedTriples, kept: Tensor) -> DirectedTriples:
    """The triples of a mask, bool [T], or at ascending places, int64 [t]."""
    return DirectedTriples(
        triples.heads[kept],
        triples.relations[kept],
        triples.tails[kept],
        triples.n_entities,
        triples.n_relations,
    )
