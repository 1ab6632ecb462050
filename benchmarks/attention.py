"""Attention of the knowledge graph against one-pass tensors, and its share of an epoch."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks import data as benchmark_data
from benchmarks.data import load
from benchmarks.harness import Report, Variant, bandwidth_limit, compare
from benchmarks.settings import Settings
from benchmarks.training import Case
from slifmr_pl.graphs.triples import DirectedTriples, relation_attention

EPOCH = "ours: an epoch's training, SLIF-MR"


def benchmark(settings: Settings) -> Iterator[Report]:
    data = load(settings)
    case = Case(data, settings, "full")
    triples = benchmark_data.knowledge(settings, data).to(settings.device)
    rng = torch.Generator().manual_seed(0)
    embeddings, weights = (
        torch.randn(rows, settings.dim, generator=rng).to(settings.device)
        for rows in (triples.n_entities, triples.n_relations)
    )

    def prepare(
        attention: Callable[[DirectedTriples, Tensor, Tensor], Tensor],
    ) -> Callable[[], Tensor]:
        return lambda: attention(triples, embeddings, weights)

    # Two embeddings and three indices are gathered for a triple, and its weight is written.
    moved = len(triples) * (2 * 4 * settings.dim + 3 * 8 + 4)
    report = compare(
        f"Attention of {len(triples):,} directed triples, d {settings.dim}, and an epoch of "
        f"training ({data.title})",
        [
            Variant("ours", lambda: prepare(relation_attention)),
            Variant("all triples in one tensor", lambda: prepare(one_pass_attention)),
            Variant(
                EPOCH,
                case.prepare_bare,
                units=case.epoch_share,
                kind="ours",
                compared=False,
                note=f"from {case.steps} steps",
            ),
        ],
        settings,
        limits=[bandwidth_limit(moved, settings, "no cache")],
    )
    share = 1 / (report.row(EPOCH).ratio or 1.0)
    yield replace(
        report,
        figures={"share of an epoch": share},
        remarks=[f"One refresh takes {share:.1%} of the time of an epoch's training."],
    )


def one_pass_attention(triples: DirectedTriples, embeddings: Tensor, weights: Tensor) -> Tensor:
    """The same softmax from tensors of size triples × d and scatter operations, float32 [T]."""
    heads = triples.heads
    products = embeddings[heads] * weights[triples.relations] * embeddings[triples.tails]
    scores = products.sum(dim=1) * embeddings.shape[1] ** -0.5
    lowest = scores.new_full((triples.n_entities,), -torch.inf)
    peaks = lowest.scatter_reduce(0, heads, scores, "amax")
    exponentials = torch.exp(scores - peaks[heads])
    sums = torch.zeros_like(peaks).index_add(0, heads, exponentials)
    return exponentials / sums[heads]
